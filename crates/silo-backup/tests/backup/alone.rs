//! One run at a time: two at once, one that is frozen, one that is dead.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use silo_backup::error::EXIT_BUSY;
use silo_backup::lease::Lease;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::wait::wait_for;

use crate::stage::{Stage, ended};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_once_one_publishes() {
    let stage = Stage::filled().await;
    let lease = Lease::take(&stage.client).await.unwrap();
    let (first, second) = (
        stage.spawn(&["run", "--quiet"]),
        stage.spawn(&["drill", "--quiet"]),
    );
    for child in [first, second] {
        ended(child).await.ends_with(EXIT_BUSY);
    }
    assert_eq!(stage.manifests().await.len(), 0);
    lease.release().await;
    stage.backup().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_holder_that_wakes_after_its_lease_was_taken_publishes_nothing() {
    let stage = Stage::filled().await;
    stage.fill("many", 5_000).await;
    let leases = stage
        .client
        .database("silo")
        .collection::<Document>("leases");
    let mut child = stage
        .command(&["run", "--quiet"])
        .env("RUST_LOG", "debug")
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    let held = || async {
        leases
            .find_one(doc! { "holder": { "$ne": "" } })
            .await
            .unwrap()
    };
    wait_for(Duration::from_secs(20), held).await.unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    // Its successor is on another machine, as far as anybody can tell: it takes over when the lease has not beaten for long enough.
    leases
        .update_one(
            doc! {},
            doc! { "$set": { "host": "another machine that was booted some other time" } },
        )
        .await
        .unwrap();
    let successor = Lease::take(&stage.client).await.unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    let stale = tokio::time::timeout(Duration::from_secs(60), child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_ne!(stale.code(), Some(0));
    assert_eq!(stage.manifests().await, Vec::<String>::new());
    successor.confirm().await.unwrap();
    successor.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_holder_cannot_win_back_what_was_taken_over() {
    let stage = Stage::new().await;
    let first = Lease::take(&stage.client).await.unwrap();
    let leases = stage
        .client
        .database("silo")
        .collection::<Document>("leases");
    // As its successor would.
    leases.update_one(doc! {}, doc! { "$inc": { "token": 1_i64 }, "$set": { "holder": "somebody else", "host": "elsewhere" } }).await.unwrap();
    assert!(first.confirm().await.is_err());
    first.release().await;
    let entry = leases.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(
        entry.get_str("holder").unwrap(),
        "somebody else",
        "a stale holder gives nothing back either"
    );
}
