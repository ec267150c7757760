//! A backup is of one moment, or is marked as fuzzy.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use silo_backup::archive::encoding::{ArchiveEncoding, Compression};
use silo_backup::clock::Clock;
use silo_backup::dump::{self, DumpRequest};
use silo_backup::repository::manifest::Consistency;
use silo_cli::progress::Reporter;
use silo_mongo::collections;
use silo_mongo::mongodb::bson::{Document, Timestamp, doc};
use silo_mongo::mongodb::event::EventHandler;
use silo_mongo::mongodb::event::command::CommandEvent;
use silo_mongo::mongodb::options::ClientOptions;
use silo_mongo::mongodb::{Client, Database};
use silo_testkit::mongo::Setup;
use tokio::sync::mpsc;

use crate::stage::{DATABASE, Stage};

/// The first and the last collection that a backup reads, and what both hold together.
const ENDS: [&str; 2] = ["a-first", "z-last"];
const TOTAL: i64 = 2000;

/// Moves value from the collection that is read first to the one that is read last, one transaction after the other, for ever. Whatever moves between
/// reading one and reading the other is counted twice, unless both are read as of one moment.
async fn keep_moving(client: Client, moved: Arc<AtomicI64>) {
    let database = client.database(DATABASE);
    let mut session = client.start_session().await.unwrap();
    loop {
        session.start_transaction().await.unwrap();
        for (name, by) in ENDS.into_iter().zip([-1_i64, 1]) {
            database
                .collection::<Document>(name)
                .update_one(doc! { "_id": 1 }, doc! { "$inc": { "value": by } })
                .session(&mut session)
                .await
                .unwrap();
        }
        session.commit_transaction().await.unwrap();
        moved.fetch_add(1, Ordering::SeqCst);
    }
}

async fn total(database: &Database) -> i64 {
    let mut total = 0;
    for name in ENDS {
        let collection = database.collection::<Document>(name);
        let found = collection.find_one(doc! { "_id": 1 }).await.unwrap();
        total += found.unwrap().get_i64("value").unwrap();
    }
    total
}

#[tokio::test(flavor = "multi_thread")]
async fn value_that_moves_between_collections_during_a_backup_is_counted_once() {
    let stage = Stage::new().await;
    for name in ENDS {
        let half = doc! { "_id": 1, "value": TOTAL / 2 };
        let collection = stage.database().collection::<Document>(name);
        collection.insert_one(half).await.unwrap();
    }
    // Read in between, so that a lot moves.
    for _ in 0..20 {
        stage.fill("many", 2_000).await;
    }
    let moved = Arc::new(AtomicI64::new(0));
    let moving = tokio::spawn(keep_moving(stage.client.clone(), Arc::clone(&moved)));
    let before = moved.load(Ordering::SeqCst);
    let made = stage.json(&["run"]).await;
    let during = moved.load(Ordering::SeqCst) - before;
    moving.abort();
    assert!(during > 20, "{during} transactions during the backup");
    assert_eq!(made["consistency"], "snapshot", "{made}");
    stage.restore("back").await;
    assert_eq!(total(&stage.client.database("back")).await, TOTAL);
}

/// A server without snapshots is read collection by collection, and the backup is marked as fuzzy.
#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_server_makes_a_fuzzy_backup() {
    let stage = Stage::with(Setup::default().standalone()).await;
    stage.fill("moods", 100).await;
    let made = stage.json(&["run"]).await;
    assert_eq!(
        (&made["good"], &made["consistency"]),
        (&true.into(), &"fuzzy".into()),
        "{made}"
    );
    let outcome = archive(&stage, &Arc::default()).await;
    assert_eq!(outcome.consistency, Consistency::Fuzzy);
}

/// Reads the database as a backup does, and keeps each command that was sent, with its database.
async fn archive(stage: &Stage, sent: &Arc<Mutex<Vec<(String, Document)>>>) -> dump::DumpOutcome {
    let uri = stage.mongo.backup_uri();
    let mut options = ClientOptions::parse(&uri).await.unwrap();
    let heard = Arc::clone(sent);
    options.command_event_handler = Some(EventHandler::callback(move |event| {
        if let CommandEvent::Started(started) = event {
            heard.lock().unwrap().push((started.db, started.command));
        }
    }));
    let order = DumpRequest {
        client: Client::with_options(options).unwrap(),
        database: DATABASE.into(),
        encoding: ArchiveEncoding {
            compression: Compression::Zstd,
            recipient: None,
        },
        version: "test".into(),
        report: Reporter::default(),
        clock: Clock::default(),
    };
    let (out, mut chunks) = mpsc::channel(4);
    let taking = tokio::spawn(async move { while chunks.recv().await.is_some() {} });
    let outcome = dump::run(&order, "6.0.5", out, None).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), taking)
        .await
        .unwrap()
        .unwrap();
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn all_collections_except_capped_ones_are_read_in_one_snapshot_session() {
    let stage = Stage::with_demo_data().await;
    let capped = doc! { "create": "round", "capped": true, "size": 100_000 };
    stage.database().run_command(capped).await.unwrap();
    let sent = Arc::default();
    let outcome = archive(&stage, &sent).await;
    assert_eq!(outcome.consistency, Consistency::Snapshot);

    let sent = sent.lock().unwrap();
    let reads: Vec<&Document> = sent
        .iter()
        .filter(|(db, command)| db == DATABASE && command.contains_key("find"))
        .map(|(_, command)| command)
        .collect();
    // mongod reads a capped collection in no snapshot (SERVER-47574): it is read beside it, and named.
    let (round, reads): (Vec<&Document>, Vec<&Document>) = reads
        .into_iter()
        .partition(|read| read.get_str("find").ok() == Some("round"));
    assert_eq!(round.len(), 1);
    assert!(!round[0].to_string().contains("snapshot"), "{}", round[0]);
    assert_eq!(outcome.not_in_snapshot, ["round"]);
    assert_eq!(reads.len(), 3, "one for each of the others");
    let session = |command: &Document| command.get_document("lsid").unwrap().clone();
    for read in &reads {
        let concern = read.get_document("readConcern").unwrap();
        assert_eq!(concern.get_str("level").unwrap(), "snapshot");
        assert_eq!(session(read), session(reads[0]), "all in one session");
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

/// What a chain of changes of the oplog needs to begin at a backup, with the rights of the droplet's account.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_names_its_position_in_the_oplog() {
    let stage = Stage::with_demo_data().await;
    stage.backup().await;
    let key = stage.manifests().await.remove(0);
    let file: Value = serde_json::from_slice(&stage.read(&key).await).unwrap();
    let manifest = &file["manifest"];
    let number = |name: &str| {
        let number = manifest["clusterTime"][name].as_u64().unwrap();
        u32::try_from(number).unwrap()
    };
    let at = Timestamp {
        time: number("seconds"),
        increment: number("increment"),
    };
    let account = Client::with_uri_str(stage.mongo.backup_uri())
        .await
        .unwrap();
    let oplog = account.database("local").collection::<Document>("oplog.rs");
    let entry = oplog.find_one(doc! { "ts": at }).await.unwrap();
    assert!(entry.is_some(), "{at} is no entry of the oplog");

    let admin = stage.client.database("admin");
    let server = &manifest["source"]["server"];
    let config = admin.run_command(doc! { "replSetGetConfig": 1 }).await;
    let config = config.unwrap().get_document("config").unwrap().clone();
    let set = config
        .get_document("settings")
        .unwrap()
        .get_object_id("replicaSetId");
    assert_eq!(server["replicaSetId"], set.unwrap().to_hex());
    assert_eq!(server["term"], i64::from(config.get_i32("term").unwrap()));
    let listed = collections::list(&stage.database()).await.unwrap();
    for facts in manifest["collections"].as_array().unwrap() {
        let listed = listed.iter().find(|listed| facts["name"] == listed.name);
        assert_eq!(facts["uuid"].as_str(), listed.unwrap().uuid.as_deref());
    }
    for (database, name) in [
        ("admin", "system.users"),
        ("local", "startup_log"),
        ("silo_drill", "moods"),
    ] {
        let other = account.database(database).collection::<Document>(name);
        assert!(
            other.find_one(doc! {}).await.is_err(),
            "{database}.{name} can be read"
        );
    }
    for database in [DATABASE, "local", "admin", "config", "test"] {
        let other = account.database(database).collection::<Document>("moods");
        let written = other.insert_one(doc! { "written": true }).await;
        assert!(written.is_err(), "{database} can be written");
    }
}
