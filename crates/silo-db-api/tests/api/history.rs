//! `/api/db/history`: samples on disk.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use silo_db_api::history::{Contents, History, Sample, quarter_of};

use crate::service::{Reply, command, demo_server, documents, start, start_with};

const WITHIN: Duration = Duration::from_secs(20);

/// The last value of a list; `null` if it is empty.
fn last(data: &Value, list: &str) -> Value {
    data[list]
        .as_array()
        .and_then(|list| list.last())
        .cloned()
        .unwrap_or_default()
}

/// Number of points at which the documents are known.
fn known(data: &Value) -> usize {
    let documents = data["documents"].as_array().unwrap().iter();
    documents.filter(|value| value.is_u64()).count()
}

fn is_sampled(reply: &Reply) -> bool {
    last(&reply.json_or_null()["data"], "documents").is_u64()
}

#[tokio::test]
async fn samples_of_an_earlier_process_are_kept_and_new_ones_are_taken() {
    let (server, demo) = demo_server().await;
    let folder = tempfile::tempdir().unwrap();
    let ago = |hours| Timestamp::now() - SignedDuration::from_hours(hours);
    {
        let history = History::open(folder.path()).unwrap();
        for (hours, documents, disk) in [(100, 1, 1_000), (50, 2, 2_000)] {
            let moods = Contents {
                collection: "moods".into(),
                documents: Some(documents),
                data_bytes: Some(10 * documents),
            };
            let sample = Sample {
                quarter: quarter_of(ago(hours)),
                disk_used_bytes: Some(disk),
                collections: Some(vec![moods]),
                ..Sample::default()
            };
            history.add(&sample).unwrap();
        }
    }
    let own = [("DB_FOLDER", folder.path().to_str().unwrap())];
    let mut service = start_with(&server.reader_uri(), &own).await;
    let answer = service.until(WITHIN, "/api/db/history", is_sampled).await;
    let data = &answer.json()["data"];
    let moods = i64::try_from(documents(&demo, "moods").len()).unwrap();
    assert_eq!(data["documents"].as_array().unwrap().len(), 168);
    let users = service.data("/api/db/users/count").await["users"].clone();
    assert_eq!(last(data, "users"), users);
    assert!(last(data, "diskTotalBytes").as_u64() > Some(0), "{data}");
    assert!(last(data, "connections").as_u64() > Some(0), "{data}");
    assert_eq!(known(data), 3);
    let growth = data["growth"].as_array().unwrap();
    let grown: Vec<_> = growth
        .iter()
        .map(|row| (&row["collection"], &row["documents"]))
        .collect();
    assert_eq!(grown, [(&json!("moods"), &json!(moods - 1))]);

    let totals = service.data("/api/db/history?categories=false").await;
    assert_eq!(last(&totals, "users"), users);
    assert_eq!(
        (&totals["categories"], &totals["growth"]),
        (&Value::Null, &Value::Null)
    );

    let path = "/api/db/collections/moods/history?range=month";
    let one = service.get(path).await.ok();
    assert_eq!(one["data"]["stepSeconds"], 4 * 3600);
    assert_eq!(last(&one["data"], "documents"), moods);

    // The disk's growth is that since the oldest sample of the last week.
    let disk = service.data("/api/db/disk").await;
    let since: Timestamp = disk["growth"]["since"].as_str().unwrap().parse().unwrap();
    assert!(
        ago(100).duration_since(since).as_mins().abs() <= 16,
        "{disk}"
    );

    service.process.kill().await.unwrap();
    drop(server);
    let service = start_with("mongodb://127.0.0.1:9/", &own).await;
    let again = service.get("/api/db/history").await.ok();
    assert_eq!(known(&again["data"]), 3, "it is there without mongod");
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let (server, _) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let range = service.get("/api/db/history?range=year").await;
    assert_eq!(range.status, 422, "{range:#?}");
    let unknown = service.get("/api/db/collections/nothing/history").await;
    assert_eq!(unknown.json()["code"], "unknown_collection");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_reported_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    let mut command = command();
    command
        .env("MONGODB_CONNECTION_STRING", "mongodb://127.0.0.1:9/")
        .env("DB_FOLDER", file.join("below"))
        .env("BIND", "127.0.0.1:0");
    let output = command.output().await.unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && message.contains("DB_FOLDER"),
        "{message}"
    );
}
