//! Indexes that are being built while a backup is made.

use silo_mongo::collections;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::mongo::Setup;
use tokio::task::JoinHandle;

use crate::server::{Base, Server};

/// Fail point at which the server stops after `startIndexBuild` is in the oplog.
const STARTED: &str = "hangAfterStartingIndexBuild";

async fn admin(server: &Server, command: Document) -> Document {
    let admin = server.client.database("admin");
    admin.run_command(command).await.unwrap()
}

/// Begins to build an index on `moods`, and returns while the server builds it; with `true` if it is built in the end.
async fn begin(server: &Server, index: Document) -> JoinHandle<bool> {
    let command = doc! { "configureFailPoint": STARTED, "mode": "alwaysOn" };
    let before = field::count(&admin(server, command).await, "count").unwrap();
    let database = server.database();
    let building = tokio::spawn(async move {
        let create = doc! { "createIndexes": "moods", "indexes": [index] };
        database.run_command(create).await.is_ok()
    });
    let times = i64::try_from(before + 1).unwrap();
    let wait = doc! { "waitForFailPoint": STARTED, "timesEntered": times, "maxTimeMS": 30_000 };
    admin(server, wait).await;
    building
}

async fn go_on(server: &Server) {
    admin(
        server,
        doc! { "configureFailPoint": STARTED, "mode": "off" },
    )
    .await;
}

fn indexes(base: &Base) -> usize {
    base.collections[0].indexes.len()
}

/// Number of indexes that the server lists, unfinished ones included.
async fn listed(server: &Server) -> usize {
    let indexes = collections::indexes(&server.database(), "moods").await;
    indexes.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_in_a_backup_once_it_is_built() {
    let server = Server::with(Setup::default().fail_points()).await;
    let documents: Vec<Document> = (0..10).map(|n| doc! { "n": n, "same": 1 }).collect();
    let moods = server.database().collection("moods");
    moods.insert_many(documents).await.unwrap();
    let before = server.base().await;

    let building = begin(&server, doc! { "key": { "n": 1 }, "name": "n_1" }).await;
    let during = server.base().await;
    assert_eq!(listed(&server).await, 2, "it is being built");
    go_on(&server).await;
    assert!(building.await.unwrap());
    let after = server.base().await;
    assert_eq!([&before, &during, &after].map(indexes), [1, 1, 2]);
    server.assert_same(&before, &during, "begun").await;
    server.assert_same(&during, &after, "ended").await;

    let unique = doc! { "key": { "same": 1 }, "name": "same_1", "unique": true };
    let building = begin(&server, unique).await;
    let during = server.base().await;
    assert_eq!(listed(&server).await, 3, "it is being built");
    go_on(&server).await;
    assert!(!building.await.unwrap(), "there are duplicates");
    let failed = server.base().await;
    assert_eq!([&during, &failed].map(indexes), [2, 2]);
    server.assert_same(&after, &during, "begun").await;
    server.assert_same(&during, &failed, "aborted").await;
}
