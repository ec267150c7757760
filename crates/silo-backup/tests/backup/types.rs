//! Every kind of value, collection and index comes back as it was.

use serde_json::json;
use silo_mongo::collections::{self, Collection, Kind};
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::oid::ObjectId;
use silo_mongo::mongodb::bson::spec::BinarySubtype;
use silo_mongo::mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, RawDocumentBuf, Regex,
    Timestamp, cstr, doc,
};
use silo_testkit::tools::stock_tool;

use crate::stage::Stage;

/// A value of each of BSON's types (bsonspec.org), and difficult names.
fn every_type() -> Document {
    let regex = Regex {
        pattern: cstr!("^a.b$").into(),
        options: cstr!("im").into(),
    };
    let code = JavaScriptCodeWithScope {
        code: "return x".into(),
        scope: doc! { "x": 1 },
    };
    // A deprecated type, which the driver creates only from Extended JSON.
    let pointer = json!({ "pointer": { "$dbPointer": { "$ref": "db.c", "$id": { "$oid": "00000000000000000000000a" } } } });
    let pointer = silo_backup::archive::metadata::document(&pointer)
        .unwrap()
        .remove("pointer")
        .unwrap();
    doc! {
        "_id": ObjectId::new(), "pointer": pointer,
        "double": -0.0, "nan": f64::NAN, "infinity": f64::INFINITY, "tiny": f64::MIN_POSITIVE,
        "string": "ü 🎨 \u{0} end", "document": { "a": { "b": {} } }, "array": [1, "two", [3.0, []]],
        "binary": Binary { subtype: BinarySubtype::UserDefined(0x99), bytes: vec![0, 255, 7] },
        "undefined": Bson::Undefined, "true": true, "date": DateTime::from_millis(-1), "null": Bson::Null,
        "regex": regex, "code": Bson::JavaScriptCode("1 + 1".into()), "symbol": Bson::Symbol("s".into()), "scoped": code,
        "int": i32::MIN, "timestamp": Timestamp { time: 7, increment: 9 }, "long": 9_007_199_254_740_993_i64,
        "decimal": "1.10E+10".parse::<Decimal128>().unwrap(), "min": Bson::MinKey, "max": Bson::MaxKey,
        "": "an empty name", "with.dot": 1, "$dollar": { "$inner": 2 }, "quo\"te'": 3, "naïve ключ": 4,
    }
}

async fn raw(database: &Database, name: &str) -> Vec<Vec<u8>> {
    let mut documents = Vec::new();
    collections::read_all::<silo_mongo::error::DatabaseError>(
        database,
        name,
        1_000,
        None,
        async |batch| {
            documents.extend(
                batch
                    .doc_slices()?
                    .into_iter()
                    .map(|document| document.unwrap().as_document().unwrap().as_bytes().to_vec()),
            );
            Ok(())
        },
    )
    .await
    .unwrap();
    documents.sort();
    documents
}

/// A value of each type that an `_id` may have: all but array, regular expression and undefined.
fn every_id() -> Vec<Bson> {
    let types = every_type();
    let kept = types
        .into_iter()
        .filter(|(name, _)| !["_id", "array", "regex", "undefined", ""].contains(&name.as_str()))
        .map(|(_, value)| value);
    let mut ids: Vec<Bson> = Vec::new();
    for value in kept.chain([Bson::ObjectId(ObjectId::new())]) {
        let known = |id: &Bson| id.element_type() == value.element_type();
        if !ids.iter().any(known) {
            ids.push(value);
        }
    }
    ids
}

/// A document with a field name twice, and one that is empty twice: BSON allows both, and mongod stores them.
fn duplicate_names() -> RawDocumentBuf {
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), 1);
    for value in [1, 2] {
        document.append(cstr!("twice"), value);
        document.append(cstr!(""), value);
    }
    document
}

/// Collections of every kind, with every option that changes how documents are kept or read.
async fn create_collections(database: &Database) {
    let collation = doc! { "locale": "de", "strength": 2 };
    let timeseries = doc! { "timeField": "at", "metaField": "where", "granularity": "minutes" };
    let clustered = doc! { "key": { "_id": 1 }, "unique": true, "name": "by id" };
    for create in [
        doc! { "create": "empty" },
        doc! { "create": "round", "capped": true, "size": 100_000, "max": 50 },
        doc! { "create": "collated", "collation": collation },
        doc! { "create": "validated", "validator": { "number": { "$type": "int" } } },
        doc! { "create": "clustered", "clusteredIndex": clustered },
        doc! { "create": "weather", "timeseries": timeseries },
        doc! { "create": "remembered", "changeStreamPreAndPostImages": { "enabled": true } },
        doc! { "create": "seen", "viewOn": HARD, "pipeline": [{ "$match": { "true": true } }] },
        doc! { "create": "seen again", "viewOn": "seen", "pipeline": [{ "$project": { "a": 1 } }] },
    ] {
        database.run_command(create).await.unwrap();
    }
}

async fn insert_documents(database: &Database) {
    let insert = async |name: &str, documents: Vec<Document>| {
        let collection = database.collection::<Document>(name);
        collection.insert_many(documents).await.unwrap();
    };
    insert(HARD, vec![every_type(), every_type()]).await;
    let ids = every_id();
    assert_eq!(ids.len(), 18, "{ids:?}");
    insert(
        "ids",
        ids.into_iter().map(|id| doc! { "_id": id }).collect(),
    )
    .await;
    let raw = database.collection::<RawDocumentBuf>("odd");
    raw.insert_one(duplicate_names()).await.unwrap();
    let large = |at: i32| doc! { "_id": at, "text": "x".repeat(16 * 1024 * 1024 - 1024) };
    insert("large", vec![large(1)]).await;
    insert("large", vec![large(2)]).await;
    insert("round", (0..80).map(|at| doc! { "at": at }).collect()).await;
    insert(
        "collated",
        vec![doc! { "name": "ÄRGER" }, doc! { "name": "arger" }],
    )
    .await;
    insert("validated", vec![doc! { "number": 1 }]).await;
    // Documents that came before the validator, as they do in a database that has lived.
    let bypass = doc! { "insert": "validated", "documents": [{ "number": "one" }], "bypassDocumentValidation": true };
    database.run_command(bypass).await.unwrap();
    insert("clustered", (0..10).map(|at| doc! { "_id": at }).collect()).await;
    let measured = (0..300_i64).map(|at| {
        doc! { "at": DateTime::from_millis(1_700_000_000_000 + at * 7_000), "where": at % 3, "degrees": at }
    });
    insert("weather", measured.collect()).await;
    insert("remembered", vec![doc! { "_id": 1 }]).await;
    // Far enough in the future that nothing expires during the test.
    let later = DateTime::from_millis(DateTime::now().timestamp_millis() + 86_400_000);
    let point = doc! { "type": "Point", "coordinates": [8.5, 47.4] };
    let indexed = (0..20).map(|at| {
        doc! { "code": at, "when": later, "x": at, "z": at, "a": [at, at + 1], "text": format!("words {at}"), "here": &point, "flat": [at, at], "any": { "field": at } }
    });
    insert("indexed", indexed.collect()).await;
}

/// An index of every kind.
async fn create_indexes(database: &Database) {
    let indexes: Vec<Document> = vec![
        doc! { "key": { "when": 1 }, "name": "ttl", "expireAfterSeconds": 1 },
        doc! { "key": { "code": 1 }, "name": "unique", "unique": true },
        doc! { "key": { "x": 1 }, "name": "partial", "partialFilterExpression": { "x": { "$gt": 5 } } },
        doc! { "key": { "z": -1, "a": 1 }, "name": "compound and multikey", "sparse": true },
        doc! { "key": { "text": "text" }, "name": "text", "default_language": "german", "weights": { "text": 3 } },
        doc! { "key": { "here": "2dsphere" }, "name": "sphere" },
        doc! { "key": { "flat": "2d" }, "name": "flat", "bits": 20, "min": -500.0, "max": 500.0 },
        doc! { "key": { "code": "hashed" }, "name": "hashed" },
        doc! { "key": { "any.$**": 1 }, "name": "wildcard" },
        doc! { "key": { "z": 1 }, "name": "hidden", "hidden": true },
        doc! { "key": { "text": 1 }, "name": "collated", "collation": { "locale": "fr", "strength": 1 } },
    ];
    let command = doc! { "createIndexes": "indexed", "indexes": indexes };
    database.run_command(command).await.unwrap();
    let of_weather = doc! { "key": { "where": 1, "at": 1 }, "name": "of weather" };
    let command = doc! { "createIndexes": "weather", "indexes": [of_weather] };
    database.run_command(command).await.unwrap();
}

/// A name that would be hard in a file name, a pattern or a URL.
const HARD: &str = "hard.name-\"q\"-%2F*ключ";

#[tokio::test(flavor = "multi_thread")]
async fn every_type_name_collection_and_index_comes_back_byte_for_byte() {
    let stage = Stage::new().await;
    let database = stage.database();
    create_collections(&database).await;
    insert_documents(&database).await;
    create_indexes(&database).await;

    let made = stage.json(&["run"]).await;
    assert_eq!(
        (&made["good"], &made["consistency"]),
        (&true.into(), &"snapshot".into()),
        "{made}"
    );
    stage.json(&["verify"]).await;
    stage.restore("back").await;
    assert_same(&stage, "back").await;

    let Some(mongorestore) = stock_tool("mongorestore") else {
        silo_testkit::say::skipped("the same by mongorestore", "it is not installed");
        return;
    };
    let id = made["id"].as_str().unwrap();
    let archive = stage.folder.path().join("archive.gz");
    std::fs::write(
        &archive,
        stage
            .read(&format!("backups/mongo/data/{id}.archive.gz"))
            .await,
    )
    .unwrap();
    let restored = std::process::Command::new(mongorestore)
        .arg(format!("--uri={}", stage.mongo.uri()))
        .arg(format!("--archive={}", archive.display()))
        .args([
            "--gzip",
            "--stopOnError",
            "--nsFrom=aesthetic.*",
            "--nsTo=stock.*",
        ])
        // Without it mongorestore loses the documents that the validator rejects.
        .arg("--bypassDocumentValidation")
        .output()
        .unwrap();
    let output_text = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{output_text}");
    assert_same(&stage, "stock").await;
}

/// Asserts that a database has the documents, options and indexes of the one that was backed up.
async fn assert_same(stage: &Stage, name: &str) {
    let (database, back) = (stage.database(), stage.client.database(name));
    let (was, is) = (
        collections::list(&database).await.unwrap(),
        collections::list(&back).await.unwrap(),
    );
    let names = |found: &[Collection]| -> Vec<String> {
        found
            .iter()
            .map(|collection| collection.name.clone())
            .collect()
    };
    assert_eq!(names(&was), names(&is), "{name}");
    for (was, is) in was.iter().zip(&is) {
        assert_eq!(
            (&was.name, was.kind, &was.options),
            (&is.name, is.kind, &is.options),
            "{name}"
        );
        // mongorestore makes version 2 of every index, and so do all servers since 3.4.
        let sorted = |indexes: &[Document]| {
            let mut indexes: Vec<String> = indexes.iter().map(ToString::to_string).collect();
            indexes.sort();
            indexes
        };
        assert_eq!(
            sorted(&was.indexes),
            sorted(&is.indexes),
            "{name}: {}",
            was.name
        );
        if was.kind != Kind::View {
            let data = was.data_name();
            assert!(
                raw(&back, &data).await == raw(&database, &data).await,
                "{name}: the documents of {} differ",
                was.name
            );
        }
    }
}
