//! Slices without Silo, with the stock mongorestore.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::TryStreamExt;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use silo_backup::continuous::slice::Slice;
use silo_backup::oplog::Position;
use silo_backup::repository::manifest::Manifest;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::mongo::MongoServer;
use silo_testkit::tools::stock_tool;
use silo_testkit::workloads::workloads;

use super::{chain_of, change, continuous, end, insert, restored, running, slices, text};
use crate::service::serve;
use crate::stage::{DATABASE, PREFIX};

/// Documents by `_id`, and indexes, of each collection.
async fn contents(database: &Database) -> BTreeMap<String, (Vec<Document>, Vec<String>)> {
    let mut contents = BTreeMap::new();
    for name in database.list_collection_names().await.unwrap() {
        let collection = database.collection::<Document>(&name);
        let documents = collection.find(doc! {}).sort(doc! { "_id": 1 });
        let documents = documents.await.unwrap().try_collect().await.unwrap();
        let mut indexes = collection.list_index_names().await.unwrap();
        indexes.sort();
        contents.insert(name, (documents, indexes));
    }
    contents
}

/// Joins slices with the command of the runbook.
fn join(folder: &Path, from: Position, file: &Path) {
    let runbook = include_str!("../../../../../ops/RUNBOOK.md");
    let join = runbook
        .lines()
        .find(|line| line.starts_with("ls *_*.bson.gz"))
        .unwrap();
    let from = format!("{:010}-{:010}", from.seconds, from.increment);
    let join = join.replace("FROM", &from);
    let join = join.replace("oplog.bson.gz", &file.display().to_string());
    let joined = std::process::Command::new("sh")
        .args(["-c", &join])
        .current_dir(folder)
        .status();
    assert!(joined.unwrap().success());
    assert_ne!(std::fs::metadata(file).unwrap().len(), 0);
}

/// As the runbook says: without Silo, on an empty server. `SILO_TEST_WORKLOADS` is the number of moments.
#[tokio::test(flavor = "multi_thread")]
async fn mongorestore_restores_a_backup_and_the_slices_after_it() {
    let Some(mongorestore) = stock_tool("mongorestore") else {
        silo_testkit::say::skipped("restoring slices with mongorestore", "it is not installed");
        return;
    };
    let stage = continuous().await;
    let service = serve(&stage).await;
    let chain = chain_of(&service).await;
    let mut positions = Vec::new();
    for number in 0..50 {
        positions.push(insert(&stage, &format!("{number}")).await);
    }
    let change_all = |collection: &str, change: Document| {
        doc! { "update": collection, "updates": [{ "q": {}, "u": change, "multi": true }] }
    };
    for command in [
        change_all(
            "users",
            doc! { "$inc": { "at": 1 }, "$unset": { "code": 1 } },
        ),
        change_all(
            "moods",
            doc! { "$set": { "nested": { "list": [1, 2, 3] } } },
        ),
        change_all(
            "moods",
            doc! { "$push": { "nested.list": { "$each": [4], "$slice": -2 } } },
        ),
        doc! { "delete": "moods", "deletes": [{ "q": { "at": { "$lt": 100 } }, "limit": 0 }] },
    ] {
        positions.push(change(&stage, command).await);
    }
    end(service).await;
    let later = stage.backup().await;
    let service = serve(&stage).await;
    running(&service).await;
    positions.push(change(&stage, change_all("moods", doc! { "$inc": { "at": 1 } })).await);
    positions.push(insert(&stage, "left out").await);
    end(service).await;

    let folder = stage.folder.path();
    let mut all = Vec::new();
    for key in slices(&stage).await {
        let bytes = stage.read(&key).await;
        all.push(Slice::read(&bytes[..], None).unwrap());
        std::fs::write(folder.join(key.rsplit_once('/').unwrap().1), bytes).unwrap();
    }
    // As after a night: its small ones are still there.
    let merged = Slice::merged(&all).unwrap();
    let name = merged.header.span().file_name();
    merged
        .write(std::fs::File::create(folder.join(name)).unwrap())
        .unwrap();
    let mut bases = Vec::new();
    for id in [&chain, &later] {
        let archive = folder.join(format!("{id}.archive.gz"));
        let bytes = stage.read(&format!("{PREFIX}data/{id}.archive.gz")).await;
        std::fs::write(&archive, bytes).unwrap();
        let manifest = stage.read(&format!("{PREFIX}manifests/{id}.json")).await;
        let manifest = Manifest::from_file(&manifest).unwrap();
        let position = manifest.cluster_time.unwrap();
        let oplog = folder.join(format!("{id}.bson.gz"));
        join(folder, position, &oplog);
        bases.push((position, archive, oplog));
    }
    let empty = folder.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let mut random = SmallRng::seed_from_u64(1);
    for number in 0..workloads(1) {
        let limit = match number {
            0 => positions.last(),
            _ => positions.choose(&mut random),
        };
        let limit = *limit.unwrap();
        for (position, archive, oplog) in &bases {
            if *position >= Position::from(limit) {
                continue;
            }
            let limit = text(limit);
            let other = MongoServer::start().await.unwrap();
            let stock = |arguments: &[String]| {
                let uri = format!("--uri=mongodb://{}/?directConnection=true", other.address());
                let mut command = std::process::Command::new(&mongorestore);
                let done = command
                    .args([uri, "--gzip".into()])
                    .args(arguments)
                    .output();
                let done = done.unwrap();
                assert!(
                    done.status.success(),
                    "{}",
                    String::from_utf8_lossy(&done.stderr)
                );
            };
            stock(&[format!("--archive={}", archive.display())]);
            stock(&[
                "--oplogReplay".into(),
                format!("--oplogFile={}", oplog.display()),
                format!("--oplogLimit={limit}"),
                empty.display().to_string(),
            ]);
            let name = format!("rolled_{number}_{}", position.seconds);
            restored(&stage, &["--until-before", &limit], &name).await;
            let by_stock = other.client().await.unwrap().database(DATABASE);
            let (rolled, by_stock) = (
                contents(&stage.client.database(&name)).await,
                contents(&by_stock).await,
            );
            assert_eq!(rolled, by_stock, "{limit}");
            if number == 0 {
                assert_eq!(rolled["notes"].0.len(), 50);
                assert_eq!(rolled["moods"].0.len(), 1100);
            }
        }
    }
}
