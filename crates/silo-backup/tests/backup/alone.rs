//! One run at a time: two at once, one that is frozen, one that is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use silo_backup::error::EXIT_BUSY;
use silo_backup::run::lease::{Lease, Purpose};
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::mongo::Setup;
use silo_testkit::proxy::{Fault, Proxy};
use silo_testkit::wait::wait_for;

use crate::stage::{Stage, ended};

/// Both start while nothing holds the lease. The storage delays uploads until both have requested the lease, so that neither can finish before the
/// other starts.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_two_concurrent_runs_publishes() {
    let mut stage = Stage::with_demo_data().await;
    let is_open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&is_open);
    let proxy = Proxy::start(&stage.s3.url(), move |_, line| {
        // Asked again until the gate opens: storage that is busy.
        if line.starts_with("PUT ") && line.contains("/data/") && !gate.load(Ordering::SeqCst) {
            Fault::slow_down()
        } else {
            Fault::None
        }
    })
    .await
    .unwrap();
    stage.set("SPACES_ENDPOINT", proxy.url());
    let mut runs = [(); 2].map(|()| stage.spawn(&["run", "--quiet"]));
    let [first, second] = &mut runs;
    let loser = tokio::select! {
        ended = first.wait() => (0, ended),
        ended = second.wait() => (1, ended),
    };
    is_open.store(true, Ordering::SeqCst);
    assert_eq!(loser.1.unwrap().code(), Some(i32::from(EXIT_BUSY)));
    let winner =
        tokio::time::timeout(silo_testkit::program::TIME_LIMIT, runs[1 - loser.0].wait()).await;
    assert_eq!(winner.unwrap().unwrap().code(), Some(0));
    assert_eq!(stage.manifests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_while_the_lease_is_held_is_busy() {
    let stage = Stage::with_demo_data().await;
    let lease = Lease::acquire(&stage.client, Purpose::Backup)
        .await
        .unwrap();
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
    let stage = Stage::with_demo_data().await;
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
    // The successor seems to be on another machine, so it has to wait until the lease expires.
    leases
        .update_one(
            doc! {},
            doc! { "$set": { "host": "another machine that was booted some other time" } },
        )
        .await
        .unwrap();
    let successor = Lease::acquire(&stage.client, Purpose::Backup)
        .await
        .unwrap();
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
async fn a_stale_holder_cannot_renew_a_lease_that_was_taken_over() {
    let stage = Stage::new().await;
    let first = Lease::acquire(&stage.client, Purpose::Backup)
        .await
        .unwrap();
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

/// mongod did not answer when the lease was released: the same process does not wait for it to expire, which takes 40 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_could_not_be_released_is_free_for_the_same_process() {
    let stage = Stage::with(Setup::default().fail_points()).await;
    let first = Lease::acquire(&stage.client, Purpose::Oplog).await.unwrap();
    let token = first.fencing_token();
    let refused = doc! { "errorCode": 14_031, "namespace": "silo.leases" };
    stage
        .mongo
        .fail_commands(&["update"], 8, refused)
        .await
        .unwrap();
    first.release().await;
    assert!(stage.mongo.stop_failing().await.unwrap() > 0);
    let again = Lease::acquire(&stage.client, Purpose::Oplog);
    let again = tokio::time::timeout(Duration::from_secs(20), again).await;
    assert_eq!(again.unwrap().unwrap().fencing_token(), token + 1);
}
