//! `/api/db/clients`.

use std::time::Duration;

use futures_util::StreamExt;
use mongodb::Client;
use mongodb::bson::Document;
use mongodb::options::ClientOptions;
use serde_json::Value;
use silo_testkit::mongo::MongoServer;

use crate::service::{DATABASE, Reply, start, start_with};

#[tokio::test]
async fn expected_clients_are_seen_or_missing() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
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
    let silo = named(&data, "silo-db-api");
    assert!(
        silo["driver"]
            .as_str()
            .unwrap()
            .starts_with("mongo-rust-driver 3."),
        "{silo}"
    );
    assert_eq!(silo["address"], "127.0.0.1", "{silo}");
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

/// Row of a client by its application name.
fn named<'a>(data: &'a Value, app_name: &str) -> &'a Value {
    let clients = data["clients"].as_array().unwrap();
    let mut rows = clients
        .iter()
        .filter(|client| client["appName"] == app_name);
    let row = rows
        .next()
        .unwrap_or_else(|| panic!("{app_name} is not in {data}"));
    assert!(rows.next().is_none(), "{app_name} has one row: {data}");
    row
}

/// Connections of one client are one row, with their number, as the account that the droplet uses sees them.
#[tokio::test]
async fn connections_are_grouped_by_client() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let connect = async |app_name: &str| {
        let mut options = ClientOptions::parse(server.client_uri()).await.unwrap();
        options.app_name = Some(app_name.to_owned());
        Client::with_options(options).unwrap()
    };
    let (lith, session) = (connect("lith").await, connect("session").await);
    let waits = async |client: &Client| {
        let moods = client.database(DATABASE).collection::<Document>("moods");
        // Watching holds a connection for as long as nothing changes.
        let mut changes = moods.watch().await.unwrap();
        drop(tokio::time::timeout(Duration::from_secs(20), changes.next()).await);
    };
    let watching = async {
        tokio::join!(waits(&lith), waits(&lith), waits(&lith), waits(&session));
    };
    let looked = async {
        let service = start(&server.reader_uri()).await;
        let connected = |reply: &Reply| {
            let data = &reply.json_or_null()["data"];
            let rows = data["clients"].as_array();
            let of = |name: &str| {
                let rows = rows.into_iter().flatten();
                let row = rows.filter(|row| row["appName"] == name);
                row.filter_map(|row| row["connections"].as_u64())
                    .sum::<u64>()
            };
            // One connection of each is the driver's own, for monitoring.
            of("lith") >= 3 && of("session") >= 1
        };
        let within = Duration::from_secs(15);
        service
            .until(within, "/api/db/clients", connected)
            .await
            .ok()["data"]
            .clone()
    };
    let data = tokio::select! {
        data = looked => data,
        () = watching => panic!("nobody watches any more"),
    };
    let (lith, session) = (named(&data, "lith"), named(&data, "session"));
    assert!(
        lith["connections"].as_u64() > session["connections"].as_u64(),
        "{data}"
    );
}
