//! silo-backup and mongod killed again and again; `SILO_TEST_WORKLOADS` is the number of kills.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use silo_mongo::mongodb::bson::doc;
use silo_testkit::proxy::{Fault, Proxy};
use silo_testkit::service::Reply;
use silo_testkit::workloads::workloads;

use super::{END, PATH, chains, change, continuous, end, insert, only_chain, restored, running};
use crate::service::{LIMIT, data, serve};

/// Killed when a slice arrives at the storage, when it is read back, or at a random time of the end: nothing is lost, and nothing is there twice.
#[tokio::test(flavor = "multi_thread")]
async fn kills_while_slices_are_stored_leave_one_chain() {
    let mut stage = continuous().await;
    let (arrived, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let storage = stage.s3.url();
    let proxy = Proxy::start(&storage, move |_, line| {
        let is_slice = line.contains("/oplog/") && !line.contains("list-type");
        if is_slice {
            arrived.send(line.starts_with("PUT ")).unwrap();
        }
        Fault::None
    });
    let proxy = proxy.await.unwrap();
    stage.set("SPACES_ENDPOINT", proxy.url());
    let mut random = SmallRng::seed_from_u64(1);
    let mut notes = Vec::new();
    for number in 0..workloads(6) {
        let mut service = serve(&stage).await;
        running(&service).await;
        let id = format!("{number:04}");
        insert(&stage, &id).await;
        notes.push(id);
        let moment = async {
            match number % 3 {
                // Files are written and synced, and requests are under way.
                2 => tokio::time::sleep(Duration::from_millis(random.random_range(0..100))).await,
                kind => while requests.recv().await != Some(kind == 0) {},
            }
        };
        let has_ended = tokio::select! {
            _ = service.process.stop(END) => true,
            () = moment => false,
        };
        assert!(
            number % 3 == 2 || !has_ended,
            "it ended before it was killed"
        );
        service.process.kill().await.unwrap();
        while requests.try_recv().is_ok() {}
    }
    let service = serve(&stage).await;
    running(&service).await;
    end(service).await;
    let row = only_chain(&stage).await;
    assert_eq!(row["entries"], 1 + notes.len(), "{row}");
    let (_, restored) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(restored, notes);
}

/// mongod is killed under writes: no slice has an entry that mongod lost, and every acknowledged write is in one.
#[tokio::test(flavor = "multi_thread")]
async fn kills_of_mongod_under_writes_lose_no_acknowledged_write() {
    let mut stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    let mut acknowledged = Vec::new();
    for round in 0..workloads(3) {
        for number in 0..40 {
            let id = format!("{round:03} {number:02}");
            let write = doc! { "insert": "notes", "documents": [{ "_id": &id }], "writeConcern": { "w": "majority", "j": true } };
            change(&stage, write).await;
            acknowledged.push(id);
        }
        // Not acknowledged: they may be there or not.
        let database = stage.database();
        let writing = tokio::spawn(async move {
            let many = (0..1000).map(|number| doc! { "_id": format!("{round} later {number}") });
            for document in many {
                let write =
                    doc! { "insert": "later", "documents": [document], "writeConcern": { "w": 0 } };
                drop(database.run_command(write).await);
            }
        });
        stage.mongo.process().unwrap().kill().await.unwrap();
        writing.abort();
        stage.mongo.start_again().await.unwrap();
        running(&service).await;
    }
    let after = |reply: &Reply| data(reply)["state"] == "running";
    service.until(LIMIT, PATH, after).await;
    stage.backup().await;
    end(service).await;
    assert_eq!(chains(&stage).await.len(), 1);
    let proved = stage.json(&["prove"]).await;
    assert_eq!(proved["result"], "equal", "{proved}");
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, acknowledged);
}
