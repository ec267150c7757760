//! Moments after a backup, out of the server's oplog: `restore --at`, `--until-before` and `export`.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use silo_backup::error::{EXIT_REFUSED, EXIT_USAGE};
use silo_backup::oplog::Position;
use silo_mongo::mongodb::bson::{Document, Timestamp, doc};
use silo_testkit::mongo::Setup;
use silo_testkit::wait::wait_for;

use crate::stage::{DATABASE, Stage};

/// Runs a command on the database; the position of its change.
async fn change(stage: &Stage, command: Document) -> Timestamp {
    let done = stage.database().run_command(command).await.unwrap();
    done.get_timestamp("operationTime").unwrap()
}

fn insert(id: &str) -> Document {
    doc! { "insert": "notes", "documents": [{ "_id": id }] }
}

/// Waits for a position in a later second.
async fn next_second(stage: &Stage) {
    let tick = || async {
        change(stage, doc! { "insert": "ticks", "documents": [{}] })
            .await
            .time
    };
    let now = tick().await;
    let later = wait_for(Duration::from_secs(10), || async {
        (tick().await > now).then_some(())
    });
    later.await.unwrap();
}

fn text(at: Timestamp) -> String {
    format!("{}:{}", at.time, at.increment)
}

async fn ids(stage: &Stage, database: &str) -> Vec<String> {
    let notes = stage
        .client
        .database(database)
        .collection::<Document>("notes");
    let found = notes.distinct("_id", doc! {}).await.unwrap();
    found
        .iter()
        .map(|id| id.as_str().unwrap().to_owned())
        .collect()
}

/// Restores a moment into a new database: the result, and the notes in it.
async fn restored(stage: &Stage, option: &str, moment: &str, name: &str) -> (Value, Vec<String>) {
    let to = stage.uri_file(&stage.mongo.uri());
    let restore = [
        "restore",
        option,
        moment,
        "--to-file",
        &to,
        "--database",
        name,
    ];
    let result = stage.json(&restore).await;
    assert_eq!(
        result["outcome"]["differences"],
        Value::Array(vec![]),
        "{result}"
    );
    assert_eq!(
        result["outcome"]["incomplete"],
        Value::Array(vec![]),
        "{result}"
    );
    (result, ids(stage, name).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_after_a_backup_is_restored_with_both_edges_named() {
    let stage = Stage::with_demo_data().await;
    stage.backup().await;
    let id = stage.backup().await;
    next_second(&stage).await;
    let one = change(&stage, insert("one")).await;
    let two = change(&stage, insert("two")).await;
    let lost = change(
        &stage,
        doc! { "delete": "moods", "deletes": [{ "q": {}, "limit": 0 }] },
    )
    .await;
    let index =
        doc! { "createIndexes": "notes", "indexes": [{ "key": { "n": 1 }, "name": "n_1" }] };
    change(&stage, index).await;
    // By an administrator, in another database.
    let applied =
        doc! { "applyOps": [{ "op": "i", "ns": "aesthetic.notes", "o": { "_id": "applied" } }] };
    let test = stage.client.database("test");
    test.run_command(applied).await.unwrap();
    let last = change(&stage, insert("three")).await;

    let (result, notes) = restored(&stage, "--at", &text(one), "first").await;
    assert_eq!(notes, ["one"]);
    assert_eq!(
        result["plan"]["backup"],
        id.as_str(),
        "the newest backup: {result}"
    );
    assert_eq!(
        result["plan"]["lastTaken"]["position"],
        text(one),
        "{result}"
    );
    assert_eq!(
        result["plan"]["firstLeftOut"]["position"],
        text(two),
        "{result}"
    );

    // What an operator does after a mistake: everything before the change of that position.
    let mistake = text(Timestamp {
        increment: lost.increment - 1199,
        ..lost
    });
    let (result, notes) = restored(&stage, "--until-before", &mistake, "before").await;
    assert_eq!(notes, ["one", "two"]);
    let moods = stage
        .client
        .database("before")
        .collection::<Document>("moods");
    assert_eq!(moods.count_documents(doc! {}).await.unwrap(), 1200);
    assert_eq!(
        result["plan"]["lastTaken"]["position"],
        text(two),
        "{result}"
    );
    assert_eq!(
        result["plan"]["firstLeftOut"]["position"], mistake,
        "{result}"
    );

    let (result, notes) = restored(&stage, "--at", "latest", "all").await;
    assert_eq!(notes, ["applied", "one", "three", "two"]);
    assert_eq!(
        result["plan"]["lastTaken"]["position"],
        text(last),
        "{result}"
    );
    assert_eq!(result["plan"]["firstLeftOut"], Value::Null, "{result}");
    let indexes = stage
        .client
        .database("all")
        .run_command(doc! { "listIndexes": "notes" })
        .await;
    assert!(indexes.unwrap().to_string().contains("n_1"));

    // A second is taken from its beginning.
    let second = jiff::Timestamp::from_second(i64::from(one.time)).unwrap();
    let (result, notes) = restored(&stage, "--at", &second.to_string(), "second").await;
    assert!(!notes.contains(&"one".to_owned()), "{notes:?}");
    assert!(
        result["plan"]["firstLeftOut"]["at"].as_str() >= Some(second.to_string().as_str()),
        "{result}"
    );
    // Nothing of it stays on this machine.
    let left = std::fs::read_dir(stage.folder.path()).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| !name.starts_with("uri-")).collect();
    assert_eq!(left, <Vec<String>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_found_by_its_number_of_changes_and_no_value_is_shown() {
    let stage = Stage::with_demo_data().await;
    change(&stage, insert("hidden-id")).await;
    let set = doc! { "$set": { "mood": "hidden-value", "inner.part": 1 }, "$unset": { "old": 1 } };
    let update = doc! { "update": "notes", "updates": [{ "q": {}, "u": set }] };
    let updated = change(&stage, update).await;
    let before = change(&stage, insert("other")).await;
    change(
        &stage,
        doc! { "delete": "moods", "deletes": [{ "q": {}, "limit": 0 }] },
    )
    .await;
    change(&stage, doc! { "drop": "paintings" }).await;

    let found = stage.json(&["history"]).await;
    let minutes = found["minutes"].as_array().unwrap();
    let of = |name: &str, count: &str| {
        let of_name = minutes.iter().filter(|minute| minute["collection"] == name);
        of_name
            .map(|minute| minute[count].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(
        (of("moods", "inserted"), of("moods", "deleted")),
        (1200, 1200),
        "{found}"
    );
    assert_eq!(
        (of("notes", "inserted"), of("notes", "updated")),
        (2, 1),
        "{found}"
    );
    assert!(
        of("paintings", "commands") >= 2,
        "created and dropped: {found}"
    );

    let each = ["history", "--each", "--collection", "moods"];
    let found = stage.json(&each).await;
    let runs = found["each"].as_array().unwrap();
    let deleted = runs.iter().filter(|run| run["kind"] == "delete");
    let first = deleted.clone().next().unwrap();
    let deleted: u64 = deleted.map(|run| run["count"].as_u64().unwrap()).sum();
    assert_eq!(deleted, 1200, "{found}");
    assert!(runs.len() < 200, "{found}");
    let last = stage.run(&[&each[..], &["--limit", "1"]].concat()).await;
    let all = format!(
        "{} earlier ones are not: `--limit {}` lists all",
        runs.len() - 1,
        runs.len()
    );
    assert!(last.stdout.contains(&all), "{last:?}");
    assert_eq!(last.stdout.matches(" delete ").count(), 1, "{last:?}");
    stage.backup().await;
    let position = first["position"].as_str().unwrap();
    let at: Position = position.parse().unwrap();
    assert!(at > before.into(), "{position} is after {before}");

    let found = stage
        .json(&["history", "--collection", "notes", "--id", "hidden-id"])
        .await;
    let changes = found["each"].as_array().unwrap();
    assert_eq!(
        (changes.len(), &found["changes"]),
        (2, &2.into()),
        "{found}"
    );
    assert_eq!(changes[1]["position"], text(updated));
    assert_eq!(
        changes[1]["fields"],
        serde_json::json!(["inner", "mood"]),
        "{found}"
    );
    for arguments in [
        &["history", "--each", "--limit", "9999"][..],
        &["history"],
        &["history", "--json", "--each", "--limit", "9999"],
    ] {
        let shown = stage.run(arguments).await;
        let shown = format!("{shown:?}");
        assert!(shown.contains("notes"), "{shown}");
        assert!(!shown.contains("hidden-"), "{shown}");
    }
    let early = stage
        .run(&["history", "--from", "2020-01-01T00:00:00Z"])
        .await;
    early.ends_with(EXIT_REFUSED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_a_new_private_file_that_restores() {
    let stage = Stage::with_demo_data().await;
    stage.backup().await;
    change(&stage, insert("one")).await;
    let file = stage.folder.path().join("moment.gz");
    let name = file.display().to_string();
    let planned = stage
        .json(&["export", "--at", "latest", &name, "--dry-run"])
        .await;
    assert_eq!(planned["file"], Value::Null);
    assert!(!file.exists());
    let exported = stage.json(&["export", "--at", "latest", &name]).await;
    assert_eq!(exported["documents"], 1551, "{exported}");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(exported["bytes"].as_u64(), u64::try_from(bytes.len()).ok());
    assert_eq!(bytes[..2], [0x1f, 0x8b], "gzip");

    let again = stage.run(&["export", "--at", "latest", &name]).await;
    again.ends_with(EXIT_REFUSED);
    assert_eq!(
        std::fs::read(&file).unwrap(),
        bytes,
        "nothing is overwritten"
    );

    // Without the memory of what was published, whoever can write the bucket could have made the backup.
    stage.client.database("silo").drop().await.unwrap();
    let planted = stage.folder.path().join("planted.gz").display().to_string();
    let export = ["export", "--at", "latest", &planted];
    stage.run(&export).await.ends_with(EXIT_REFUSED);
    assert!(!std::fs::exists(&planted).unwrap());
    stage
        .json(&[&export[..], &["--trust-bucket"]].concat())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_that_cannot_be_had_is_refused_and_nothing_is_written() {
    // What no checkpoint has stays in the oplog: one each second, and not each minute.
    let stage = Stage::with(Setup::default().arguments(&["--syncdelay", "1"])).await;
    let before = change(&stage, insert("before")).await;
    let to = stage.uri_file(&stage.mongo.uri());
    let refused = async |moment: &str, reason: &str| {
        let restore = [
            "restore",
            "--at",
            moment,
            "--to-file",
            &to,
            "--database",
            "back",
        ];
        let ended = stage.run(&restore).await;
        assert!(!matches!(ended.code, Some(0)), "{ended:#?}");
        assert!(ended.stderr.contains(reason), "{reason}: {ended:#?}");
        let names = stage.client.list_database_names().await.unwrap();
        assert!(!names.contains(&"back".to_owned()), "{names:?}");
        ended.code
    };
    assert_eq!(
        refused("latest", "no good backup").await,
        Some(i32::from(EXIT_USAGE))
    );
    stage.backup().await;
    refused(&text(before), "no good backup").await;
    refused("2099-01-01T00:00:00Z", "later than the last change").await;
    refused("yesterday", "neither").await;
    // A change that cannot be applied.
    let fine = change(&stage, insert("fine")).await;
    let series = doc! { "create": "series", "timeseries": { "timeField": "at" } };
    let at = change(&stage, series).await;
    refused("latest", "time series").await;
    let (_, notes) = restored(&stage, "--at", &text(fine), "fine").await;
    assert_eq!(notes, ["before", "fine"]);
    // The oplog goes on, and no longer has the changes after the backup.
    let oplog = stage
        .client
        .database("local")
        .collection::<Document>("oplog.rs");
    let oldest = async || {
        let oldest = oplog
            .find_one(doc! {})
            .sort(doc! { "$natural": 1 })
            .await
            .unwrap();
        oldest.unwrap().get_timestamp("ts").unwrap()
    };
    let gone = wait_for(Duration::from_secs(60), || async {
        stage.client.database("other").drop().await.unwrap();
        let blob = doc! { "blob": "x".repeat(8_000_000) };
        let other = stage
            .client
            .database("other")
            .collection::<Document>("blobs");
        other.insert_many(vec![blob; 3]).await.unwrap();
        (oldest().await > at).then_some(())
    });
    gone.await.unwrap();
    refused("latest", "does not go back to the backup").await;
    assert_eq!(ids(&stage, DATABASE).await, ["before", "fine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_storage_or_server_nothing_is_written_and_the_reason_is_named() {
    let mut stage = Stage::with_demo_data().await;
    stage.backup().await;
    change(&stage, insert("one")).await;
    let file = stage.folder.path().join("moment.gz");
    let name = file.display().to_string();
    let export = ["export", "--at", "latest", &name];
    stage.s3.switch_off();
    let ended = stage.run(&export).await;
    assert!(ended.code != Some(0) && !file.exists(), "{ended:#?}");
    assert!(ended.stderr.contains("primary"), "{ended:#?}");
    stage.s3.switch_on().await.unwrap();
    stage.mongo.stop().await.unwrap();
    let ended = stage.run(&export).await;
    assert!(ended.code != Some(0) && !file.exists(), "{ended:#?}");
    assert!(ended.stderr.contains("reaching the database"), "{ended:#?}");
    stage.mongo.start_again().await.unwrap();
    assert_eq!(stage.json(&export).await["documents"], 1551);
}
