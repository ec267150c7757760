//! Behaviour shared by all services: entity tags, ages, request ids, metrics, one refresh for many requests, graceful shutdown.

use std::time::Duration;

use reqwest::Method;
use silo_mongo::catalogue::Catalogue;
use silo_mongo::commands::Commands;
use silo_mongo::connect::connect_counted;
use silo_testkit::mongo::MongoServer;

use crate::service::{DATABASE, commands, demo_server, start, start_with};

#[tokio::test]
async fn a_hundred_first_requests_cost_one_refresh() {
    let (server, _) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let requests = (0..100).map(|_| service.get("/api/db/collections"));
    for reply in futures_util::future::join_all(requests).await {
        assert_eq!(reply.ok()["data"]["total"]["collections"], 38);
    }
    assert_eq!(commands(&service, "listCollections").await, 1);
    let details = (0..100).map(|_| service.get("/api/db/collections/moods"));
    let before = commands(&service, "aggregate").await;
    for reply in futures_util::future::join_all(details).await {
        reply.ok();
    }
    let after = commands(&service, "aggregate").await;
    assert!(
        after - before <= 2,
        "100 looks at one collection sampled it {} times",
        after - before
    );
}

#[tokio::test]
async fn one_refresh_of_all_collections_is_at_most_45_commands() {
    let (server, _) = demo_server().await;
    let commands = Commands::default();
    let uri = silo_core::secret::Secret::new(server.reader_uri());
    let client = connect_counted(&uri, "test", std::sync::Arc::new(commands.clone()))
        .await
        .unwrap();
    let gateway = silo_db_api::gateway::Gateway::new(client, DATABASE, &commands);
    let catalogue = Catalogue::built_in().unwrap().into();
    let watcher = silo_db_api::collections::Watcher::new(gateway, catalogue, Duration::MAX);
    let measured = watcher.measure().await.unwrap();
    assert_eq!(measured.value.collections.len(), 38);
    let sent: u64 = commands.counts().values().sum();
    assert!((39..=45).contains(&sent), "{:?}", commands.counts());
}

#[tokio::test]
async fn an_unchanged_answer_is_304_and_its_age_is_in_a_header() {
    let (server, _) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let path = "/api/db/collections";
    let first = service.get(path).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{first:#?}");
    // The age may have reached the next second between the two headers.
    let kept = first.header("cache-control");
    assert!(
        ["private, max-age=60", "private, max-age=59"].contains(&kept),
        "{kept}"
    );
    assert!(first.header("age").parse::<u64>().unwrap() < 60);
    assert!(first.header("server-timing").starts_with("app;dur="));
    let again = service
        .send(Method::GET, path, |get| get.header("If-None-Match", &tag))
        .await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    assert_eq!(again.header("etag"), tag);
    let other = service
        .send(Method::GET, path, |get| {
            get.header("If-None-Match", "W/\"0\"")
        })
        .await;
    assert_eq!(other.status, 200);
    let head = service.send(Method::HEAD, path, |head| head).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    assert_eq!(head.header("etag"), tag);
}

#[tokio::test]
async fn a_valid_request_id_is_kept_and_a_hostile_one_is_replaced() {
    let server = MongoServer::start().await.unwrap();
    let service = start(&server.uri()).await;
    let given = service
        .send(Method::GET, "/healthz", |get| {
            get.header("X-Request-Id", "abc-123")
        })
        .await;
    assert_eq!(given.header("x-request-id"), "abc-123");
    let hostile = service
        .send(Method::GET, "/healthz", |get| {
            get.header("X-Request-Id", "a\" level=ERROR \"")
        })
        .await;
    assert_eq!(hostile.header("x-request-id").len(), 36, "{hostile:#?}");
}

#[tokio::test]
async fn the_deployed_commit_is_reported() {
    let server = MongoServer::start().await.unwrap();
    let stamp = [("AC_GIT_SHA", "0123abc"), ("AC_GIT_DIRTY", "1")];
    let service = start_with(&server.uri(), &stamp).await;
    for path in ["/version", "/healthz"] {
        let body = service.get(path).await.json();
        assert_eq!(
            (body["sha"].as_str(), body["dirty"].as_bool()),
            (Some("0123abc"), Some(true)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn metrics_count_answers_by_route_and_have_the_age_of_each_subject() {
    let (server, _) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    service.get("/api/db/collections/moods").await.ok();
    service.get("/api/db/collections/nothing").await;
    let metrics = service.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    for line in [
        "silo_http_requests_total{route=\"/api/db/collections/{name}\",status=\"200\"} 1",
        "silo_http_requests_total{route=\"/api/db/collections/{name}\",status=\"404\"} 1",
        "silo_source_up{source=\"collections\"} 1",
        "silo_source_age_seconds{source=\"collections\"} ",
        "# EOF",
    ] {
        assert!(
            metrics.text.contains(line),
            "{line} is not in\n{}",
            metrics.text
        );
    }
}

#[tokio::test]
async fn sigterm_shuts_down_gracefully() {
    let server = MongoServer::start().await.unwrap();
    let mut service = start(&server.uri()).await;
    service.get("/healthz").await;
    let ended = service.process.stop(Duration::from_secs(8)).await.unwrap();
    assert_eq!(ended.code(), Some(0), "{}", service.log());
}
