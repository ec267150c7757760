//! `/api/db/access`.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use silo_testkit::mongo::MongoServer;

use crate::service::{DATABASE, Reply, database, start, start_with};

#[tokio::test]
async fn reads_writes_and_features_are_reported_since_the_server_started() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let db = database(&server).await;
    let moods = db.collection::<Document>("moods");
    moods
        .insert_many((0..30).map(|n| doc! { "_id": n }))
        .await
        .unwrap();
    for _ in 0..10 {
        moods.find_one(doc! {}).await.unwrap();
    }
    for half in ["films.files", "films.chunks"] {
        db.collection(half)
            .insert_one(doc! { "_id": 1 })
            .await
            .unwrap();
    }

    let service = start(&server.reader_uri()).await;
    let answer = service.get("/api/db/access").await.ok();
    let data = &answer["data"];
    assert!(data["writes"].as_u64().unwrap() >= 3, "{data}");
    assert!(data["reads"].as_u64().unwrap() >= 10, "{data}");
    assert_eq!(data["gridFs"], json!({ "inUse": true, "count": 1 }));
    assert_eq!(
        data["unusedIndexes"],
        Value::Null,
        "a server that has just started cannot tell"
    );
    let since: jiff::Timestamp = data["since"].as_str().unwrap().parse().unwrap();
    let uptime = jiff::Timestamp::now().duration_since(since);
    assert!(
        (0..120).contains(&uptime.as_secs()),
        "since {since} is {uptime} ago"
    );
    let names: Vec<_> = data["collections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"moods"), "{names:?}");
}

#[tokio::test]
async fn reads_of_others_are_told_apart_from_silo_s_own() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let moods = database(&server).await.collection::<Document>("moods");
    moods.insert_one(doc! { "_id": 1 }).await.unwrap();
    let service = start_with(&server.reader_uri(), &[("REFRESH_SECONDS", "1")]).await;
    let own = |reply: &Reply| reply.json_or_null()["data"]["observed"]["siloReads"].as_u64();
    let within = Duration::from_secs(15);
    let path = "/api/db/access";
    let watched = |reply: &Reply| own(reply) > Some(0);
    service.until(within, path, watched).await;
    for _ in 0..100 {
        moods.find_one(doc! {}).await.unwrap();
    }
    // A read that is answered during a look is in one count and not in the other, until the next look.
    let counted = |reply: &Reply| {
        let reads = reply.json_or_null()["data"]["observed"]["reads"].as_u64();
        let others = reads
            .zip(own(reply))
            .and_then(|(all, own)| all.checked_sub(own));
        others.is_some_and(|others| (95..=105).contains(&others))
    };
    let answer = service.until(within, path, counted).await.json();
    let observed = &answer["data"]["observed"];
    assert!(observed["shareOfReads"].as_f64() > Some(0.9), "{observed}");
}
