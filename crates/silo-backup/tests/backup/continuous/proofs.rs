//! A backup and the slices after it are proven to equal the next backup.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use silo_backup::continuous::slice::Slice;
use silo_backup::error::{EXIT_CORRUPT, EXIT_HELD};
use silo_mongo::mongodb::bson::{Document, RawDocumentBuf, doc};
use silo_testkit::ac::{Role, Simulator};
use silo_testkit::workloads::workloads;

use super::chains::another_chain;
use super::{
    alarmed, chains, change, continuous, end, insert, only_chain, restored, running, slices, text,
};
use crate::service::serve;
use crate::stage::Stage;

/// Two backups with changes between them, all in slices.
pub(super) async fn with_two_backups() -> (Stage, String) {
    let stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    for number in 0..20 {
        insert(&stage, &format!("{number:02}")).await;
    }
    let index =
        doc! { "createIndexes": "moods", "indexes": [{ "key": { "at": 1 }, "name": "at_1" }] };
    change(&stage, index).await;
    change(&stage, doc! { "update": "users", "updates": [{ "q": {}, "u": { "$inc": { "at": 1 } }, "multi": true }] }).await;
    let newest = stage.backup().await;
    insert(&stage, "after").await;
    end(service).await;
    (stage, newest)
}

/// The slice in storage with most of the changes, and its key.
async fn largest_slice(stage: &Stage) -> (String, Slice) {
    let mut largest = None;
    for key in slices(stage).await {
        let slice = Slice::read(&stage.read(&key).await[..], None).unwrap();
        if slice.entries().count() > 20 {
            largest = Some((key, slice));
        }
    }
    largest.unwrap()
}

/// Replaces the entries of a slice in storage.
pub(super) async fn write_slice(stage: &Stage, key: &str, slice: &Slice, entries: &[Vec<u8>]) {
    let changed = Slice::new(slice.header.clone(), entries.concat()).unwrap();
    let mut bytes = Vec::new();
    changed.write(&mut bytes).unwrap();
    stage.write(key, bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_and_a_damaged_backup_end_no_chain_and_the_one_before_is_rolled_forward() {
    let stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "one").await;
    let damaged = stage.backup().await;
    insert(&stage, "two").await;
    let half =
        doc! { "delete": "moods", "deletes": [{ "q": { "at": { "$gte": 600 } }, "limit": 0 }] };
    change(&stage, half).await;
    let held = stage.run(&["run", "--json", "--quiet"]).await;
    held.ends_with(EXIT_HELD);
    let three = text(insert(&stage, "three").await);
    end(service).await;
    let archives = stage.keys().await.into_iter();
    let is_archive = |key: &String| key.contains("/data/") && key.contains(&damaged);
    let archive = archives.clone().find(is_archive).unwrap();
    let mut bytes = stage.read(&archive).await;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    stage.write(&archive, bytes).await;
    stage
        .run(&["verify", &damaged])
        .await
        .ends_with(EXIT_CORRUPT);

    let row = only_chain(&stage).await;
    assert_eq!(row["entries"], 1 + 3 + 600, "{row}");
    let (result, notes) = restored(&stage, &["--at", &three], "rolled").await;
    assert_eq!(notes, ["one", "three", "two"]);
    assert_eq!(
        result["plan"]["backup"], row["chain"],
        "from the only backup that is good: {result}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_backup_proves_the_slices_before_it() {
    let (stage, newest) = with_two_backups().await;
    let proved = stage.json(&["prove"]).await;
    assert_eq!(
        (&proved["id"], &proved["result"]),
        (&newest.into(), &"equal".into()),
        "{proved}"
    );
    // 20 documents in a new collection, the beginning and end of an index, 300 users.
    assert_eq!(proved["operations"], 20 + 1 + 2 + 300, "{proved}");
    let status = stage.json(&["status"]).await;
    assert_eq!(status["lastProof"], proved, "{status}");
    let drilled = stage.json(&["drill"]).await;
    let moment = &drilled["moment"];
    assert_eq!(
        (&drilled["good"], &moment["good"]),
        (&true.into(), &true.into()),
        "{drilled}"
    );
}

/// Slices that someone or a fault has changed do not give the next backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_notices_a_change_that_is_missing_doubled_or_another_one() {
    let (stage, _) = with_two_backups().await;
    let (key, good) = largest_slice(&stage).await;
    let entries: Vec<Vec<u8>> = good.entries().map(<[u8]>::to_vec).collect();
    let prove = async |entries: Vec<Vec<u8>>| {
        write_slice(&stage, &key, &good, &entries).await;
        stage.run(&["prove", "--json", "--quiet"]).await
    };
    let mut missing = entries.clone();
    missing.remove(5);
    let ended = prove(missing).await;
    assert_eq!(ended.code, Some(i32::from(EXIT_CORRUPT)), "{ended:?}");
    assert!(ended.stdout.contains("notes has 19 documents"), "{ended:?}");
    // The value of an update.
    let mut other = entries.clone();
    let decoded = |entry: &Vec<u8>| -> Document {
        let entry = RawDocumentBuf::from_bytes(entry.clone()).unwrap();
        entry.try_into().unwrap()
    };
    let is_update = |entry: &&mut Vec<u8>| decoded(entry).get_str("op").unwrap() == "u";
    let update = other.iter_mut().rev().find(is_update).unwrap();
    let mut document = decoded(update);
    document.insert("o", doc! { "$v": 2, "diff": { "u": { "at": 4711 } } });
    *update = document.to_vec().unwrap();
    let ended = prove(other).await;
    assert_eq!(ended.code, Some(i32::from(EXIT_CORRUPT)), "{ended:?}");
    assert!(ended.stdout.contains("documents of users"), "{ended:?}");
    assert_eq!(prove(entries).await.code, Some(0));
}

/// An operator proves it while the service does not run: the service learns it from the bucket.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_not_proven_ends_and_another_begins() {
    let (mut stage, newest) = with_two_backups().await;
    let webhook = Simulator::start(Role::Http).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", webhook.url());
    let (key, slice) = largest_slice(&stage).await;
    let mut entries: Vec<Vec<u8>> = slice.entries().map(<[u8]>::to_vec).collect();
    entries.remove(5);
    write_slice(&stage, &key, &slice, &entries).await;
    stage.run(&["prove"]).await.ends_with(EXIT_CORRUPT);
    alarmed(&webhook, "oplog_unproven").await;
    let first = chains(&stage).await[0]["chain"].clone();
    let service = serve(&stage).await;
    let second = another_chain(&service, first.as_str().unwrap()).await;
    assert_eq!(second, newest, "the newest backup is good");
    let last = text(insert(&stage, "last").await);
    end(service).await;
    let (result, _) = restored(&stage, &["--at", &last], "last").await;
    assert_eq!(result["plan"]["chain"], second, "{result}");
}

/// Random changes before each backup, and collections that come and go. `SILO_TEST_WORKLOADS` is the number of nights.
#[tokio::test(flavor = "multi_thread")]
async fn night_after_night_is_proven() {
    let stage = continuous().await;
    let mut random = SmallRng::seed_from_u64(1);
    for night in (0..).take(usize::try_from(workloads(2)).unwrap()) {
        let service = serve(&stage).await;
        running(&service).await;
        for _ in 0..random.random_range(10..60) {
            let range = random.random_range(0..1000);
            let some = doc! { "at": { "$gte": range, "$lt": range + 30 } };
            let name = format!("of_a_night_{}", random.random_range(0..3));
            let command = match random.random_range(0..8) {
                0..3 => {
                    doc! { "update": "moods", "updates": [{ "q": some, "u": { "$inc": { "at": 7 }, "$push": { "nights": night } }, "multi": true }] }
                }
                3 => {
                    doc! { "update": "users", "updates": [{ "q": some, "u": [{ "$set": { "text": { "$concat": ["$text", "y"] } } }], "multi": true }] }
                }
                4 => doc! { "delete": "moods", "deletes": [{ "q": { "at": range }, "limit": 1 }] },
                5 => {
                    doc! { "insert": name, "documents": (0..range % 50).map(|at| doc! { "at": at }).collect::<Vec<_>>() }
                }
                6 => {
                    doc! { "createIndexes": name, "indexes": [{ "key": { "at": 1 }, "name": "at_1" }] }
                }
                _ => doc! { "drop": name },
            };
            // There may be nothing to insert or drop.
            drop(stage.database().run_command(command).await);
        }
        let made = stage.run(&["run", "--json", "--quiet"]).await;
        let made: Value = serde_json::from_str(&made.stdout).unwrap();
        let id = made["id"].as_str().unwrap();
        if made["good"] == false {
            // Collections that are gone are a reason to hold a backup.
            stage.json(&["accept", id, "--why", "dropped"]).await;
        }
        end(service).await;
        let proved = stage.json(&["prove"]).await;
        assert_eq!(
            (&proved["id"], &proved["result"]),
            (&made["id"], &"equal".into()),
            "{proved}"
        );
    }
    assert_eq!(chains(&stage).await.len(), 1);
}
