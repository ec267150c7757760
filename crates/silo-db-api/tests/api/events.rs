//! `/api/db/activity` and `/api/db/events`: changes of the database as they happen, and those of the last day.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use silo_testkit::mongo::Setup;

use crate::service::{Reply, Service, database, demo_server, documents, start, start_with};

const WITHIN: Duration = Duration::from_secs(20);

/// Events of one collection, newest first.
fn of<'a>(reply: &'a Value, collection: &str) -> Vec<&'a Value> {
    let events = reply["data"]["events"].as_array().unwrap().iter();
    events
        .filter(|event| event["collection"] == collection)
        .collect()
}

fn is_followed(reply: &Reply) -> bool {
    reply.json_or_null()["meta"]["state"] == "fresh"
}

async fn until_count(service: &Service, collection: &str, wanted: u64) -> Value {
    let count = |reply: &Reply| {
        let counts = of(&reply.json(), collection)
            .iter()
            .filter_map(|event| event["count"].as_u64())
            .sum::<u64>();
        counts >= wanted
    };
    let answer = service.until(WITHIN, "/api/db/activity", count).await;
    answer.json()
}

/// The next event of a stream that names a collection.
async fn next_event(stream: &mut Response, text: &mut String, collection: &str) -> String {
    let read = async {
        loop {
            while let Some((block, rest)) = text.split_once("\n\n") {
                let block = block.to_owned();
                *text = rest.to_owned();
                if block.contains(&format!("\"collection\":\"{collection}\"")) {
                    return block;
                }
            }
            let chunk = stream.chunk().await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(WITHIN, read).await.unwrap()
}

async fn connect(service: &Service, last: Option<u64>) -> Response {
    let mut request = Client::new().get(format!("{}/api/db/events", service.address));
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last.to_string());
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn changes_are_events_without_anything_private_and_a_restart_loses_none() {
    let (server, demo) = demo_server().await;
    let folder = tempfile::tempdir().unwrap();
    let own = [("DB_FOLDER", folder.path().to_str().unwrap())];
    let mut service = start_with(&server.reader_uri(), &own).await;
    service.until(WITHIN, "/api/db/activity", is_followed).await;
    service.data("/api/db/users/count").await;
    let data = database(&server).await;
    let handle = documents(&demo, "@handles")[0].clone();
    let sub = handle.get_str("_id").unwrap();

    let mut stream = connect(&service, None).await;
    let mut text = String::new();
    let painting = doc! { "user": sub, "code": "abc", "slug": "s", "secret": "hunter2" };
    data.collection("paintings")
        .insert_one(painting)
        .await
        .unwrap();
    let event = next_event(&mut stream, &mut text, "paintings").await;
    assert!(event.contains("event: change\n"), "{event}");
    let event: Value = serde_json::from_str(event.split_once("data: ").unwrap().1).unwrap();
    assert_eq!(event["user"], handle.get_str("handle").unwrap());
    assert_eq!(
        (&event["operation"], &event["label"]),
        (&json!("insert"), &json!("abc"))
    );

    let chat = doc! { "user": sub, "text": "a private thought of jane@example.org" };
    data.collection("chat-system")
        .insert_one(chat)
        .await
        .unwrap();
    let users = data.collection::<Document>("users");
    let change = doc! { "$set": { "email": "jane@example.org", "atproto.password": "hunter2" } };
    users.update_one(doc! { "_id": sub }, change).await.unwrap();
    let secret = doc! { "_id": "sk_live_1", "key": "hunter2" };
    data.collection("secrets").insert_one(secret).await.unwrap();
    let many = (0..200).map(|number| doc! { "number": number });
    data.collection("boots").insert_many(many).await.unwrap();
    let activity = until_count(&service, "boots", 200).await;
    let text = activity.to_string();
    for private in ["jane@example.org", "private thought", "hunter2", "sk_live"] {
        assert!(!text.contains(private), "{private} is in {text}");
    }
    assert!(of(&activity, "boots").len() < 20, "many are one event");
    assert_eq!(
        of(&activity, "users")[0]["fields"],
        json!(["email", "atproto"])
    );
    assert_eq!(of(&activity, "secrets")[0]["document"], Value::Null);
    let minutes = activity["data"]["minutes"].as_array().unwrap();
    let counted: u64 = minutes.iter().filter_map(Value::as_u64).sum();
    assert!(counted >= 204, "{minutes:?}");

    // What happens while the service is away is read afterwards.
    service.process.kill().await.unwrap();
    let last = activity["data"]["events"][0]["id"].as_u64().unwrap();
    data.collection("moods")
        .insert_one(doc! { "mood": "calm" })
        .await
        .unwrap();
    data.collection::<Document>("tickets").drop().await.unwrap();
    let service = start_with(&server.reader_uri(), &own).await;
    let activity = until_count(&service, "tickets", 1).await;
    assert_eq!(of(&activity, "moods").len(), 1, "{activity}");
    assert_eq!(of(&activity, "tickets")[0]["operation"], "drop");
    assert_eq!(of(&activity, "paintings").len(), 1);
    let mut missed = connect(&service, Some(last)).await;
    let first = next_event(&mut missed, &mut String::new(), "moods").await;
    assert!(first.contains(&format!("id: {}\n", last + 1)), "{first}");
    let until = service
        .get("/api/db/activity?until=2020-01-01T00:00:00Z")
        .await
        .ok();
    assert_eq!(until["data"]["events"], json!([]));

    // Silo's own change stream is nobody's use of them.
    let access = service.data("/api/db/access").await;
    let streams = &access["changeStreams"];
    assert_eq!(
        streams["inUse"],
        Value::Null,
        "those of the process before: {access}"
    );

    // The stream continues after the database was dropped.
    data.drop().await.unwrap();
    data.collection("moods")
        .insert_one(doc! { "mood": "new" })
        .await
        .unwrap();
    until_count(&service, "moods", 2).await;
}

#[tokio::test]
async fn a_server_without_a_replica_set_is_named_as_the_reason() {
    let server = Setup::default().standalone().start().await.unwrap();
    let service = start(&server.uri()).await;
    let code =
        |reply: &Reply| reply.json_or_null()["meta"]["errors"][0]["code"] == "no_replica_set";
    let answer = service.until(WITHIN, "/api/db/activity", code).await.json();
    assert_eq!(answer["meta"]["state"], "stale");
    assert_eq!(answer["data"]["since"], Value::Null);
    let limit = service.get("/api/db/activity?limit=1001").await;
    assert_eq!(limit.status, 422);
}
