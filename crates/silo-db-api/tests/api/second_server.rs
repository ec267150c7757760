//! The same numbers from another server of MongoDB's protocol: nothing depends on one server's quirks.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use silo_testkit::demo::Demo;
use silo_testkit::mongo::{Kind, MongoServer};

use crate::collections::{generated, row};
use crate::service::{DATABASE, Reply, database, documents, start};

#[tokio::test]
async fn the_second_server_gives_the_same_numbers() {
    let mut server = MongoServer::start(Kind::Python).await.unwrap();
    let demo = Demo::new(7, 0.01, Timestamp::now());
    demo.load(&database(&server).await, |_, _, _| {})
        .await
        .unwrap();
    server.require_users(DATABASE).await.unwrap();
    let service = start(&server.reader_uri()).await;
    let ready = |reply: &Reply| reply.status == 200;
    let within = Duration::from_secs(30);
    let data = service
        .until(within, "/api/db/collections", ready)
        .await
        .json()["data"]
        .clone();
    for (name, (documents, bytes)) in generated(&demo) {
        let row = row(&data, name);
        assert_eq!(row["documents"], documents, "{name}");
        // It says 0 for sizes that it does not measure; a 0 that cannot be is unknown.
        assert!(
            row["dataBytes"].is_null() || row["dataBytes"] == bytes,
            "{name} has {bytes} bytes: {row}"
        );
    }
    let keeps = service
        .until(within, "/api/kidlisp/stats", ready)
        .await
        .json();
    assert_eq!(keeps["data"]["kept"], demo.keeps().kept as u64);
    let people = service
        .until(within, "/api/db/users/count", ready)
        .await
        .json();
    let users = documents(&demo, "users").len() as u64 - 1;
    assert_eq!(people["data"]["users"], users);
    let health = service.until(within, "/api/db/health", ready).await.json();
    assert_eq!(
        health["data"]["cache"]["maxBytes"],
        Value::Null,
        "it does not tell, so it is unknown: {health}"
    );
    for path in ["/api/db/access", "/api/db/atproto"] {
        service.until(within, path, ready).await;
    }
    // Here clusterMonitor does not include the right to see connections: said, and not shown as nobody.
    let clients = service.get("/api/db/clients").await;
    assert_eq!(clients.status, 503, "{clients:#?}");
    assert!(clients.text.contains("the account lacks the right"));
}
