//! `/api/db/clients`.

use std::time::Duration;

use silo_testkit::mongo::{Kind, MongoServer};

use crate::service::{DATABASE, start_with};

#[tokio::test]
async fn expected_clients_are_seen_or_missing() {
    let server = MongoServer::start_with_users(Kind::Rust, DATABASE)
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("silo.toml");
    std::fs::write(
        &file,
        "[[clients]]\nname = \"silo\"\napp_name = \"silo-db-api\"\n\n[[clients]]\nname = \"session server\"\napp_name = \"session\"\n",
    )
    .unwrap();
    let service = start_with(
        &server.reader_uri(),
        &[("SILO_CONFIG", file.to_str().unwrap())],
    )
    .await;
    let seen = |reply: &crate::service::Reply| reply.status == 200;
    let data = service
        .until(Duration::from_secs(5), "/api/db/clients", seen)
        .await
        .json()["data"]
        .clone();
    let names: Vec<_> = data["clients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|client| client["appName"].as_str().unwrap_or("?"))
        .collect();
    // This server tells of the connection that asks, and of no other.
    assert_eq!(names, ["silo-db-api"]);
    let states: Vec<_> = data["expected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|client| {
            (
                client["name"].as_str().unwrap(),
                client["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(states, [("silo", "seen"), ("session server", "missing")]);
}
