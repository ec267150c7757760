//! Data and structures that other tools trip over: backed up, drilled with the account for drills, and restored unchanged.

use silo_backup::error::{EXIT_DIFFERENT, EXIT_INCONCLUSIVE, EXIT_REFUSED, EXIT_USAGE};
use silo_mongo::collections;
use silo_mongo::mongodb::bson::{DateTime, Document, RawDocumentBuf, Timestamp, doc};
use silo_testkit::mongo::Setup;

use crate::stage::{DATABASE, Stage};

/// A document with a string that is not UTF-8: `{_id: 1, s: "\xe9"}`.
const INVALID_UTF_8: &[u8] = b"\x17\0\0\0\x10_id\0\x01\0\0\0\x02s\0\x02\0\0\0\xe9\0\0";

/// Inserts a raw document without the driver's checks.
async fn insert_raw(stage: &Stage, name: &str, bytes: &[u8]) {
    let mut documents = silo_mongo::mongodb::bson::RawArrayBuf::new();
    documents.push(RawDocumentBuf::from_bytes(bytes.to_vec()).unwrap());
    let mut command = RawDocumentBuf::new();
    command.append(silo_mongo::mongodb::bson::cstr!("insert"), name);
    command.append(silo_mongo::mongodb::bson::cstr!("documents"), documents);
    stage.database().run_raw_command(command).await.unwrap();
}

async fn create(stage: &Stage, command: Document) {
    stage.database().run_command(command).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_that_is_not_utf_8_is_kept_and_noted() {
    let stage = Stage::with_demo_data().await;
    insert_raw(&stage, "latin", INVALID_UTF_8).await;
    let made = stage.json(&["run"]).await;
    assert!(
        made["notes"]
            .to_string()
            .contains("1 strings are not valid UTF-8"),
        "{made}"
    );
    stage.json(&["drill"]).await;
    let restored = stage.restore("back").await;
    assert_eq!(restored["outcome"]["differences"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_would_change_is_restored_unchanged() {
    let stage = Stage::new().await;
    let insert = async |name: &str, document: Document| {
        let collection = stage.database().collection::<Document>(name);
        collection.insert_one(document).await.unwrap();
    };
    // An insert replaces an empty timestamp by the current time; an update by a pipeline does not.
    let empty = Timestamp {
        time: 0,
        increment: 0,
    };
    let pipeline = vec![
        doc! { "$replaceWith": { "$literal": { "_id": 1, "at": empty, "b": { "at": empty } } } },
    ];
    create(&stage, doc! { "update": "stamps", "updates": [{ "q": { "_id": 1 }, "u": pipeline, "upsert": true }] }).await;
    insert("stamps", doc! { "_id": 2, "text": "after it" }).await;
    // An index with the simple collation in a collection with another default.
    create(
        &stage,
        doc! { "create": "collated", "collation": { "locale": "de" } },
    )
    .await;
    let simple = doc! { "key": { "a": 1 }, "name": "simple", "unique": true, "collation": { "locale": "simple" } };
    create(
        &stage,
        doc! { "createIndexes": "collated", "indexes": [simple] },
    )
    .await;
    insert("collated", doc! { "a": "x" }).await;
    // A clustered collection and a time series whose documents expire, restored without their expiry, which is set last.
    let clustered = doc! { "key": { "_id": 1 }, "unique": true };
    create(&stage, doc! { "create": "clustered", "clusteredIndex": clustered, "expireAfterSeconds": 1_000_000_000_i64 }).await;
    insert("clustered", doc! { "_id": DateTime::now() }).await;
    let series = doc! { "timeField": "at", "metaField": "where" };
    create(
        &stage,
        doc! { "create": "series", "timeseries": series, "expireAfterSeconds": 86_400_000_i64 },
    )
    .await;
    for at in 0..5 {
        insert(
            "series",
            doc! { "at": DateTime::from_millis(1_700_000_000_000 + at), "where": 1, "v": at },
        )
        .await;
    }
    // Documents that the validator rejects.
    insert("ruled", doc! { "_id": 1, "n": "text" }).await;
    create(
        &stage,
        doc! { "collMod": "ruled", "validator": { "n": { "$type": "int" } } },
    )
    .await;
    // An index of the first version, as a database has that was created before MongoDB 3.4.
    create(&stage, doc! { "createIndexes": "ruled", "indexes": [{ "key": { "n": 1 }, "name": "old", "v": 1 }] }).await;
    // A TTL index.
    insert(
        "sessions",
        doc! { "at": DateTime::from_millis(DateTime::now().timestamp_millis() + 3_600_000) },
    )
    .await;
    create(&stage, doc! { "createIndexes": "sessions", "indexes": [{ "key": { "at": 1 }, "name": "ttl", "expireAfterSeconds": 0 }] }).await;

    let made = stage.json(&["run"]).await;
    assert_eq!(made["consistency"], "snapshot", "{made}");
    let drilled = stage.json(&["drill"]).await;
    assert_eq!(drilled["good"], true, "{drilled}");
    let restored = stage.restore("back").await;
    assert_eq!(
        restored["outcome"],
        serde_json::json!({ "differences": [], "incomplete": [] }),
        "{restored}"
    );
    let (was, is) = (stage.database(), stage.client.database("back"));
    let (was, is) = (
        collections::list(&was).await.unwrap(),
        collections::list(&is).await.unwrap(),
    );
    for (was, is) in was.iter().zip(&is) {
        assert_eq!((&was.name, &was.options), (&is.name, &is.options));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_checks_everything_before_its_first_write() {
    let stage = Stage::with_demo_data().await;
    let long = "n".repeat(255 - DATABASE.len() - 1);
    stage.fill(&long, 1).await;
    stage.backup().await;
    let owner = stage.uri_file(&stage.mongo.uri());
    let reader = stage.uri_file(&stage.mongo.reader_uri());
    for (to, database, reason) in [
        (&owner, "aesthetic_back", "is longer than 255 bytes"),
        (&reader, "b", "lacks privileges on b"),
        (&owner, "silo", "is not a database to restore to"),
    ] {
        for dry in [true, false] {
            let mut arguments = vec![
                "restore",
                "latest",
                "--to-file",
                to,
                "--database",
                database,
                "--quiet",
            ];
            arguments.extend(dry.then_some("--dry-run"));
            let refused = stage.run(&arguments).await;
            assert!(
                refused.ends_with(EXIT_REFUSED).stderr.contains(reason),
                "{refused:#?}"
            );
        }
    }
    let names = stage.client.list_database_names().await.unwrap();
    assert!(
        !names
            .iter()
            .any(|name| name == "aesthetic_back" || name == "b"),
        "{names:?}"
    );
    // Other users can read the password.
    std::fs::set_permissions(&owner, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let refused = stage
        .run(&[
            "restore",
            "latest",
            "--to-file",
            &owner,
            "--database",
            "b",
            "--quiet",
        ])
        .await;
    assert!(
        refused.ends_with(EXIT_REFUSED).stderr.contains("chmod 600"),
        "{refused:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_collection_can_be_restored_and_an_empty_database_of_the_same_name() {
    let stage = Stage::with_demo_data().await;
    stage.backup().await;
    let to = stage.uri_file(&stage.mongo.uri());
    let only = [
        "restore",
        "latest",
        "--to-file",
        &to,
        "--database",
        "part",
        "--only",
    ];
    stage.json(&[&only[..], &["users"]].concat()).await;
    let names = stage
        .client
        .database("part")
        .list_collection_names()
        .await
        .unwrap();
    assert_eq!(names, ["users"]);
    stage
        .run(&[
            "restore",
            "latest",
            "--to-file",
            &to,
            "--database",
            "other",
            "--only",
            "nothing",
            "--quiet",
        ])
        .await
        .ends_with(EXIT_USAGE);
    stage.database().drop().await.unwrap();
    let restored = stage.restore(DATABASE).await;
    assert_eq!(
        restored["outcome"]["differences"],
        serde_json::json!([]),
        "{restored}"
    );
    let moods = stage.database().collection::<Document>("moods");
    assert_eq!(moods.count_documents(doc! {}).await.unwrap(), 1200);
}

/// A server that refuses an index: a restore keeps the documents and lists what is missing; a drill is no verdict on the backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_index_neither_drops_a_restore_nor_condemns_a_backup() {
    let stage = Stage::with(Setup::default().fail_points()).await;
    stage.fill("users", 10).await;
    create(
        &stage,
        doc! { "createIndexes": "users", "indexes": [{ "key": { "at": 1 }, "name": "at_1" }] },
    )
    .await;
    stage.backup().await;
    // OutOfDiskSpace, which a server answers below 500 MB.
    let full = || doc! { "errorCode": 14_031 };
    stage
        .mongo
        .fail_commands(&["createIndexes"], 2, full())
        .await
        .unwrap();
    let to = stage.uri_file(&stage.mongo.uri());
    let ended = stage
        .run(&[
            "restore",
            "latest",
            "--to-file",
            &to,
            "--database",
            "back",
            "--json",
            "--quiet",
        ])
        .await;
    let restored = ended.ends_with(EXIT_DIFFERENT).value();
    assert!(
        restored["outcome"]["incomplete"]
            .to_string()
            .contains("OutOfDiskSpace (14031)"),
        "{restored}"
    );
    let users = stage
        .client
        .database("back")
        .collection::<Document>("users");
    assert_eq!(users.count_documents(doc! {}).await.unwrap(), 10);

    stage
        .mongo
        .fail_commands(&["createIndexes"], 2, full())
        .await
        .unwrap();
    let drilled = stage.run(&["drill", "--json", "--quiet"]).await;
    let drilled = drilled.ends_with(EXIT_INCONCLUSIVE).value();
    assert_eq!(drilled["error"]["code"], "not_drilled", "{drilled}");
    stage.mongo.stop_failing().await.unwrap();
    let list = stage.json(&["list"]).await;
    assert_eq!(
        (&list[0]["good"], &list[0]["drill"]),
        (&true.into(), &serde_json::Value::Null),
        "{list}"
    );
    assert_eq!(stage.json(&["drill"]).await["good"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_the_name_of_the_scratch_database_is_not_dropped() {
    let stage = Stage::with_demo_data().await;
    stage.backup().await;
    let theirs = stage
        .client
        .database("silo_drill")
        .collection::<Document>("theirs");
    theirs.insert_one(doc! {}).await.unwrap();
    let refused = stage.run(&["drill", "--json", "--quiet"]).await;
    let refused = refused.ends_with(EXIT_INCONCLUSIVE).value();
    assert!(
        refused["error"]["detail"]
            .as_str()
            .unwrap()
            .contains("was not created by a drill"),
        "{refused}"
    );
    assert_eq!(theirs.count_documents(doc! {}).await.unwrap(), 1);
}
