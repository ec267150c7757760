//! `silo-migrate compare`.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use silo_cli::exit::EXIT_DIFFERENT;
use silo_mongo::mongodb::IndexModel;
use silo_mongo::mongodb::bson::oid::ObjectId;
use silo_mongo::mongodb::bson::spec::BinarySubtype;
use silo_mongo::mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, RawArrayBuf, RawDocumentBuf, Timestamp, cstr, doc,
};

use crate::stage::Stage;

/// `_id`s of all types that a server takes (B11).
pub(crate) fn ids() -> Vec<Bson> {
    let binary = |subtype, bytes| Bson::Binary(Binary { subtype, bytes });
    vec![
        Bson::MinKey,
        Bson::Null,
        Bson::Double(f64::NAN),
        Bson::Double(f64::NEG_INFINITY),
        Bson::Int32(1),
        Bson::Double(1.5),
        Bson::Int64(9_007_199_254_740_993),
        Bson::Decimal128("1.10".parse::<Decimal128>().unwrap()),
        Bson::String(String::new()),
        Bson::String("a".into()),
        Bson::Document(doc! {}),
        Bson::Document(doc! { "a": 1, "b": 2 }),
        Bson::Document(doc! { "b": 2, "a": 1 }),
        binary(BinarySubtype::Generic, vec![]),
        binary(BinarySubtype::Uuid, vec![7; 16]),
        Bson::ObjectId(ObjectId::from_bytes([7; 12])),
        Bson::Boolean(false),
        Bson::Boolean(true),
        Bson::DateTime(DateTime::from_millis(-1)),
        Bson::Timestamp(Timestamp {
            time: 1,
            increment: 1,
        }),
        Bson::MaxKey,
    ]
}

fn differences(compared: &Value, name: &str) -> Vec<(String, String)> {
    let collections = compared["collections"].as_array().unwrap();
    let collection = collections
        .iter()
        .find(|collection| collection["name"] == name)
        .unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let differences = collection["differences"].as_array().unwrap();
    differences
        .iter()
        .map(|difference| (text(&difference["id"]), text(&difference["class"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_seeded_differences_are_all_found_and_none_in_fifty_copies() {
    const DOCUMENTS: i32 = 4000;
    let stage = Stage::new().await;
    let mut random = SmallRng::seed_from_u64(20_261_126);
    let document = |at: i32| doc! { "_id": at, "x": at, "y": "text", "z": { "p": 1, "q": 2.5 }, "list": [at, "b"] };
    let all: Vec<Document> = (0..DOCUMENTS).map(document).collect();
    for copy in 0..50 {
        let name = format!("copy{copy:02}");
        let part: Vec<&Document> = all.iter().skip(copy * 40).take(40).collect();
        stage
            .a
            .collection(&name)
            .insert_many(part.clone())
            .await
            .unwrap();
        stage
            .b
            .collection(&name)
            .insert_many(part.into_iter().rev())
            .await
            .unwrap();
    }
    let equal = stage.compare().await.good();
    assert_eq!(
        (&equal["equal"], &equal["sourceChanged"]),
        (&true.into(), &false.into()),
        "{equal}"
    );
    assert_eq!(equal["collections"].as_array().unwrap().len(), 50);

    let (mut target, mut expected) = (Vec::new(), BTreeMap::new());
    for document in &all {
        let id = document.get_i32("_id").unwrap();
        if id % 4 != 0 {
            target.push(document.clone());
            continue;
        }
        let mut changed = document.clone();
        let mut key = format!(r#"{{"$numberInt":"{id}"}}"#);
        let class = match random.random_range(0..5) {
            0 => {
                expected.insert(key, "missing");
                continue;
            }
            1 => {
                // In addition to the one that is there.
                target.push(document.clone());
                changed.insert("_id", DOCUMENTS + id);
                key = format!(r#"{{"$numberInt":"{}"}}"#, DOCUMENTS + id);
                "extra"
            }
            2 => {
                changed.insert("y", "other");
                "content"
            }
            3 => {
                changed.insert("x", i64::from(id));
                "type_only"
            }
            _ => {
                changed.insert("z", doc! { "q": 2.5, "p": 1 });
                "field_order_only"
            }
        };
        expected.insert(key, class);
        target.push(changed);
    }
    assert_eq!(expected.len(), 1000);
    stage
        .a
        .collection("seeded")
        .insert_many(&all)
        .await
        .unwrap();
    stage
        .b
        .collection("seeded")
        .insert_many(&target)
        .await
        .unwrap();
    let compared = stage.compare().await;
    let compared = compared.ends_with(EXIT_DIFFERENT).value();
    let found: BTreeMap<String, String> = differences(&compared, "seeded").into_iter().collect();
    let found: BTreeMap<String, &str> = found
        .iter()
        .map(|(id, class)| (id.clone(), class.as_str()))
        .collect();
    assert_eq!(found, expected);
}

/// B11.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_id_is_compared() {
    let stage = Stage::new().await;
    let documents: Vec<Document> = ids()
        .into_iter()
        .map(|id| doc! { "_id": id, "x": 1 })
        .collect();
    for side in [&stage.a, &stage.b] {
        side.collection("mixed")
            .insert_many(&documents)
            .await
            .unwrap();
        assert_eq!(side.count("mixed").await, 21);
    }
    stage.compare().await.ends_with(0);
    for id in [
        Bson::Double(f64::NAN),
        Bson::Document(doc! { "b": 2, "a": 1 }),
    ] {
        let deleted = stage
            .b
            .collection("mixed")
            .delete_one(doc! { "_id": { "$eq": id } })
            .await
            .unwrap();
        assert_eq!(deleted.deleted_count, 1);
    }
    let compared = stage.compare().await.ends_with(EXIT_DIFFERENT).value();
    let mut found = differences(&compared, "mixed");
    found.sort();
    let missing = |id: &str| (id.to_owned(), "missing".to_owned());
    let nan = missing(r#"{"$numberDouble":"NaN"}"#);
    let document = missing(r#"{"b":{"$numberInt":"2"},"a":{"$numberInt":"1"}}"#);
    assert_eq!(found, [nan, document]);
}

/// B05: an `_id` that is not valid UTF-8 cannot be looked up, and a document that is missing is one nevertheless.
#[tokio::test(flavor = "multi_thread")]
async fn documents_with_invalid_ids_are_compared() {
    let stage = Stage::new().await;
    let invalid = b"\x10\x00\x00\x00\x02_id\x00\x02\x00\x00\x00\xe9\x00\x00".to_vec();
    let invalid = RawDocumentBuf::from_bytes(invalid).unwrap();
    for side in [&stage.a, &stage.b] {
        side.collection("odd")
            .insert_one(doc! { "_id": 1 })
            .await
            .unwrap();
    }
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("insert"), "odd");
    command.append(cstr!("documents"), RawArrayBuf::from_iter([invalid]));
    stage.a.database().run_raw_command(command).await.unwrap();
    let compared = stage.compare().await.ends_with(EXIT_DIFFERENT).value();
    assert_eq!(
        differences(&compared, "odd"),
        [("bytes 0202000000e900".to_owned(), "missing".to_owned())]
    );
    stage
        .run(&["compare", &stage.a.file, &stage.b.file, "--only", "typo"])
        .await
        .ends_with(1);
}

/// B12, B02 and what a server adds.
#[tokio::test(flavor = "multi_thread")]
async fn structure_and_odd_names_are_compared() {
    let stage = Stage::new().await;
    for name in [
        "x%2Fy",
        "x/y",
        "100%",
        "star*",
        "b\\c",
        "sp ace",
        "q?x#y",
        "naïve☕",
    ] {
        for side in [&stage.a, &stage.b] {
            side.collection(name)
                .insert_one(doc! { "_id": 1, "name": name })
                .await
                .unwrap();
        }
    }
    let index = |side: &crate::stage::Side, name: &'static str, specification: Document| {
        let database = side.database();
        async move {
            let command = doc! { "createIndexes": name, "indexes": [specification] };
            database.run_command(command).await.unwrap();
        }
    };
    index(&stage.a, "100%", doc! { "key": { "e": 1 }, "name": "e_1", "partialFilterExpression": { "e": { "$exists": true } } }).await;
    index(&stage.b, "100%", doc! { "key": { "e": 1 }, "name": "e_1" }).await;
    index(
        &stage.a,
        "x/y",
        doc! { "key": { "e": 1 }, "name": "e_1", "background": true },
    )
    .await;
    index(&stage.b, "x/y", doc! { "key": { "e": 1.0 }, "name": "e_1" }).await;
    index(
        &stage.a,
        "star*",
        doc! { "key": { "a": -0.000_000_001 }, "name": "tiny" },
    )
    .await;
    index(
        &stage.b,
        "star*",
        doc! { "key": { "a": 1 }, "name": "tiny" },
    )
    .await;
    let more = IndexModel::builder().keys(doc! { "g": "2dsphere" }).build();
    for side in [&stage.a, &stage.b] {
        side.collection("sp ace")
            .create_index(more.clone())
            .await
            .unwrap();
    }
    stage.a.database().create_collection("gone").await.unwrap();
    stage
        .b
        .database()
        .run_command(doc! { "create": "capped", "capped": true, "size": 4096 })
        .await
        .unwrap();
    stage
        .a
        .database()
        .run_command(doc! { "create": "capped" })
        .await
        .unwrap();
    let compared = stage.compare().await.ends_with(EXIT_DIFFERENT).value();
    let structure: Vec<String> = compared["collections"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|collection| collection["structure"].as_array().unwrap())
        .map(|text| text.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        structure,
        [
            "index e_1 of 100% is not what it was",
            "the options of capped are not what they were",
            "gone is missing",
            "index tiny of star* is not what it was",
        ]
    );
}
