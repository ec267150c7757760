//! Continuous backup: the built service stores the oplog in slices, and moments are restored from them alone.

use std::time::Duration;

use serde_json::Value;
use silo_backup::error::EXIT_REFUSED;
use silo_mongo::mongodb::bson::{Document, Timestamp, doc};
use silo_testkit::service::Service;

use crate::service::{LIMIT, data, serve};
use crate::stage::{PREFIX, Stage};

const PATH: &str = "/api/backup/continuous";
/// Time for a clean end, with the last slices.
const END: Duration = Duration::from_secs(15);

/// A stage with continuous backup, and no backup by schedule.
async fn continuous() -> Stage {
    let mut stage = Stage::with_demo_data().await;
    stage.set("BACKUP_PITR_DAYS", "14");
    stage.set("BACKUP_SCHEDULE", "0 0 1 1 *");
    stage.set("BACKUP_DRILL_SCHEDULE", "none");
    stage
}

/// Runs a command on the database; the position of its change.
async fn change(stage: &Stage, command: Document) -> Timestamp {
    let done = stage.database().run_command(command).await.unwrap();
    done.get_timestamp("operationTime").unwrap()
}

async fn insert(stage: &Stage, id: &str) -> Timestamp {
    change(
        stage,
        doc! { "insert": "notes", "documents": [{ "_id": id }] },
    )
    .await
}

fn text(at: Timestamp) -> String {
    format!("{}:{}", at.time, at.increment)
}

/// Waits until the service reads the oplog.
async fn running(service: &Service) -> Value {
    let is_running = |reply: &silo_testkit::service::Reply| data(reply)["state"] == "running";
    data(&service.until(LIMIT, PATH, is_running).await)
}

/// Asks the service to end: it cuts and stores the last slice.
async fn end(mut service: Service) {
    service.process.stop(END).await.unwrap();
}

/// Chains in storage, every slice read.
async fn chains(stage: &Stage) -> Vec<Value> {
    let chains = stage.json(&["chain", "--verify"]).await;
    chains.as_array().unwrap().clone()
}

/// Restores a moment from storage alone: the notes in it.
async fn restored(stage: &Stage, moment: &[&str], name: &str) -> (Value, Vec<String>) {
    let to = stage.uri_file(&stage.mongo.uri());
    let restore = [
        &["restore"],
        moment,
        &[
            "--from-storage",
            "--trust-bucket",
            "--to-file",
            &to,
            "--database",
            name,
        ],
    ];
    let result = stage.json(&restore.concat()).await;
    assert_eq!(
        result["outcome"]["differences"],
        Value::Array(vec![]),
        "{result}"
    );
    let notes = stage.client.database(name).collection::<Document>("notes");
    let notes = notes.distinct("_id", doc! {}).await.unwrap();
    let notes = notes.iter().map(|id| id.as_str().unwrap().to_owned());
    (result, notes.collect())
}

async fn slices(stage: &Stage) -> Vec<String> {
    let keys = stage.keys().await.into_iter();
    let folder = format!("{PREFIX}oplog/");
    keys.filter(|key| key.starts_with(&folder)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_moment_after_a_backup_is_restored_from_storage() {
    let stage = continuous().await;
    let service = serve(&stage).await;
    let status = running(&service).await;
    let chain = status["chain"].as_str().unwrap().to_owned();
    assert_eq!(stage.manifests().await.len(), 1, "the backup it begins at");
    let one = insert(&stage, "one").await;
    let two = insert(&stage, "two").await;
    change(
        &stage,
        doc! { "delete": "moods", "deletes": [{ "q": {}, "limit": 0 }] },
    )
    .await;
    // Of another database: not stored.
    let other = stage
        .client
        .database("other")
        .collection::<Document>("notes");
    other
        .insert_one(doc! { "secret": "of another database" })
        .await
        .unwrap();
    end(service).await;

    let found = chains(&stage).await;
    let [row] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(row["chain"], chain.as_str());
    assert_eq!(
        row["entries"],
        1 + 2 + 1200,
        "with the creation of the collection: {row}"
    );
    // An operator who does not say so gets nothing that only the bucket vouches for.
    let to = stage.uri_file(&stage.mongo.uri());
    let at = text(one);
    let refused = [
        "restore",
        "--at",
        &at,
        "--from-storage",
        "--to-file",
        &to,
        "--database",
        "no",
    ];
    let refused = stage.run(&refused).await;
    assert_eq!(refused.code, Some(i32::from(EXIT_REFUSED)), "{refused:?}");

    let (result, notes) = restored(&stage, &["--at", &at], "first").await;
    assert_eq!(notes, ["one"]);
    let plan = &result["plan"];
    assert_eq!(plan["chain"], chain.as_str(), "{plan}");
    assert_eq!(plan["lastTaken"]["position"], at, "{plan}");
    assert_eq!(plan["firstLeftOut"]["position"], text(two), "{plan}");
    let (_, notes) = restored(&stage, &["--until-before", &text(two)], "before").await;
    assert_eq!(notes, ["one"]);
    let (result, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["one", "two"]);
    assert_eq!(result["plan"]["firstLeftOut"], Value::Null);
    let moods = stage
        .client
        .database("latest")
        .collection::<Document>("moods");
    assert_eq!(moods.count_documents(doc! {}).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_goes_on_after_an_end_a_kill_and_storage_that_is_down() {
    let stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "one").await;
    end(service).await;
    insert(&stage, "two").await;
    // Killed before it cuts anything: read again by the next one.
    let mut service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "three").await;
    service.process.kill().await.unwrap();
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "four").await;
    let before = slices(&stage).await;
    stage.s3.switch_off();
    end(service).await;
    insert(&stage, "five").await;
    stage.s3.switch_on().await.unwrap();
    assert_eq!(slices(&stage).await, before, "while storage was down");
    let service = serve(&stage).await;
    running(&service).await;
    end(service).await;
    let found = chains(&stage).await;
    let [row] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(row["entries"], 1 + 5, "each once: {row}");
    assert_eq!(row["problem"], Value::Null);
    assert_eq!(
        stage.manifests().await.len(),
        1,
        "no other backup was needed"
    );
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["five", "four", "one", "three", "two"]);
}
