//! Results on disk survive the process: after a kill at any moment they are served again or computed again, and never wrong.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use silo_storage_api::store::Store;
use silo_testkit::proxy::{Fault, Proxy};
use silo_testkit::wait::wait_for;

use crate::stage::{spaces, stage, sum, until_scanned};

#[tokio::test]
async fn a_restart_serves_the_last_rollup_at_once_as_stale() {
    let stage = stage().await;
    let mut service = stage.scanned().await;
    let before = service.get("/api/storage/buckets").await.ok();
    service.process.kill().await.unwrap();

    let proxy = Proxy::start(&stage.s3.url(), |_, _| {
        Fault::Delay(Duration::from_millis(400))
    })
    .await
    .unwrap();
    let service = stage.service_at(&proxy.url(), &[]).await;
    let restored = service.get("/api/storage/buckets").await.ok();
    assert_eq!(restored["data"], before["data"]);
    assert_eq!(restored["meta"]["state"], "stale");
    assert_eq!(restored["meta"]["errors"][0]["code"], "restored");
    let oldest = before["data"]["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["asOf"].as_str().unwrap())
        .min()
        .unwrap();
    assert_eq!(restored["meta"]["asOf"], oldest);
    let ready = service.get("/readyz").await;
    assert_eq!(ready.status, 200, "{ready:#?}");
    until_scanned(&service).await;
    let fresh = service.get("/api/storage/buckets").await.ok();
    assert_eq!(fresh["meta"]["state"], "fresh");
}

#[tokio::test]
async fn a_damaged_file_is_made_anew() {
    let stage = stage().await;
    let mut service = stage.scanned().await;
    service.process.kill().await.unwrap();
    let file = stage.folder.path().join("storage.db");
    std::fs::write(&file, "damaged").unwrap();
    std::fs::write(stage.folder.path().join("storage.db-wal"), "").unwrap();
    let service = stage.service_at(&stage.s3.url(), &[]).await;
    let usage = until_scanned(&service).await.ok();
    assert_eq!(usage["data"]["bytes"], sum(stage.objects.iter()).1);
    let aside = stage.folder.path().join("storage.db.damaged");
    assert!(aside.exists(), "{}", service.log());
}

#[tokio::test]
async fn a_killed_scan_resumes_from_its_checkpoint() {
    let stage = stage().await;
    let spaces = spaces(&stage.s3, &stage.s3.url());
    let many = (0..12_000).map(|at| {
        let (spaces, key) = (spaces.clone(), format!("many/{at:05}.png"));
        async move {
            spaces
                .put(
                    "assets-aesthetic-computer",
                    &key,
                    Bytes::from_static(b"123"),
                )
                .await
        }
    });
    stream::iter(many)
        .buffer_unordered(16)
        .try_collect::<()>()
        .await
        .unwrap();
    // Only this bucket, one worker, a page in 800 ms: a scan of twelve pages takes ten seconds.
    let only = [
        ("BUCKETS", "assets-aesthetic-computer"),
        ("SCAN_WORKERS", "1"),
    ];
    let slow = Proxy::start(&stage.s3.url(), |_, _| {
        Fault::Delay(Duration::from_millis(800))
    })
    .await
    .unwrap();
    let mut service = stage.service_at(&slow.url(), &only).await;
    let written = || async {
        // Some of it, and not all: some thousand objects have been counted.
        let store = Store::open(stage.folder.path()).unwrap();
        let document: serde_json::Value = store.load("checkpoints")?;
        let checkpoint = &document["open"]["assets-aesthetic-computer"][1];
        checkpoint["totals"]["all"]["objects"]
            .as_u64()
            .filter(|objects| *objects >= 3_000)
    };
    let counted = wait_for(Duration::from_secs(20), written)
        .await
        .expect("the standing is written down");
    service.process.kill().await.unwrap();

    let quick = Proxy::start(&stage.s3.url(), |_, _| Fault::None)
        .await
        .unwrap();
    let service = stage.service_at(&quick.url(), &only).await;
    let usage = until_scanned(&service).await.ok();
    let (objects, bytes) = sum(stage.in_bucket("assets-aesthetic-computer"));
    assert_eq!(usage["data"]["objects"], objects + 12_000);
    let history = service.data("/api/storage/history").await;
    assert_eq!(history["objects"], serde_json::json!([objects + 12_000]));
    assert_eq!(usage["data"]["bytes"], bytes + 36_000);
    // 13 pages, unfinished uploads, versions, and a check whether the storage answers.
    let all = 13 + 3;
    assert!(
        quick.requests() + counted / 1_000 <= all + 1,
        "{} requests after {counted} objects were known",
        quick.requests()
    );
}

#[tokio::test]
async fn a_second_process_waits_for_the_first_to_end() {
    let stage = stage().await;
    let mut first = stage.scanned().await;
    let proxy = Proxy::start(&stage.s3.url(), |_, _| Fault::None)
        .await
        .unwrap();
    let second = stage.service_at(&proxy.url(), &[]).await;
    let served = second.get("/api/storage/usage").await.ok();
    assert_eq!(
        served["meta"]["state"], "stale",
        "what the first found is served"
    );
    wait_for(Duration::from_secs(5), || async {
        second.log().contains("another process scans").then_some(())
    })
    .await
    .unwrap();
    assert_eq!(proxy.requests(), 0);
    first.process.kill().await.unwrap();
    until_scanned(&second).await;
}

#[tokio::test]
async fn an_unwritable_folder_is_reported() {
    let stage = stage().await;
    let file = stage.folder.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    let mut command = crate::stage::command();
    command
        .env("SPACES_ENDPOINT", stage.s3.url())
        .env("SPACES_KEY", "k")
        .env("SPACES_SECRET", "s")
        .env("STORAGE_FOLDER", file.join("below"))
        .env("BIND", "127.0.0.1:0");
    let output = command.output().await.unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && message.contains("STORAGE_FOLDER"),
        "{message}"
    );
}
