//! `silo-migrate copy`.

use silo_cli::exit::EXIT_REFUSED;
use silo_mongo::mongodb::bson::{DateTime, Document, RawDocumentBuf, doc};

use crate::compare::ids;
use crate::stage::{DATABASE, Side, Stage, terminated};

/// Arguments of `copy`, quick enough for a test.
fn copy<'a>(stage: &'a Stage, more: &[&'a str]) -> Vec<&'a str> {
    [
        &["copy", &stage.a.file, &stage.b.file, "--rate", "1000"][..],
        more,
    ]
    .concat()
}

/// Collections of all kinds, with options and indexes.
async fn fill(side: &Side) {
    let database = side.database();
    let documents: Vec<Document> = ids()
        .into_iter()
        .map(|id| doc! { "_id": id, "x": 1 })
        .collect();
    side.collection("mixed")
        .insert_many(documents)
        .await
        .unwrap();
    let moods = (0..3000)
        .map(|at| doc! { "_id": at, "mood": "x".repeat(300), "when": DateTime::from_millis(at) });
    side.collection("moods").insert_many(moods).await.unwrap();
    // B05: a string that is not valid UTF-8.
    let invalid =
        b"\x17\x00\x00\x00\x10_id\x00\x01\x00\x00\x00\x02s\x00\x02\x00\x00\x00\xe9\x00\x00"
            .to_vec();
    let invalid = RawDocumentBuf::from_bytes(invalid).unwrap();
    database
        .collection::<RawDocumentBuf>("invalid")
        .insert_one(invalid)
        .await
        .unwrap();
    for command in [
        doc! { "create": "capped", "capped": true, "size": 100_000 },
        doc! { "create": "german", "collation": { "locale": "de" }, "validator": { "x": { "$gt": 0 } } },
        doc! { "create": "glad", "viewOn": "moods", "pipeline": [{ "$match": { "_id": { "$lt": 10 } } }] },
        doc! { "create": "ts", "timeseries": { "timeField": "t", "metaField": "m" }, "expireAfterSeconds": 1_000_000_000_i64 },
        doc! { "createIndexes": "moods", "indexes": [
            { "key": { "mood": 1, "when": -1 }, "name": "mood_when" },
            { "key": { "when": 1 }, "name": "ttl", "expireAfterSeconds": 2_000_000_000_i64 },
            { "key": { "_id": "hashed" }, "name": "hashed" },
        ] },
    ] {
        database.run_command(command).await.unwrap();
    }
    side.collection("capped")
        .insert_many((0..20).map(|at| doc! { "_id": 20 - at }))
        .await
        .unwrap();
    side.collection("german")
        .insert_many(["ä", "a", "z"].map(|id| doc! { "_id": id, "x": 1 }))
        .await
        .unwrap();
    let now = DateTime::now();
    side.collection("ts")
        .insert_many((0..30).map(|at| doc! { "t": now, "m": at % 3, "v": at }))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_copied_and_followed() {
    let stage = Stage::new().await;
    fill(&stage.a).await;
    let planned = stage.run(&copy(&stage, &["--dry-run"])).await.good();
    assert_eq!(
        planned["collections"].as_array().unwrap().len(),
        7,
        "{planned}"
    );
    assert_eq!(stage.b.names().await, Vec::<String>::new());
    stage.run(&copy(&stage, &[])).await.good();
    let equal = stage.compare().await.good();
    assert_eq!(equal["equal"], true);

    let following = stage.spawn(&copy(&stage, &["--follow"]));
    let (moods, mixed) = (stage.a.collection("moods"), stage.a.collection("mixed"));
    moods
        .update_many(
            doc! { "_id": { "$lt": 100 } },
            doc! { "$set": { "mood": "calm" } },
        )
        .await
        .unwrap();
    moods
        .delete_many(doc! { "_id": { "$gte": 2900 } })
        .await
        .unwrap();
    moods
        .insert_many((5000..5100).map(|at| doc! { "_id": at }))
        .await
        .unwrap();
    mixed
        .delete_one(doc! { "_id": { "$eq": null } })
        .await
        .unwrap();
    mixed
        .replace_one(
            doc! { "_id": { "$eq": f64::NAN } },
            doc! { "replaced": true },
        )
        .await
        .unwrap();
    stage
        .a
        .collection("new")
        .insert_one(doc! { "_id": 1 })
        .await
        .unwrap();
    stage.until_equal().await;
    let followed = terminated(following).await.good();
    assert!(
        followed["followed"]["changes"].as_u64() >= Some(300),
        "{followed}"
    );
    // Stopped and started again: nothing is lost.
    moods
        .insert_one(doc! { "_id": "while it was stopped" })
        .await
        .unwrap();
    let again = stage
        .run(&copy(&stage, &["--follow", "--until-caught-up"]))
        .await
        .good();
    assert_eq!(again["followed"]["lagSeconds"], 0, "{again}");
    stage.compare().await.ends_with(0);
    stage
        .a
        .database()
        .run_command(doc! { "create": "other" })
        .await
        .unwrap();
    let rename =
        doc! { "renameCollection": format!("{DATABASE}.new"), "to": format!("{DATABASE}.newer") };
    stage
        .a
        .client
        .database("admin")
        .run_command(rename)
        .await
        .unwrap();
    let refused = stage
        .run(&copy(&stage, &["--follow", "--until-caught-up"]))
        .await;
    assert!(
        refused
            .ends_with(EXIT_REFUSED)
            .stdout
            .contains("rename new"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_never_touches_what_it_did_not_write() {
    let stage = Stage::new().await;
    stage
        .a
        .collection("moods")
        .insert_one(doc! { "_id": 1 })
        .await
        .unwrap();
    stage
        .b
        .collection("moods")
        .insert_one(doc! { "_id": "theirs" })
        .await
        .unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let refused = stage.run(&copy(&stage, more)).await;
        assert!(
            refused
                .ends_with(EXIT_REFUSED)
                .stdout
                .contains("moods exists in aesthetic"),
            "{refused:?}"
        );
    }
    let documents: Vec<Document> = {
        use futures_util::TryStreamExt;
        stage
            .b
            .collection("moods")
            .find(doc! {})
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap()
    };
    assert_eq!(documents, [doc! { "_id": "theirs" }]);
}

/// A state of an earlier copy does not count for what is gone, and a copy of another source is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_into_a_dropped_database_begins_again() {
    let stage = Stage::new().await;
    stage
        .a
        .collection("moods")
        .insert_many((0..10).map(|at| doc! { "_id": at }))
        .await
        .unwrap();
    stage.run(&copy(&stage, &[])).await.good();
    stage.b.database().drop().await.unwrap();
    stage.run(&copy(&stage, &[])).await.good();
    assert_eq!(stage.b.count("moods").await, 10);
    stage.b.collection("moods").drop().await.unwrap();
    stage
        .b
        .collection("moods")
        .insert_one(doc! { "_id": "theirs" })
        .await
        .unwrap();
    stage.run(&copy(&stage, &[])).await.ends_with(EXIT_REFUSED);
    stage.b.database().drop().await.unwrap();
    stage.run(&copy(&stage, &[])).await.good();
    let other = stage
        .run(&[
            "copy",
            &stage.a.file,
            &stage.b.file,
            "--source-database",
            "other",
        ])
        .await;
    assert!(
        other
            .ends_with(EXIT_REFUSED)
            .stdout
            .contains("another source"),
        "{other:?}"
    );
    let skipped = stage.run(&copy(&stage, &["--skip", "moods"])).await;
    assert!(
        skipped
            .ends_with(EXIT_REFUSED)
            .stdout
            .contains("another selection"),
        "{skipped:?}"
    );
}

/// A key that moves from one document to another while they are copied, and names of fields that only a pipeline can write.
#[tokio::test(flavor = "multi_thread")]
async fn unique_indexes_and_odd_documents_are_followed() {
    let stage = Stage::new().await;
    let handles = stage.a.collection("@handles");
    let index = doc! { "createIndexes": "@handles", "indexes": [{ "key": { "handle": 1 }, "name": "handle", "unique": true }] };
    stage.a.database().run_command(index).await.unwrap();
    handles
        .insert_many((0..20).map(|at| doc! { "_id": at, "handle": format!("h{at}") }))
        .await
        .unwrap();
    let following = stage.spawn(&copy(&stage, &["--follow"]));
    for round in 0..20 {
        handles
            .update_one(
                doc! { "_id": 1 },
                doc! { "$set": { "handle": format!("free{round}") } },
            )
            .await
            .unwrap();
        handles
            .update_one(doc! { "_id": 9 }, doc! { "$set": { "handle": "h1" } })
            .await
            .unwrap();
        handles
            .update_one(doc! { "_id": 9 }, doc! { "$set": { "handle": "h9" } })
            .await
            .unwrap();
        handles
            .update_one(doc! { "_id": 1 }, doc! { "$set": { "handle": "h1" } })
            .await
            .unwrap();
    }
    let odd = doc! { "_id": 3, "": null, "a.b": 1, "$x": 2, "never": silo_mongo::mongodb::bson::Timestamp { time: 0, increment: 0 } };
    let pipeline = vec![doc! { "$replaceWith": { "$literal": odd } }];
    stage
        .a
        .collection("odd")
        .update_one(doc! { "_id": 3 }, pipeline)
        .upsert(true)
        .await
        .unwrap();
    stage.until_equal().await;
    let followed = terminated(following).await.good();
    assert_eq!(followed["followed"]["uniqueIndexes"], true, "{followed}");
}

/// A copy that was stopped between creating a collection and recording its UUID goes on; a collection with documents is never taken for that one.
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_was_just_created_is_of_the_copy() {
    let stage = Stage::new().await;
    stage
        .a
        .collection("moods")
        .insert_one(doc! { "_id": 1 })
        .await
        .unwrap();
    let view = doc! { "create": "glad", "viewOn": "moods", "pipeline": [] };
    stage.a.database().run_command(view.clone()).await.unwrap();
    for (theirs, code) in [(false, 0), (true, EXIT_REFUSED)] {
        stage.b.database().drop().await.unwrap();
        let states = stage
            .b
            .client
            .database("silo")
            .collection::<Document>("copies");
        states.delete_many(doc! {}).await.unwrap();
        for name in ["moods", "glad"] {
            let id = format!("{DATABASE}.{name}");
            let state = doc! { "_id": id, "phase": "copying", "last": null, "hasLast": false, "uuid": null };
            states.insert_one(state).await.unwrap();
        }
        stage.b.database().create_collection("moods").await.unwrap();
        stage.b.database().run_command(view.clone()).await.unwrap();
        if theirs {
            stage
                .b
                .collection("moods")
                .insert_one(doc! { "_id": "theirs" })
                .await
                .unwrap();
        }
        stage.run(&copy(&stage, &[])).await.ends_with(code);
        let compared = stage.compare().await;
        assert_eq!(compared.code == Some(0), !theirs, "{compared:?}");
    }
}
