//! Every kind of value, collection and index comes back as it was.

use serde_json::json;
use silo_mongo::mongodb::bson::oid::ObjectId;
use silo_mongo::mongodb::bson::spec::BinarySubtype;
use silo_mongo::mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, cstr,
    doc,
};
use silo_mongo::mongodb::options::{ClientOptions, IndexOptions};
use silo_mongo::mongodb::{Client, Database, IndexModel};
use silo_mongo::structure;
use silo_testkit::mongo::Kind;
use silo_testkit::s3;

use crate::stage::Stage;

/// One of each of BSON's types (bsonspec.org), and names that are hard.
fn every_type() -> Document {
    let regex = Regex {
        pattern: cstr!("^a.b$").into(),
        options: cstr!("im").into(),
    };
    let code = JavaScriptCodeWithScope {
        code: "return x".into(),
        scope: doc! { "x": 1 },
    };
    // Only old documents have one, and nobody makes one any more but in Extended JSON.
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

/// Why the server does not make an index, when it does not.
async fn index(
    database: &Database,
    name: &str,
    keys: Document,
    options: IndexOptions,
) -> Option<String> {
    let model = IndexModel::builder().keys(keys).options(options).build();
    let made = database
        .collection::<Document>(name)
        .create_index(model)
        .await;
    made.err().map(|error| error.to_string())
}

async fn raw(database: &Database, name: &str) -> Vec<Vec<u8>> {
    let mut documents = Vec::new();
    structure::read_all::<silo_mongo::fault::Fault>(database, name, None, async |batch| {
        documents.extend(
            batch
                .doc_slices()?
                .into_iter()
                .map(|document| document.unwrap().as_document().unwrap().as_bytes().to_vec()),
        );
        Ok(())
    })
    .await
    .unwrap();
    documents.sort();
    documents
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_name_collection_and_index_comes_back_byte_for_byte() {
    round_trip(Kind::Rust).await;
}

/// Neither implementation makes text or hashed indexes: how those go through an archive is tested where it is written.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_a_second_server_and_a_second_storage() {
    round_trip(Kind::Python).await;
}

async fn round_trip(kind: Kind) {
    let storage = if kind == Kind::Rust {
        s3::Kind::Memory
    } else {
        s3::Kind::Files
    };
    let stage = Stage::on(kind, storage).await;
    let database = stage.database();
    let hard = "hard.name-\"q\"-ключ";
    database
        .collection::<Document>(hard)
        .insert_many([every_type(), every_type()])
        .await
        .unwrap();
    let large = "x".repeat(16 * 1024 * 1024 - 1024);
    database
        .collection::<Document>("large")
        .insert_one(doc! { "_id": 1, "text": large })
        .await
        .unwrap();
    database.create_collection("empty").await.unwrap();
    database
        .run_command(doc! { "create": "round", "capped": true, "size": 100_000 })
        .await
        .unwrap();
    database
        .collection::<Document>("round")
        .insert_many((0..10).map(|at| doc! { "at": at }))
        .await
        .unwrap();
    database
        .run_command(
            doc! { "create": "seen", "viewOn": hard, "pipeline": [{ "$match": { "true": true } }] },
        )
        .await
        .unwrap();
    let expires = || {
        IndexOptions::builder()
            .name("ttl".to_owned())
            .expire_after(std::time::Duration::from_secs(1))
            .build()
    };
    let made = [
        (
            "ttl",
            index(&database, "expired", doc! { "when": 1 }, expires()).await,
        ),
        (
            "unique",
            index(
                &database,
                "expired",
                doc! { "code": 1 },
                IndexOptions::builder().unique(true).build(),
            )
            .await,
        ),
        (
            "partial",
            index(
                &database,
                "expired",
                doc! { "x": 1 },
                IndexOptions::builder()
                    .partial_filter_expression(doc! { "x": { "$gt": 5 } })
                    .build(),
            )
            .await,
        ),
        (
            "compound",
            index(
                &database,
                "expired",
                doc! { "z": -1, "a": 1 },
                IndexOptions::builder().sparse(true).build(),
            )
            .await,
        ),
    ];
    assert!(made.iter().all(|(_, why)| why.is_none()), "{made:?}");
    // Long expired, unless the server looks this very minute: what is not there any more is not compared.
    database
        .collection::<Document>("expired")
        .insert_many((0..20).map(|at| doc! { "code": at, "when": DateTime::now() }))
        .await
        .unwrap();

    stage.backup().await;
    stage.json(&["verify"]).await;
    let to = stage.mongo.uri();
    stage
        .json(&["restore", "latest", "--to", &to, "--database", "back"])
        .await;
    let client = Client::with_options(ClientOptions::parse(&to).await.unwrap()).unwrap();
    let back = client.database("back");
    for name in [hard, "large", "empty", "round"] {
        assert_eq!(raw(&back, name).await, raw(&database, name).await, "{name}");
    }
    let (was, is) = (
        structure::list(&database).await.unwrap(),
        structure::list(&back).await.unwrap(),
    );
    assert_eq!(was.len(), is.len());
    for (was, is) in was.iter().zip(&is) {
        assert_eq!(
            (&was.name, was.kind, &was.options),
            (&is.name, is.kind, &is.options)
        );
        let sorted = |indexes: &[Document]| {
            let mut indexes: Vec<String> = indexes.iter().map(ToString::to_string).collect();
            indexes.sort();
            indexes
        };
        assert_eq!(sorted(&was.indexes), sorted(&is.indexes), "{}", was.name);
    }
}
