//! `/api/db/operations` and `/api/db/disk`.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use serde_json::Value;
use silo_testkit::mongo::MongoServer;

use crate::service::{DATABASE, Reply, database, start_with};

/// In the filters of the operations: it must not be shown.
const SECRET: &str = "a-private-thought";

#[tokio::test]
async fn long_operations_are_listed_by_name_without_values() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let db = database(&server).await;
    let moods = db.collection::<Document>("moods");
    moods.insert_one(doc! { "_id": 1 }).await.unwrap();
    let slow = format!("function() {{ sleep(60000); return '{SECRET}' == ''; }}");
    let filter = doc! { "$where": slow };
    let (reader, writer) = (moods.clone(), moods.clone());
    let (find, update) = (filter.clone(), filter);
    let finding = tokio::spawn(async move { reader.find_one(find).await });
    let set = doc! { "$set": { "mood": SECRET } };
    let updating = tokio::spawn(async move { writer.update_one(update, set).await });

    let quick = [("REFRESH_SECONDS", "1")];
    let service = start_with(&server.reader_uri(), &quick).await;
    let names = |answer: &Value| -> Vec<String> {
        let rows = answer["data"]["operations"].as_array();
        let ours = rows.into_iter().flatten();
        let ours = ours.filter(|row| row["namespace"] == "aesthetic.moods");
        let mut names: Vec<_> = ours
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let both = |reply: &Reply| names(&reply.json_or_null()) == ["find", "update"];
    let within = Duration::from_secs(15);
    let reply = service.until(within, "/api/db/operations", both).await;
    assert!(!reply.text.contains(SECRET), "{reply:#?}");
    let answer = reply.json();
    let rows = answer["data"]["operations"].as_array().unwrap();
    assert!(
        rows.iter().all(|row| row["seconds"].as_u64() >= Some(1)),
        "{answer}"
    );
    let find = rows.iter().find(|row| row["name"] == "find").unwrap();
    assert_eq!(find["plan"], "COLLSCAN", "{find}");
    assert_eq!(answer["data"]["total"], rows.len(), "{answer}");
    finding.abort();
    updating.abort();
}

#[tokio::test]
async fn the_disk_of_the_server_is_measured() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let service = start_with(&server.reader_uri(), &[]).await;
    let disk = service.data("/api/db/disk").await;
    let bytes = |name: &str| disk[name].as_u64().unwrap();
    assert!(bytes("usedBytes") > 0 && bytes("freeBytes") > 0, "{disk}");
    let total = bytes("usedBytes") + bytes("freeBytes");
    assert_eq!(total, bytes("totalBytes"), "{disk}");
    assert_eq!(disk["growth"], Value::Null, "watched for less than a day");
    assert_eq!(disk["daysUntilFull"], Value::Null);
}
