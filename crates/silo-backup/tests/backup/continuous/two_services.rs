//! Two services: one reads the oplog, and the other takes over. `SILO_TEST_WORKLOADS` is the number of times that one is paused.

use std::mem::swap;
use std::time::Duration;

use serde_json::Value;
use silo_testkit::service::{Reply, Service};
use silo_testkit::workloads::workloads;

use super::{PATH, chain_of, chains, continuous, end, insert, only_chain, restored, running};
use crate::service::{data, serve};

/// Time after which a lease that is not renewed is taken over, with room.
const TAKEN_OVER: Duration = Duration::from_secs(90);

/// Waits until a service reads the oplog, or does not, and why.
async fn until(service: &Service, state: &str) -> Value {
    let is_so = |reply: &Reply| data(reply)["state"] == state;
    data(&service.until(TAKEN_OVER, PATH, is_so).await)
}

/// Both have a disk of their own. The one that was paused has what it had read and not stored, which is not what the other has stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_was_paused_does_not_disturb_the_other() {
    let mut stage = continuous().await;
    let mut reading = serve(&stage).await;
    running(&reading).await;
    let folder = tempfile::tempdir().unwrap();
    stage.set("BACKUP_FOLDER", folder.path().display().to_string());
    let mut other = serve(&stage).await;
    let mut notes = Vec::new();
    for number in 0..workloads(1) {
        until(&other, "standby").await;
        let paused = reading.process.freeze().unwrap();
        for when in ["before it is noticed", "after it"] {
            let id = format!("{number:02} {when}");
            insert(&stage, &id).await;
            notes.push(id);
            until(&other, "running").await;
        }
        drop(paused);
        swap(&mut reading, &mut other);
    }
    until(&other, "standby").await;
    insert(&stage, "last").await;
    notes.push("last".into());
    end(other).await;
    end(reading).await;
    let found = chains(&stage).await;
    let problems = found.iter().filter(|row| row["problem"] != Value::Null);
    assert_eq!(problems.count(), 0, "{found:?}");
    notes.sort();
    let (_, restored) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(restored, notes);
}

/// On one disk they continue one chain. While one that is paused may write there, the other does not.
#[tokio::test(flavor = "multi_thread")]
async fn services_with_one_folder_continue_one_chain() {
    let stage = continuous().await;
    let first = serve(&stage).await;
    let chain = chain_of(&first).await;
    insert(&stage, "1").await;
    let second = serve(&stage).await;
    until(&second, "standby").await;
    end(first).await;
    assert_eq!(chain_of(&second).await, chain);
    insert(&stage, "2").await;
    let third = serve(&stage).await;
    until(&third, "standby").await;
    let paused = second.process.freeze().unwrap();
    let status = until(&third, "failing").await;
    let detail = status["detail"].as_str().unwrap();
    assert!(detail.contains("BACKUP_FOLDER/oplog locked"), "{status}");
    insert(&stage, "3").await;
    drop(paused);
    // Whichever was first has read it; then the third is alone.
    end(second).await;
    running(&third).await;
    insert(&stage, "4").await;
    end(third).await;
    let row = only_chain(&stage).await;
    assert_eq!(
        (&row["chain"], &row["entries"]),
        (&chain.into(), &(1 + 4).into()),
        "{row}"
    );
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["1", "2", "3", "4"]);
}
