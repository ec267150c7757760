//! One moment, or said not to be: the canary tells.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use silo_backup::engine::{self, Order};
use silo_backup::manifest::Consistency;
use silo_backup::pipeline::{Compression, Recipe};
use silo_backup::progress::Reporter;
use silo_backup::settings::Engine;
use silo_core::secret::Secret;
use silo_mongo::mongodb::Client;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_mongo::mongodb::event::EventHandler;
use silo_mongo::mongodb::event::command::CommandEvent;
use silo_mongo::mongodb::options::ClientOptions;
use tokio::sync::mpsc;

use crate::stage::{DATABASE, Stage};

/// The server here takes snapshot sessions and does not keep them apart from later writes. A backup made of one must not be called one
/// moment; what is sent is what a server that does keeps to.
#[tokio::test(flavor = "multi_thread")]
async fn while_value_moves_between_collections_a_server_that_does_not_isolate_makes_it_fuzzy() {
    let stage = Stage::filled().await;
    let database = stage.database();
    for name in ["here", "there"] {
        database
            .collection::<Document>(name)
            .insert_one(doc! { "_id": 1, "value": 1000 })
            .await
            .unwrap();
    }
    database
        .run_command(doc! { "create": "round", "capped": true, "size": 100_000 })
        .await
        .unwrap();
    let moving = tokio::spawn(async move {
        loop {
            for (from, to) in [("here", "there"), ("there", "here")] {
                for (name, by) in [(from, -1), (to, 1)] {
                    database
                        .collection::<Document>(name)
                        .update_one(doc! { "_id": 1 }, doc! { "$inc": { "value": by } })
                        .await
                        .unwrap();
                }
            }
        }
    });
    let sent = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&sent);
    let uri = stage.mongo.backup_uri();
    let mut options = ClientOptions::parse(&uri).await.unwrap();
    options.command_event_handler = Some(EventHandler::callback(move |event| {
        if let CommandEvent::Started(started) = event {
            heard.lock().unwrap().push((started.db, started.command));
        }
    }));
    let order = Order {
        client: Client::with_options(options).unwrap(),
        uri: Secret::new(uri),
        database: DATABASE.into(),
        tools: None,
        recipe: Recipe {
            compression: Compression::Zstd,
            recipient: None,
        },
        folder: stage.folder.path().into(),
        version: "test".into(),
        report: Reporter::default(),
    };
    let (out, mut chunks) = mpsc::channel(4);
    let taking = tokio::spawn(async move { while chunks.recv().await.is_some() {} });
    let outcome = engine::run(Engine::Native, &order, out, None)
        .await
        .unwrap();
    moving.abort();
    tokio::time::timeout(Duration::from_secs(10), taking)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(outcome.consistency, Consistency::Fuzzy);

    let sent = sent.lock().unwrap();
    let reads: Vec<&Document> = sent
        .iter()
        .filter(|(db, command)| db == DATABASE && command.contains_key("find"))
        .map(|(_, command)| command)
        .collect();
    // mongod reads a capped collection in no snapshot: it is read beside it, and said to be.
    let (round, reads): (Vec<&Document>, Vec<&Document>) = reads
        .into_iter()
        .partition(|read| read.get_str("find").ok() == Some("round"));
    assert_eq!(round.len(), 1);
    assert!(!round[0].to_string().contains("snapshot"), "{}", round[0]);
    assert_eq!(outcome.outside, ["round"]);
    assert_eq!(reads.len(), 5, "one for each of the others");
    let session = |command: &Document| command.get_document("lsid").unwrap().clone();
    for read in &reads {
        let concern = read.get_document("readConcern").unwrap();
        assert_eq!(concern.get_str("level").unwrap(), "snapshot");
        assert_eq!(session(read), session(reads[0]), "all through one session");
        // The first read of the session was of the canary: every read of data names the moment of that.
        assert!(concern.contains_key("atClusterTime"), "{read}");
    }
    let canary = |name: &str| {
        sent.iter()
            .filter(|(db, command)| db == "silo" && command.contains_key(name))
            .count()
    };
    assert!(
        canary("find") >= 3 && canary("update") >= 3,
        "read before and after it is written, at the beginning and the end"
    );
    let wrote: Vec<_> = sent
        .iter()
        .filter(|(db, command)| {
            db != "silo"
                && ["insert", "update", "delete", "drop"]
                    .iter()
                    .any(|name| command.contains_key(name))
        })
        .collect();
    assert!(wrote.is_empty(), "{wrote:?}");
}
