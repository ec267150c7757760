//! A restore never changes existing data, and a swap can be undone.

use jiff::Timestamp;
use silo_backup::error::{EXIT_CORRUPT, EXIT_REFUSED, EXIT_USAGE};
use silo_backup::repository::manifest::sha256;
use silo_mongo::mongodb::bson::{DateTime, Document, doc};
use silo_testkit::mongo::Setup;
use silo_testkit::program::TIME_LIMIT;
use silo_testkit::wait::wait_for;
use silo_testkit::wire::Wire;

use crate::stage::{DATABASE, Stage, ended};

async fn count(stage: &Stage, database: &str, name: &str) -> u64 {
    stage
        .client
        .database(database)
        .collection::<Document>(name)
        .count_documents(doc! {})
        .await
        .unwrap()
}

/// Arguments of `swap`, with the restored database `back`.
fn swap(to: &str) -> [&str; 7] {
    [
        "swap",
        "--restored",
        "back",
        "--database",
        DATABASE,
        "--to-file",
        to,
    ]
}

/// Arguments of `unswap`.
fn unswap(to: &str) -> [&str; 5] {
    ["unswap", "--database", DATABASE, "--to-file", to]
}

/// The same, confirmed with the name of the database.
fn confirmed<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--confirm", DATABASE]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_into_existing_data_is_refused() {
    let stage = Stage::with_demo_data().await;
    stage.backup().await;
    let owner = stage.uri_file(&stage.mongo.uri());
    let other_name = stage.mongo.uri().replace("127.0.0.1", "localhost");
    let other_name = stage.uri_file(&other_name);
    stage
        .client
        .database("full")
        .collection::<Document>("x")
        .insert_one(doc! {})
        .await
        .unwrap();
    for (to, database) in [
        (&owner, DATABASE),
        (&other_name, DATABASE),
        (&owner, "full"),
        (&owner, "admin"),
        (&owner, "silo"),
        (&owner, "local"),
    ] {
        stage
            .run(&[
                "restore",
                "latest",
                "--to-file",
                to,
                "--database",
                database,
                "--quiet",
            ])
            .await
            .ends_with(EXIT_REFUSED);
    }
    stage
        .run(&[
            "restore",
            "no-such",
            "--to-file",
            &owner,
            "--database",
            "new",
        ])
        .await
        .ends_with(EXIT_USAGE);
    stage
        .run(&["restore", "latest"])
        .await
        .ends_with(EXIT_USAGE);
    assert_eq!(count(&stage, DATABASE, "moods").await, 1200);
    assert_eq!(count(&stage, "full", "x").await, 1);
    let looked = stage
        .json(&[
            "restore",
            "latest",
            "--to-file",
            &owner,
            "--database",
            "new",
            "--dry-run",
        ])
        .await;
    assert_eq!(looked["durationMs"], serde_json::Value::Null);
    let names = stage.client.list_database_names().await.unwrap();
    assert!(!names.contains(&"new".to_owned()), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_of_an_archive_that_is_not_whole() {
    let stage = Stage::with_demo_data().await;
    let id = stage.backup().await;
    let key = format!("backups/mongo/data/{id}.archive.gz");
    let mut bytes = stage.read(&key).await;
    let last = bytes.len() - 100;
    bytes[last] ^= 4;
    stage.write(&key, bytes).await;
    let owner = stage.uri_file(&stage.mongo.uri());
    stage
        .run(&[
            "restore",
            &id,
            "--to-file",
            &owner,
            "--database",
            "new",
            "--quiet",
        ])
        .await
        .ends_with(EXIT_CORRUPT);
    let names = stage.client.list_database_names().await.unwrap();
    assert!(!names.contains(&"new".to_owned()), "{names:?}");
    // A backup that cannot be restored is written down as such, and does not count any more.
    stage
        .run(&["drill", &id, "--quiet"])
        .await
        .ends_with(EXIT_CORRUPT);
    let status = stage.run(&["status", "--json"]).await.ends_with(1).value();
    assert_eq!(status["lastGood"], serde_json::Value::Null, "{status}");
    assert_eq!(status["lastDrill"]["good"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_replaces_the_database_and_unswap_undoes_it() {
    let stage = Stage::with_demo_data().await;
    stage.database().run_command(doc! { "create": "glad", "viewOn": "moods", "pipeline": [{ "$match": { "at": { "$lt": 10 } } }] }).await.unwrap();
    stage.backup().await;
    stage
        .database()
        .collection::<Document>("moods")
        .delete_many(doc! { "at": { "$gte": 100 } })
        .await
        .unwrap();
    let owner = stage.uri_file(&stage.mongo.uri());
    stage.restore("back").await;
    let swap = swap(&owner);
    stage.run(&swap).await.ends_with(EXIT_REFUSED);
    stage
        .run(&[&swap[..], &["--confirm", "aesthetics"]].concat())
        .await
        .ends_with(EXIT_REFUSED);
    assert_eq!(count(&stage, DATABASE, "moods").await, 100);
    let swapped = stage.json(&confirmed(&swap)).await;
    let kept = swapped["kept"].as_str().unwrap().to_owned();
    assert_eq!(count(&stage, DATABASE, "moods").await, 1200);
    assert_eq!(
        count(&stage, DATABASE, "glad").await,
        10,
        "a view goes along"
    );
    assert_eq!(count(&stage, &kept, "moods").await, 100);
    stage.json(&confirmed(&unswap(&owner))).await;
    assert_eq!(count(&stage, DATABASE, "moods").await, 100);
    assert_eq!(count(&stage, "back", "moods").await, 1200);
    stage
        .run(&confirmed(&unswap(&owner)))
        .await
        .ends_with(EXIT_REFUSED);
}

/// A service that was not stopped writes into a collection that was moved away: its documents are kept beside the old ones.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_during_a_swap_is_kept() {
    let stage = Stage::with(Setup::default().fail_points()).await;
    stage.fill("moods", 3).await;
    stage.backup().await;
    stage.restore("back").await;
    let slow = doc! { "blockConnection": true, "blockTimeMS": 1_000, "appName": "silo-backup" };
    let mongo = &stage.mongo;
    mongo
        .fail_commands(&["renameCollection"], 100, slow)
        .await
        .unwrap();
    let owner = stage.uri_file(&mongo.uri());
    let swapping = stage.spawn(&[&confirmed(&swap(&owner))[..], &["--json", "--quiet"]].concat());
    let moved_away = wait_for(TIME_LIMIT, || async {
        let names = stage.database().list_collection_names().await.ok()?;
        names.is_empty().then_some(())
    });
    moved_away.await.unwrap();
    stage.fill("moods", 1).await;
    let swapped = ended(swapping).await.good();
    let kept = swapped["kept"].as_str().unwrap();
    assert_eq!(count(&stage, DATABASE, "moods").await, 3);
    assert_eq!(count(&stage, kept, "moods").await, 3);
    assert_eq!(
        count(&stage, kept, "moods_written_during_swap_1").await,
        1,
        "{swapped}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_swap_can_be_resumed_and_undone() {
    const POINTS: u64 = 12;
    let stage = Stage::new().await;
    for (database, documents) in [(DATABASE, 3), ("back", 5)] {
        let database = stage.client.database(database);
        for name in ["moods", "users", "things"] {
            let with_demo_data = (0..documents).map(|number| doc! { "_id": number });
            database
                .collection::<Document>(name)
                .insert_many(with_demo_data)
                .await
                .unwrap();
        }
        let view = doc! { "create": "glad", "viewOn": "moods", "pipeline": [{ "$match": { "_id": { "$gt": 0 } } }] };
        database.run_command(view).await.unwrap();
    }
    let owner = stage.mongo.uri();
    let (before, after) = owner.split_once('@').unwrap();
    let (address, rest) = after.split_once('/').unwrap();
    let wire = Wire::start(address.parse().unwrap()).await.unwrap();
    let to = stage.uri_file(&format!("{before}@{}/{rest}", wire.address()));
    let (swap, unswap) = (confirmed(&swap(&to)), confirmed(&unswap(&to)));
    let live = async || {
        let mut counts = Vec::new();
        for name in ["moods", "users", "things", "glad"] {
            counts.push(count(&stage, DATABASE, name).await);
        }
        counts
    };
    let mut lengths = Vec::new();
    for (command, there) in [(&swap[..], [5, 5, 5, 4]), (&unswap[..], [3, 3, 3, 2])] {
        wire.restore();
        stage.run(command).await.ends_with(0);
        lengths.push(wire.bytes());
        assert_eq!(live().await, there);
    }
    // As after an interruption between creating a view in its new place and dropping the old one.
    stage.run(&swap).await.ends_with(0);
    let made = doc! { "create": "glad", "viewOn": "moods", "pipeline": [{ "$match": { "_id": { "$gt": 0 } } }] };
    stage
        .client
        .database("back")
        .run_command(made)
        .await
        .unwrap();
    stage.run(&unswap).await.ends_with(0);
    assert_eq!(live().await, [3, 3, 3, 2]);
    let mut broken = 0;
    for point in 1..=POINTS {
        for ((command, length), there) in [&swap[..], &unswap[..]]
            .iter()
            .zip(&lengths)
            .zip([[5, 5, 5, 4], [3, 3, 3, 2]])
        {
            wire.cut_at(length * point / (POINTS + 1));
            broken += usize::from(stage.run(command).await.code != Some(0));
            wire.restore();
            // An interruption after the last step leaves a completed swap, which is not repeated.
            if live().await != there {
                stage.run(command).await.ends_with(0);
            }
            assert_eq!(live().await, there, "point {point}");
            if there[0] == 3 {
                // The swap is closed too, or it is closed now.
                stage.run(command).await;
                assert_eq!(live().await, there, "point {point}");
                assert_eq!(count(&stage, "back", "moods").await, 5, "point {point}");
            }
        }
    }
    assert!(broken > 16, "{broken} of 24 were broken off");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_deleted_since_the_backup_can_be_erased() {
    let stage = Stage::new().await;
    let (gone, stays) = (
        "auth0|00000000000000000000gone",
        "auth0|0000000000000000000stays",
    );
    let put = async |name: &str, document: Document| {
        stage
            .database()
            .collection::<Document>(name)
            .insert_one(document)
            .await
            .unwrap();
    };
    for sub in [gone, stays] {
        put("users", doc! { "_id": sub, "email": "x@example.com" }).await;
        put("paintings", doc! { "user": sub, "slug": "a" }).await;
        put("moods", doc! { "user": sub, "mood": "glad" }).await;
    }
    let tombstone =
        |sub: &str, at: DateTime| doc! { "_id": sha256(sub.as_bytes()), "completedAt": at };
    put(
        "account-tombstones",
        tombstone("long ago", DateTime::from_millis(0)),
    )
    .await;
    stage.backup().await;
    stage
        .database()
        .collection::<Document>("users")
        .delete_one(doc! { "_id": gone })
        .await
        .unwrap();
    put(
        "account-tombstones",
        tombstone(
            gone,
            DateTime::from_millis(Timestamp::now().as_millisecond()),
        ),
    )
    .await;

    let owner = stage.uri_file(&stage.mongo.uri());
    let listed = stage.restore("with").await;
    assert_eq!(
        (
            &listed["erasures"]["tombstones"],
            &listed["erasures"]["applied"]
        ),
        (&1.into(), &false.into()),
        "{listed}"
    );
    assert_eq!(
        listed["erasures"]["documents"],
        serde_json::json!({ "moods": 1, "paintings": 1, "users": 1 })
    );
    assert_eq!(count(&stage, "with", "users").await, 2);
    let erased = stage
        .json(&[
            "restore",
            "latest",
            "--to-file",
            &owner,
            "--database",
            "without",
            "--apply-erasures",
        ])
        .await;
    assert_eq!(erased["erasures"]["applied"], true);
    for name in ["users", "paintings", "moods"] {
        assert_eq!(count(&stage, "without", name).await, 1, "{name}");
    }
    assert_eq!(
        count(&stage, "without", "account-tombstones").await,
        2,
        "the tombstone comes along"
    );
}

/// A database with stored JavaScript that was changed since the backup, and a collection that the backup has not: everything that was live is set
/// aside, and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_swap_moves_stored_javascript_and_keeps_extra_collections() {
    const BEFORE: &str = "function (x) { return 2 * x }";
    const AFTER: &str = "function (x) { return x + x }";
    let stage = Stage::with_demo_data().await;
    let scripts = |database: &str| {
        let database = stage.client.database(database);
        database.collection::<Document>("system.js")
    };
    let script = async |database: &str| {
        let scripts = scripts(database);
        let found = scripts.find_one(doc! { "_id": "twice" }).await.unwrap();
        found.unwrap().get_str("value").unwrap().to_owned()
    };
    let twice = |text: &str| doc! { "_id": "twice", "value": text };
    scripts(DATABASE).insert_one(twice(BEFORE)).await.unwrap();
    stage.backup().await;
    stage.fill("afterwards", 5).await;
    scripts(DATABASE)
        .replace_one(doc! { "_id": "twice" }, twice(AFTER))
        .await
        .unwrap();
    let owner = stage.uri_file(&stage.mongo.uri());
    stage.restore("back").await;
    assert_eq!(script("back").await, BEFORE);
    let swap = confirmed(&swap(&owner));
    let refused = stage.run(&swap).await;
    refused.ends_with(EXIT_REFUSED);
    assert!(refused.stderr.contains("afterwards"), "{refused:?}");
    assert_eq!(script(DATABASE).await, AFTER, "nothing was moved");
    let swapped = stage.json(&[&swap[..], &["--incomplete"]].concat()).await;
    let kept = swapped["kept"].as_str().unwrap().to_owned();
    assert_eq!(count(&stage, DATABASE, "afterwards").await, 0);
    assert_eq!(count(&stage, &kept, "afterwards").await, 5);
    assert_eq!(count(&stage, DATABASE, "moods").await, 1200);
    assert_eq!(
        (script(DATABASE).await, script(&kept).await),
        (BEFORE.into(), AFTER.into())
    );
    stage.json(&confirmed(&unswap(&owner))).await;
    assert_eq!(count(&stage, DATABASE, "afterwards").await, 5);
    assert_eq!(script(DATABASE).await, AFTER);
}

/// A collection was emptied by mistake, and others were written to since.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_collection_is_restored_and_swapped_and_the_others_stay() {
    let stage = Stage::with_demo_data().await;
    stage.backup().await;
    let moods = stage.database().collection::<Document>("moods");
    moods.delete_many(doc! {}).await.unwrap();
    stage.fill("afterwards", 5).await;
    let owner = stage.uri_file(&stage.mongo.uri());
    let restore = ["restore", "latest", "--only", "moods", "--to-file", &owner];
    let restored = stage
        .json(&[&restore[..], &["--database", "back"]].concat())
        .await;
    assert_eq!(
        (&restored["documents"], &restored["collections"]),
        (&1200.into(), &1.into()),
        "{restored}"
    );
    let swap = confirmed(&swap(&owner));
    let refused = stage.run(&swap).await;
    refused.ends_with(EXIT_REFUSED);
    assert!(refused.stderr.contains("--only"), "{refused:?}");
    let unknown = stage.run(&[&swap[..], &["--only", "mood"]].concat()).await;
    unknown.ends_with(EXIT_REFUSED);
    let one = stage
        .json(&[&swap[..], &["--only", "moods"]].concat())
        .await;
    let kept = one["kept"].as_str().unwrap().to_owned();
    let names = stage.client.database(&kept).list_collection_names().await;
    assert_eq!(names.unwrap(), ["moods"], "{one}");
    let live = async || {
        let mut counts = Vec::new();
        for name in ["moods", "users", "afterwards"] {
            counts.push(count(&stage, DATABASE, name).await);
        }
        counts
    };
    let users = count(&stage, DATABASE, "users").await;
    assert!(users > 0);
    assert_eq!(live().await, [1200, users, 5]);
    stage.json(&confirmed(&unswap(&owner))).await;
    assert_eq!(live().await, [0, users, 5]);
    assert_eq!(count(&stage, "back", "moods").await, 1200);
}
