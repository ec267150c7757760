//! `/api/db/compare`.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use serde_json::json;
use silo_testkit::mongo::MongoServer;

use crate::service::{Reply, database, demo_server, start, start_with};

/// Time limit for a comparison of the demo data.
const COMPARED_WITHIN: Duration = Duration::from_secs(60);

fn is_compared(reply: &Reply) -> bool {
    reply.json_or_null()["data"]["last"].is_object()
}

#[tokio::test]
async fn without_an_old_cluster_nothing_is_compared() {
    let server = MongoServer::start().await.unwrap();
    let service = start(&server.uri()).await;
    let nothing = json!({ "configured": false, "running": null, "last": null });
    assert_eq!(service.get("/api/db/compare").await.ok()["data"], nothing);
}

#[tokio::test]
async fn differences_from_the_old_cluster_are_found() {
    let (server, demo) = demo_server().await;
    let old = MongoServer::start().await.unwrap();
    let database = database(&old).await;
    demo.load(&database, |_, _, _| {}).await.unwrap();
    let moods = database.collection::<Document>("moods");
    moods
        .insert_one(doc! { "_id": "only there" })
        .await
        .unwrap();
    let before = moods.find_one(doc! { "mood": { "$type": "string" } }).await;
    let id = before.unwrap().unwrap().get("_id").unwrap().clone();
    let changed = doc! { "$set": { "mood": "another" } };
    moods
        .update_one(doc! { "_id": id.clone() }, changed)
        .await
        .unwrap();
    database
        .collection::<Document>("empty on silo")
        .insert_one(doc! {})
        .await
        .unwrap();
    let uri = old.uri();
    let service = start_with(&server.reader_uri(), &[("OLD_CONNECTION_STRING", &uri)]).await;
    let compared = service
        .until(COMPARED_WITHIN, "/api/db/compare", is_compared)
        .await;
    let data = compared.ok()["data"].clone();
    assert_eq!(data["configured"], true);
    assert_eq!(data["last"]["equal"], false, "{data}");
    let collections = data["last"]["collections"].as_array().unwrap();
    assert_eq!(collections.len(), 39);
    let different: Vec<_> = collections
        .iter()
        .filter(|collection| collection["equal"] == false)
        .collect();
    assert_eq!(different.len(), 2, "{different:?}");
    assert_eq!(
        different[0]["structure"],
        json!(["empty on silo is missing"])
    );
    let moods = different[1];
    assert_eq!(moods["differentDocuments"], 2, "{moods}");
    assert_eq!(moods["missingDocuments"], 1, "{moods}");
    let classes: Vec<_> = moods["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| (difference["class"].clone(), difference["field"].clone()))
        .collect();
    assert!(
        classes.contains(&(json!("missing"), json!(null))),
        "{moods}"
    );
    assert!(
        classes.contains(&(json!("content"), json!("mood"))),
        "{moods}"
    );
}

#[tokio::test]
async fn an_old_cluster_that_does_not_answer_is_a_reason() {
    let (server, _) = demo_server().await;
    let nobody = "mongodb://127.0.0.1:1/aesthetic?serverSelectionTimeoutMS=100";
    let service = start_with(&server.reader_uri(), &[("OLD_CONNECTION_STRING", nobody)]).await;
    let failed = |reply: &Reply| reply.json_or_null()["meta"]["state"] == "partial";
    let reply = service
        .until(COMPARED_WITHIN, "/api/db/compare", failed)
        .await;
    let answer = reply.ok();
    assert_eq!(
        answer["meta"]["errors"][0]["code"], "unreachable",
        "{answer}"
    );
    assert_eq!(answer["data"]["last"], json!(null));
    // Everything else is measured as ever.
    let collections = service.get("/api/db/collections").await.ok();
    assert_eq!(collections["data"]["total"]["collections"], 38);
}
