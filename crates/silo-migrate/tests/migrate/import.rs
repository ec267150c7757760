//! `silo-migrate import`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use silo_cli::exit::{EXIT_CORRUPT, EXIT_DIFFERENT, EXIT_REFUSED, EXIT_USAGE};
use silo_mongo::mongodb::bson::{Bson, Document, doc, oid::ObjectId};
use silo_testkit::demo::Demo;
use silo_testkit::say;
use silo_testkit::tools::stock_tool;
use tokio::process::Command;

use silo_testkit::node::Form;

use crate::stage::{DATABASE, Stage, lines};

fn moods(count: i32) -> String {
    lines((0..count).map(|at| doc! { "_id": at, "mood": format!("mood {at}"), "when": silo_mongo::mongodb::bson::DateTime::from_millis(at.into()) }))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_comes_back_equal_from_canonical_and_relaxed_json() {
    let stage = Stage::new().await;
    Demo::new(1, 0.02, Timestamp::now())
        .load(&stage.a.database(), |_, _, _| {})
        .await
        .unwrap();
    for (name, form, dialect) in [
        ("canonical", Form::Canonical, "canonical"),
        ("relaxed", Form::Relaxed, "relaxed"),
    ] {
        let folder = stage.export(name, form).await;
        let checked = stage.import(&folder, &["--dry-run"]).await.good();
        assert_eq!(
            stage.b.names().await,
            Vec::<String>::new(),
            "a dry run writes nothing: {checked}"
        );
        let imported = stage.import(&folder, &[]).await.good();
        for file in imported["files"].as_array().unwrap() {
            let any = file["documents"] == 0
                || file["collection"] == "secrets"
                || file["collection"] == "verifications";
            assert!(
                any || file["dialect"] == dialect || file["dialect"] == "relaxed",
                "{file}"
            );
        }
        let compared = stage.compare().await;
        if form == Form::Canonical {
            assert_eq!(compared.good()["equal"], true);
        } else {
            // Numbers of relaxed JSON have lost their type, and nothing else has.
            let compared = compared.value();
            let collections = compared["collections"].as_array().unwrap();
            let classes = collections
                .iter()
                .flat_map(|collection| collection["differences"].as_array().unwrap());
            let others: Vec<&Value> = classes
                .filter(|difference| difference["class"] != "type_only")
                .collect();
            assert!(others.is_empty(), "{others:?}");
        }
        stage.b.database().drop().await.unwrap();
        stage.b.client.database("silo").drop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_comes_back_from_json_stringify_with_acs_types() {
    let stage = Stage::new().await;
    Demo::new(1, 0.02, Timestamp::now())
        .load(&stage.a.database(), |_, _, _| {})
        .await
        .unwrap();
    let folder = stage.export("plain", Form::Plain).await;
    stage.import(&folder, &[]).await.good();
    let compared = stage.compare().await.value();
    for collection in compared["collections"].as_array().unwrap() {
        for difference in collection["differences"].as_array().unwrap() {
            assert_eq!(
                difference["class"], "type_only",
                "{}: {difference}",
                collection["name"]
            );
        }
        assert_eq!(
            collection["structure"].as_array().unwrap().len(),
            0,
            "{collection}"
        );
    }
    let find = async |name: &str| {
        stage
            .b
            .collection(name)
            .find_one(doc! {})
            .await
            .unwrap()
            .unwrap()
    };
    let mood = find("moods").await;
    assert!(
        mood.get_object_id("_id").is_ok() && mood.get_datetime("when").is_ok(),
        "{mood}"
    );
    assert!(find("users").await.get_str("_id").is_ok());
}

/// A document with every BSON type, as MongoDB's own programs write it.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_back_from_what_the_npm_driver_and_mongoexport_write() {
    let stage = Stage::new().await;
    let text: Value = serde_json::from_str(include_str!("../every_type.json")).unwrap();
    let document = Bson::try_from(text).unwrap();
    let mut document = document.as_document().unwrap().clone();
    stage.a.insert("things", [document.clone()]).await;
    let canonical = stage.export("late", Form::Canonical).await;
    // JavaScript has no dates after the year 275760.
    let refused = stage.import(&canonical, &[]).await;
    let refused = refused.ends_with(EXIT_CORRUPT);
    assert!(refused.stdout.contains("line 2, column"), "{refused:?}");
    document.remove("late");
    stage.a.collection("things").drop().await.unwrap();
    stage.a.insert("things", [document]).await;
    let changed = async || {
        let (a, b) = (stage.a.one("things").await, stage.b.one("things").await);
        // NaN is not equal to itself.
        let text = |value: Option<&Bson>| value.cloned().map(Bson::into_canonical_extjson);
        let differ = a
            .iter()
            .filter(|(name, value)| text(b.get(name)) != text(Some(value)));
        let names: Vec<String> = differ.map(|(name, _)| name.clone()).collect();
        stage.b.collection("things").drop().await.unwrap();
        names.join(" ")
    };
    let lossy = |imported: &Value| -> Vec<String> {
        let lossy = imported["files"][0]["lossy"].as_array().unwrap();
        let field = |line: &Value| line.as_str().unwrap().split(':').next().unwrap().to_owned();
        lossy.iter().map(field).collect()
    };
    // The driver itself replaces `undefined` by `null`, and a DBPointer by a DBRef.
    let folder = stage.export("canonical", Form::Canonical).await;
    let imported = stage.import(&folder, &[]).await.good();
    assert_eq!(lossy(&imported), Vec::<String>::new());
    assert_eq!(changed().await, "undefined pointer");
    let folder = stage.export("relaxed", Form::Relaxed).await;
    let imported = stage.import(&folder, &[]).await.good();
    let listed = lossy(&imported);
    let lost = ["whole", "minus", "long"];
    assert!(
        lost.iter().all(|name| listed.contains(&(*name).to_owned())),
        "{listed:?}"
    );
    assert_eq!(changed().await, "whole minus undefined pointer long");

    for form in ["canonical", "relaxed"] {
        let Some(mongoexport) = stock_tool("mongoexport") else {
            say::skipped("documents written by mongoexport", "it is not installed");
            break;
        };
        let folder = stage.folder.path().join(format!("mongoexport-{form}"));
        fs::create_dir(&folder).unwrap();
        let exported = Command::new(mongoexport)
            .arg(format!("--host={}", stage.a.mongo.address()))
            .args(["--db", DATABASE, "--collection", "things"])
            .args(["--jsonFormat", form, "--out"])
            .arg(folder.join("things.json"))
            .output();
        let exported = exported.await.unwrap();
        assert!(exported.status.success(), "{exported:?}");
        let folder = folder.display().to_string();
        stage.import(&folder, &["--no-manifest"]).await.good();
        assert_eq!(changed().await, "", "{form}");
    }

    let plain = stage.export("plain", Form::Plain).await;
    let refused = stage.import(&plain, &[]).await;
    let refused = refused.ends_with(EXIT_REFUSED);
    for field in ["date: 1 texts", "early: 1 texts", "long: 1 documents"] {
        assert!(refused.stdout.contains(field), "{refused:?}");
    }
    let proposed = stage.import(&plain, &["--infer"]).await.good();
    let proposed = proposed["types"].as_str().unwrap().to_owned();
    let types = format!("{proposed}binary = \"binary\"\nuuid = \"uuid\"\nwhole = \"double\"\n");
    let file = stage.path("types.toml");
    fs::write(&file, types).unwrap();
    let imported = stage.import(&plain, &["--types", &file]).await.good();
    let listed = lossy(&imported);
    let lost = ["minus", "nan", "inf", "regex", "min", "max"];
    assert!(
        lost.iter().all(|name| listed.contains(&(*name).to_owned())),
        "{listed:?}"
    );
    // What JSON.stringify has left out, or written as any other text or document.
    let silent = ["user", "undefined", "pointer", "code", "symbol", "scoped"];
    let lost: BTreeSet<&str> = lost.into_iter().chain(silent).collect();
    let changed = changed().await;
    assert_eq!(changed.split(' ').collect::<BTreeSet<_>>(), lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_refused_with_its_place_before_anything_is_written() {
    let stage = Stage::new().await;
    let good = moods(3);
    for (name, damaged, problem) in [
        (
            "cut",
            "{\"_id\":1}\n{\"_id\":",
            "b.json: line 2, column 1: the file ends in the middle",
        ),
        (
            "twice",
            "{\"_id\":1}\n{\"_id\":2,\"a\":1,\"a\":2}",
            "b.json: line 2, column 21: the field \"a\" occurs twice",
        ),
        (
            "bom",
            "\u{feff}{\"_id\":1}",
            "b.json: line 1, column 1: the file begins with a UTF-8 byte-order mark",
        ),
        (
            "nan",
            "{\"_id\":1}\r\n{\"_id\":2,\"d\":NaN}",
            "b.json: line 2, column 14: expected value",
        ),
    ] {
        let folder = stage.backup(name, &[("a", 3, &good), ("b", 2, damaged)]);
        let refused = stage.import(&folder, &[]).await;
        let error = refused.ends_with(EXIT_CORRUPT).value()["error"]["detail"].to_string();
        assert!(error.replace("\\\"", "\"").contains(problem), "{error}");
    }
    let folder = stage.backup("counts", &[("a", 3, &good), ("b", 4, &good)]);
    let refused = stage.import(&folder, &[]).await;
    assert!(
        refused
            .ends_with(EXIT_DIFFERENT)
            .stdout
            .contains("b.json has 3 documents, and by the manifest 4"),
        "{refused:?}"
    );
    assert_eq!(stage.b.names().await, Vec::<String>::new());
    let twice = format!("{good}{good}");
    let folder = stage.backup("ids", &[("a", 6, &twice)]);
    let refused = stage.import(&folder, &[]).await;
    assert!(
        refused.ends_with(1).stdout.contains("duplicate_key"),
        "{refused:?}"
    );
    assert_eq!(
        stage.b.names().await,
        ["a.importing"],
        "nothing incomplete has the collection's name"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn types_that_json_lost_are_declared_before_anything_is_written() {
    let stage = Stage::new().await;
    let text = "{\"_id\":\"65f0c0ffee65f0c0ffee65f0\",\"by\":\"65f0c0ffee65f0c0ffee65f1\",\"seen\":\"2026-02-10T12:00:00.000Z\"}";
    let folder = stage.backup("plain", &[("things", 1, text)]);
    let refused = stage.import(&folder, &[]).await;
    let error = refused.ends_with(EXIT_REFUSED).value()["error"]["detail"].to_string();
    assert!(
        error.contains("things.json: seen: 1 texts with a date"),
        "{error}"
    );
    assert_eq!(stage.b.names().await, Vec::<String>::new());
    let proposed = stage.import(&folder, &["--infer"]).await.good();
    let types = stage.path("types.toml");
    fs::write(&types, proposed["types"].as_str().unwrap()).unwrap();
    stage.import(&folder, &["--types", &types]).await.good();
    let thing = stage
        .b
        .collection("things")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();
    let id = ObjectId::parse_str("65f0c0ffee65f0c0ffee65f0").unwrap();
    assert_eq!(
        (
            thing.get_object_id("_id").unwrap(),
            thing.get_datetime("seen").unwrap().timestamp_millis()
        ),
        (id, 1_770_724_800_000)
    );
    fs::write(&types, "[things]\n_id = \"oid\"\n").unwrap();
    let wrong = stage.import(&folder, &["--types", &types]).await;
    assert!(
        wrong.ends_with(EXIT_CORRUPT).stdout.contains("line 2"),
        "{wrong:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_never_touches_what_it_did_not_write() {
    let stage = Stage::new().await;
    let folder = stage.backup(
        "backup",
        &[("moods", 5, &moods(5)), ("users", 2, &moods(2))],
    );
    for (theirs, problem) in [
        ("users", "users exists in aesthetic"),
        ("users.importing", "users.importing exists"),
    ] {
        stage.b.insert(theirs, [doc! { "_id": "theirs" }]).await;
        let refused = stage.import(&folder, &[]).await;
        let refused = refused.ends_with(EXIT_REFUSED);
        assert!(refused.stdout.contains(problem), "{refused:?}");
        assert_eq!(stage.b.count(theirs).await, 1);
        stage.b.collection(theirs).drop().await.unwrap();
    }
    assert_eq!(stage.b.count("moods").await, 5);
    let imported = stage.import(&folder, &[]).await.good();
    assert_eq!(
        imported["completeBefore"],
        serde_json::json!(["moods"]),
        "{imported}"
    );
    let long = "x".repeat(240);
    let long = stage.backup("long", &[(&long, 1, "{\"_id\":1}\n")]);
    let refused = stage.import(&long, &[]).await;
    let refused = refused.ends_with(EXIT_REFUSED);
    assert!(refused.stdout.contains("too long a name"), "{refused:?}");
    // A changed file is not the one that was imported.
    fs::write(
        Path::new(&folder).join("users.json"),
        moods(2).replace("mood 1", "mood X"),
    )
    .unwrap();
    stage.import(&folder, &[]).await.ends_with(EXIT_REFUSED);
    let shown = stage
        .run(&[
            "import",
            &folder,
            "--to-file",
            "mongodb://user:secret@host/db",
        ])
        .await;
    assert!(
        shown
            .ends_with(EXIT_REFUSED)
            .stdout
            .contains("visible to every user"),
        "{shown:?}"
    );
    assert!(!shown.stdout.contains("secret@") && !shown.stderr.contains("secret@"));
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_can_be_left_out_and_archived() {
    let stage = Stage::new().await;
    let (boots, moods) = (moods(4), moods(2));
    let folder = stage.backup(
        "backup",
        &[
            ("boots", 4, &boots),
            ("moods", 2, &moods),
            ("logs", 2, &moods),
        ],
    );
    let archive = stage.path("archive");
    let skipped = ["--skip", "disposable", "--archive-skipped", &archive];
    let imported = stage.import(&folder, &skipped).await.good();
    assert_eq!(imported["skipped"], serde_json::json!(["boots", "logs"]));
    assert_eq!(stage.b.names().await, ["moods"]);
    assert_eq!(
        fs::read_to_string(Path::new(&archive).join("boots.json")).unwrap(),
        boots
    );
    stage
        .import(&folder, &["--skip", "boot"])
        .await
        .ends_with(EXIT_USAGE);
    stage.import(&folder, &["--only", "logs"]).await.good();
    assert_eq!(stage.b.names().await, ["logs", "moods"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_and_indexes_are_imported() {
    let stage = Stage::new().await;
    let folder = stage.folder.path().join("gzip");
    fs::create_dir_all(&folder).unwrap();
    let mut file = flate2::write::GzEncoder::new(
        fs::File::create(folder.join("moods.ndjson.gz")).unwrap(),
        flate2::Compression::fast(),
    );
    file.write_all(moods(50).as_bytes()).unwrap();
    file.finish().unwrap();
    let manifest = r#"{"collections":[{"name":"moods","count":50,"indexes":[{"v":2,"key":{"_id":1},"name":"_id_"},{"v":2,"key":{"mood":1},"name":"mood_1","unique":true},{"v":2,"key":{"when":1},"name":"ttl","expireAfterSeconds":3000000000}]}]}"#;
    fs::write(folder.join("_manifest.json"), manifest).unwrap();
    let path = folder.display().to_string();
    let refused = stage.import(&path, &[]).await;
    assert!(
        refused
            .ends_with(EXIT_CORRUPT)
            .stdout
            .contains("not a number of seconds"),
        "{refused:?}"
    );
    fs::write(
        folder.join("_manifest.json"),
        manifest.replace("3000000000", "2000000000"),
    )
    .unwrap();
    stage.import(&path, &[]).await.good();
    let indexes: Vec<Document> = silo_mongo::collections::indexes(&stage.b.database(), "moods")
        .await
        .unwrap();
    assert_eq!(indexes.len(), 3, "{indexes:?}");
    // Cut in the middle of the compressed data.
    let bytes = fs::read(folder.join("moods.ndjson.gz")).unwrap();
    fs::write(folder.join("moods.ndjson.gz"), &bytes[..bytes.len() / 2]).unwrap();
    let refused = stage.import(&path, &[]).await;
    assert!(
        refused.ends_with(EXIT_CORRUPT).stdout.contains("damaged"),
        "{refused:?}"
    );
}
