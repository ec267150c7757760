//! `/api/db/health` and what the service says of its account.

use std::time::Duration;

use serde_json::json;
use silo_testkit::mongo::{Kind, MongoServer};

use crate::service::{DATABASE, Reply, start};

#[tokio::test]
async fn a_reader_s_server_is_up_and_its_figures_are_there() {
    let server = MongoServer::start_with_users(Kind::Rust, DATABASE)
        .await
        .unwrap();
    let service = start(&server.reader_uri()).await;
    let rates = |reply: &Reply| {
        reply.status == 200 && !reply.json()["data"]["perSecond"]["command"].is_null()
    };
    let answer = service
        .until(Duration::from_secs(10), "/api/db/health", rates)
        .await
        .json();
    let data = &answer["data"];
    assert_eq!(data["status"], "up", "{answer}");
    assert_eq!(data["account"], "readOnly");
    assert_eq!(data["replicaSet"]["state"], "primary");
    assert!(data["version"].as_str().unwrap().starts_with("8."));
    assert!(data["cache"]["maxBytes"].as_u64().unwrap() > 0);
    assert!(data["connections"]["current"].as_u64().unwrap() >= 1);
    assert!(data["uptimeSeconds"].as_u64().unwrap() < 120);
    assert_eq!(answer["meta"]["ttlMs"], 2000);
    let log = service.log();
    assert!(log.contains("cannot write: as it should be"), "{log}");
}

#[tokio::test]
async fn an_account_that_can_write_is_warned_of_loudly() {
    let server = MongoServer::start_with_users(Kind::Rust, DATABASE)
        .await
        .unwrap();
    let service = start(&server.uri()).await;
    let told = |reply: &Reply| reply.json()["data"]["account"] == "canWrite";
    service
        .until(Duration::from_secs(5), "/api/db/health", told)
        .await;
    assert!(
        service.log().contains("THE ACCOUNT CAN WRITE"),
        "{}",
        service.log()
    );
}

#[tokio::test]
async fn a_server_without_sign_in_is_warned_of_loudly() {
    let server = MongoServer::start(Kind::Rust).await.unwrap();
    let service = start(&server.uri()).await;
    let told = |reply: &Reply| reply.json()["data"]["account"] == "unauthenticated";
    service
        .until(Duration::from_secs(5), "/api/db/health", told)
        .await;
    assert!(service.log().contains(" WARN "), "{}", service.log());
}

#[tokio::test]
async fn a_wrong_password_is_told_by_name_and_not_printed() {
    let server = MongoServer::start_with_users(Kind::Rust, DATABASE)
        .await
        .unwrap();
    let uri = server.reader_uri().replace("reader-password", "hunter2");
    let service = start(&uri).await;
    let down = |reply: &Reply| reply.status == 503;
    let answer = service
        .until(Duration::from_secs(5), "/api/db/health", down)
        .await;
    assert_eq!(
        answer.json()["meta"]["errors"][0]["code"],
        json!("authentication_failed"),
        "{answer:#?}"
    );
    assert!(!service.log().contains("hunter2"), "{}", service.log());
}
