//! mongod stopped, absent and back: the last values stay with their age, and the service recovers by itself.

use std::time::Duration;

use silo_testkit::mongo::MongoServer;

use crate::service::{DATABASE, MEASURED, Reply, demo_server, start, start_with};

fn unavailable(reply: &Reply) -> bool {
    reply.status == 503
}

fn fine(reply: &Reply) -> bool {
    reply.status == 200
}

#[tokio::test]
async fn a_stopped_mongod_is_reported_within_5_s_and_recovers_within_10_s() {
    let (mut server, _) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let mut before = Vec::new();
    for path in MEASURED {
        before.push(service.data(path).await);
    }
    assert_eq!(service.get("/readyz").await.status, 200);

    server.stop().await.unwrap();
    let within = Duration::from_secs(5);
    let health = service.until(within, "/api/db/health", unavailable).await;
    let body = health.json();
    assert_eq!(body["data"]["status"], "down", "{body}");
    assert_eq!(body["meta"]["state"], "stale", "{body}");
    assert_eq!(body["meta"]["errors"][0]["code"], "unreachable", "{body}");
    assert!(!body["data"]["version"].is_null(), "the last value is kept");
    assert_eq!(health.header("retry-after"), "5");
    let ready = service.until(within, "/readyz", unavailable).await.json();
    assert_eq!(ready["checks"]["mongod"]["ok"], false, "{ready}");
    assert_eq!(ready["checks"]["mongod"]["error"]["code"], "unreachable");
    assert_eq!(service.get("/healthz").await.status, 200);
    for (path, before) in MEASURED.iter().zip(&before) {
        let reply = service.get(path).await;
        assert_eq!(&reply.ok()["data"], before, "{path} keeps its last values");
        assert!(reply.header("age").parse::<u64>().is_ok(), "{path}");
    }

    server.start_again().await.unwrap();
    let within = Duration::from_secs(10);
    service.until(within, "/readyz", fine).await;
    let health = service.until(within, "/api/db/health", fine).await;
    assert_eq!(health.json()["data"]["status"], "up");
}

#[tokio::test]
async fn a_failed_refresh_is_stale_with_its_reason_and_its_age() {
    let (mut server, _) = demo_server().await;
    let quick = [("REFRESH_SECONDS", "2")];
    let service = start_with(&server.reader_uri(), &quick).await;
    service.get("/api/db/collections").await.ok();
    server.stop().await.unwrap();
    let stale = service
        .until(Duration::from_secs(15), "/api/db/collections", |reply| {
            reply.state() == "stale"
        })
        .await;
    let body = stale.ok();
    assert!(body["data"]["total"]["documents"].as_u64().unwrap() > 2_000);
    let again = service.get("/api/db/collections").await.ok();
    assert_eq!(again["data"], body["data"]);
    assert_eq!(
        again["meta"]["asOf"], body["meta"]["asOf"],
        "the age is that of the data, not of the attempt"
    );
    assert_eq!(body["meta"]["errors"][0]["code"], "unreachable");
    assert!(stale.header("age").parse::<u64>().unwrap() >= 2);

    server.start_again().await.unwrap();
    service
        .until(Duration::from_secs(10), "/api/db/collections", |reply| {
            reply.state() == "fresh"
        })
        .await;
}

#[tokio::test]
async fn mongod_absent_at_the_start_is_no_crash_and_recovers_within_10_s() {
    let mut server = MongoServer::absent().unwrap();
    let mut service = start(&server.reader_uri()).await;
    let health = service.get("/api/db/health").await;
    assert_eq!(health.status, 503, "{health:#?}");
    let body = health.json();
    assert_eq!(body["data"]["status"], "down", "{body}");
    assert_eq!(body["data"]["uptimeSeconds"], serde_json::Value::Null);
    assert_eq!(body["meta"]["state"], "error", "{body}");
    for path in MEASURED {
        let reply = service.get(path).await;
        assert_eq!(reply.status, 503, "{reply:#?}");
        assert_eq!(
            reply.header("content-type"),
            "application/problem+json",
            "{path}"
        );
        assert_eq!(reply.json()["code"], "source_unavailable", "{reply:#?}");
        assert_eq!(reply.header("retry-after"), "5", "{path}");
    }
    assert_eq!(service.get("/healthz").await.status, 200);
    assert_eq!(service.get("/readyz").await.status, 503);

    server.start_again().await.unwrap();
    for path in MEASURED.iter().filter(|path| !path.ends_with("moods")) {
        service.until(Duration::from_secs(10), path, fine).await;
    }
    assert_eq!(service.process.ended(), None);
    assert_eq!(service.get("/readyz").await.status, 200);
    let missing = service.get("/api/db/collections/moods").await;
    assert_eq!(missing.status, 404, "now it is known that there is none");
}

#[tokio::test]
async fn a_frozen_mongod_blocks_no_request() {
    let mut server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let service = start(&server.reader_uri()).await;
    for path in ["/api/db/collections", "/api/db/health"] {
        service.get(path).await.ok();
    }
    let frozen = server.process().unwrap().freeze().unwrap();
    // One look that runs into its time limit is a slow server, two are a dead one.
    let slow = |reply: &Reply| reply.json_or_null()["data"]["status"] == "degraded";
    let path = "/api/db/health";
    service.until(Duration::from_secs(6), path, slow).await;
    service
        .until(Duration::from_secs(12), path, unavailable)
        .await;
    let reply = service.get("/api/db/collections").await;
    assert_eq!(reply.status, 200, "{reply:#?}");
    drop(frozen);
    service
        .until(Duration::from_secs(10), "/api/db/health", fine)
        .await;
}
