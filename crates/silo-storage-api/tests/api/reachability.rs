//! Storage that goes away and comes back between two scans, or is not there at the start.

use std::time::Duration;

use crate::stage::{Reply, Service, stage_with_switch, sum, until_scanned};

const USAGE: &str = "/api/storage/usage";

/// Pages counted since the service started.
async fn pages(service: &Service) -> String {
    let metrics = service.get("/metrics").await.text;
    let pages = metrics
        .lines()
        .find(|line| line.starts_with("silo_storage_pages_total "));
    pages.unwrap().to_owned()
}

fn unreachable(reply: &Reply) -> bool {
    reply.json_or_null()["meta"]["errors"][0]["code"] == "unreachable"
}

#[tokio::test]
async fn storage_that_goes_away_is_reported_and_its_result_is_good_again_without_a_scan() {
    let stage = stage_with_switch().await;
    let service = stage.service_at(&stage.s3.url(), &[]).await;
    until_scanned(&service).await;
    let buckets = "/api/storage/buckets";
    let before = service.get(buckets).await.ok();
    let counted = pages(&service).await;

    stage.s3.switch_off();
    let within = Duration::from_secs(12);
    let away = service.until(within, buckets, unreachable).await.ok();
    assert_eq!(away["meta"]["state"], "stale", "{away}");
    assert_eq!(away["data"], before["data"], "the last figures stay");
    assert_eq!(service.get("/readyz").await.status, 503);

    stage.s3.switch_on().await.unwrap();
    let fresh = |reply: &Reply| reply.state() == "fresh";
    let within = Duration::from_secs(5);
    let back = service.until(within, buckets, fresh).await.ok();
    assert_eq!(back["meta"]["asOf"], before["meta"]["asOf"]);
    assert_eq!(pages(&service).await, counted, "nothing was listed again");
    assert_eq!(service.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn storage_that_is_not_there_at_the_start_is_reported_and_found_within_seconds() {
    let stage = stage_with_switch().await;
    stage.s3.switch_off();
    let service = stage.service_at(&stage.s3.url(), &[]).await;
    let away = service
        .until(Duration::from_secs(6), USAGE, unreachable)
        .await
        .ok();
    for field in ["bytes", "objects", "owners", "unattributed"] {
        assert!(away["data"][field].is_null(), "{field}: {away}");
    }
    assert_eq!(service.get("/readyz").await.status, 503);
    let buckets = service.get("/api/storage/buckets").await;
    assert_eq!(buckets.status, 503);
    assert!(buckets.text.contains("cannot be reached"), "{buckets:#?}");

    // Until the first bucket is given up: those that failed are listed again as soon as storage is back.
    let given_up = |reply: &Reply| {
        let scan = &reply.json_or_null()["data"]["scan"];
        scan["bucketsDone"].as_u64() >= Some(1)
    };
    service
        .until(Duration::from_secs(40), USAGE, given_up)
        .await;
    stage.s3.switch_on().await.unwrap();
    let whole = |reply: &Reply| reply.json_or_null()["data"]["bytes"].is_u64();
    let found = service
        .until(Duration::from_secs(12), USAGE, whole)
        .await
        .ok();
    assert_eq!(found["data"]["bytes"], sum(stage.objects.iter()).1);
}
