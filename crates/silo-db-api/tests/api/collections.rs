//! `/api/db/collections` and `/api/db/collections/{name}`, compared with the generated data.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use silo_testkit::demo::{Demo, size};
use silo_testkit::mongo::MongoServer;

use crate::service::{DATABASE, database, demo_server, start};

/// The seed report's groups, written down here once more so that a slip in the catalogue shows.
const LOGS: [&str; 6] = [
    "boots",
    "logs",
    "bundle-telemetry",
    "oven-grabs",
    "oven-bakes",
    "oven-cache",
];
const CONTENT: [&str; 6] = ["kidlisp", "paintings", "pieces", "moods", "tapes", "clocks"];
const IDENTITY: [&str; 4] = ["users", "@handles", "verifications", "secrets"];
/// Besides the logs.
const DISPOSABLE: [&str; 5] = [
    "oven-frozen-pieces",
    "false.work-builds",
    "false.work-reports",
    "jas-tags",
    "jas-stretched-paintings",
];

fn category(name: &str) -> &'static str {
    match name {
        name if LOGS.contains(&name) => "logs",
        name if CONTENT.contains(&name) => "content",
        name if IDENTITY.contains(&name) => "identity",
        name if name.starts_with("chat-") => "chat",
        _ => "social",
    }
}

/// Documents and bytes of each collection, as generated.
pub(crate) fn generated(demo: &Demo) -> BTreeMap<&'static str, (u64, u64)> {
    Demo::plans()
        .map(|plan| {
            let bytes: usize = demo.documents(plan).map(|document| size(&document)).sum();
            (plan.name, (demo.count(plan) as u64, bytes as u64))
        })
        .collect()
}

fn sum(
    truth: &BTreeMap<&'static str, (u64, u64)>,
    belongs: impl Fn(&str) -> bool,
) -> (u64, u64, u64) {
    truth
        .iter()
        .filter(|(name, _)| belongs(name))
        .fold((0, 0, 0), |sum, (_, one)| {
            (sum.0 + 1, sum.1 + one.0, sum.2 + one.1)
        })
}

fn assert_sum(
    what: &str,
    found: &Value,
    (collections, documents, bytes): (u64, u64, u64),
    total: (u64, u64, u64),
) {
    assert_eq!(found["collections"], collections, "{what}: {found}");
    assert_eq!(found["documents"], documents, "{what}: {found}");
    assert_eq!(found["dataBytes"], bytes, "{what}: {found}");
    for (field, part, whole) in [
        ("shareOfDocuments", documents, total.1),
        ("shareOfDataBytes", bytes, total.2),
    ] {
        let share = found[field].as_f64().unwrap();
        let wanted = part as f64 / whole as f64;
        assert!(
            (share - wanted).abs() < 0.0001,
            "{what}: {field} is {share}, not {wanted}"
        );
    }
}

pub(crate) fn row<'a>(data: &'a Value, name: &str) -> &'a Value {
    data["collections"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == name)
        .unwrap_or_else(|| panic!("{name} is not listed in {data}"))
}

#[tokio::test]
async fn every_count_size_and_share_matches_the_generated_data() {
    let (server, demo) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let answer = service.get("/api/db/collections").await.ok();
    assert_eq!(answer["meta"]["state"], "fresh", "{}", answer["meta"]);
    let (data, truth) = (&answer["data"], generated(&demo));

    let listed: BTreeSet<&str> = data["collections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        listed,
        truth.keys().copied().collect(),
        "exactly the collections that were made"
    );
    for (name, (documents, bytes)) in &truth {
        let row = row(data, name);
        assert_eq!(row["documents"], *documents, "{name}");
        assert_eq!(row["dataBytes"], *bytes, "{name}");
        assert_eq!(row["averageDocumentBytes"], bytes / documents, "{name}");
        assert_eq!(row["category"], category(name), "{name}");
        assert_eq!(row["known"], true, "{name}");
        assert_eq!(
            row["disposable"],
            LOGS.contains(name) || DISPOSABLE.contains(name),
            "{name}"
        );
        assert!(row["storageBytes"].as_u64().unwrap() > 0, "{name}");
    }

    let total = sum(&truth, |_| true);
    assert_sum("total", &data["total"], total, total);
    assert_sum(
        "disposable",
        &data["disposable"],
        sum(&truth, |name| {
            LOGS.contains(&name) || DISPOSABLE.contains(&name)
        }),
        total,
    );
    let categories = data["categories"].as_array().unwrap();
    let names: Vec<_> = categories.iter().map(|found| &found["category"]).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    for found in categories {
        let name = found["category"].as_str().unwrap();
        assert_sum(
            name,
            found,
            sum(&truth, |collection| category(collection) == name),
            total,
        );
    }
}

#[tokio::test]
async fn indexes_are_those_that_were_made() {
    let (server, _) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let data = service.data("/api/db/collections").await;
    for plan in Demo::plans() {
        let indexes = row(&data, plan.name)["indexes"].as_array().unwrap();
        let mut wanted: BTreeMap<String, (Vec<String>, bool, bool)> = plan
            .indexes
            .iter()
            .map(|index| {
                let keys = index
                    .keys
                    .iter()
                    .map(|(key, direction)| format!("{key}: {direction}"))
                    .collect();
                (index.database_name(), (keys, index.unique, index.sparse))
            })
            .collect();
        wanted.insert("_id_".into(), (vec!["_id: 1".into()], true, false));
        let found: BTreeMap<String, (Vec<String>, bool, bool)> = indexes
            .iter()
            .map(|index| {
                let keys = index["keys"].as_array().unwrap();
                let keys = keys
                    .iter()
                    .map(|key| key.as_str().unwrap().to_owned())
                    .collect();
                let name = index["name"].as_str().unwrap().to_owned();
                (
                    name,
                    (
                        keys,
                        index["unique"].as_bool().unwrap(),
                        index["sparse"].as_bool().unwrap(),
                    ),
                )
            })
            .collect();
        assert_eq!(found, wanted, "{}", plan.name);
    }
}

#[tokio::test]
async fn odd_names_views_and_empty_collections() {
    const ODD: [&str; 8] = [
        "@handles",
        "false.work-builds",
        "with.two.dots",
        "quote\"inside",
        "apostrophe's",
        "a/b c",
        "grün✓",
        "percent%41",
    ];
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let db = database(&server).await;
    let mut truth = BTreeMap::new();
    for (at, name) in ODD.iter().enumerate() {
        let documents: Vec<Document> = (0..=at)
            .map(|n| doc! { "_id": n.to_string(), "text": "x".repeat(10 * n) })
            .collect();
        let bytes: usize = documents.iter().map(size).sum();
        truth.insert(*name, (at as u64 + 1, bytes as u64));
        db.collection(name).insert_many(documents).await.unwrap();
    }
    db.create_collection("empty").await.unwrap();
    db.run_command(doc! { "create": "a-view", "viewOn": "@handles", "pipeline": [] })
        .await
        .unwrap();

    let service = start(&server.reader_uri()).await;
    let data = service.data("/api/db/collections").await;
    for (name, (documents, bytes)) in &truth {
        let path = format!("/api/db/collections/{}", encode(name));
        let one = service.data(&path).await;
        for found in [row(&data, name), &one] {
            assert_eq!(
                (&found["documents"], &found["dataBytes"]),
                (&json!(documents), &json!(bytes)),
                "{name}"
            );
        }
        assert_eq!(one["sampled"], *documents, "{name}");
    }
    assert_eq!(row(&data, "with.two.dots")["category"], "other");
    assert_eq!(row(&data, "with.two.dots")["known"], false);

    let empty = row(&data, "empty");
    assert_eq!(
        (&empty["documents"], &empty["dataBytes"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(empty["averageDocumentBytes"], Value::Null);
    let looked = service.data("/api/db/collections/empty").await;
    assert_eq!(
        (&looked["sampled"], &looked["newestDocument"]),
        (&json!(0), &Value::Null)
    );

    assert_eq!(data["views"], json!(["a-view"]));
    assert_eq!(
        service.get("/api/db/collections/a-view").await.status,
        404,
        "a view stores nothing"
    );
    assert_eq!(data["total"]["collections"], ODD.len() as u64 + 1);
    assert_eq!(
        data["total"]["documents"],
        truth.values().map(|one| one.0).sum::<u64>()
    );
}

#[tokio::test]
async fn time_series_and_clustered_collections_are_counted() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let db = database(&server).await;
    db.run_command(
        doc! { "create": "weather", "timeseries": { "timeField": "at", "metaField": "place" } },
    )
    .await
    .unwrap();
    let clustered = doc! { "key": { "_id": 1 }, "unique": true };
    db.run_command(doc! { "create": "clustered", "clusteredIndex": clustered })
        .await
        .unwrap();
    let at = |n: i64| mongodb::bson::DateTime::from_millis(1_700_000_000_000 + n * 1000);
    let weather = (0..250).map(|n| doc! { "at": at(n), "place": n % 3, "degrees": n });
    db.collection("weather").insert_many(weather).await.unwrap();
    let documents = (0..40).map(|n| doc! { "_id": n });
    db.collection("clustered")
        .insert_many(documents)
        .await
        .unwrap();

    let service = start(&server.reader_uri()).await;
    let answer = service.get("/api/db/collections").await.ok();
    assert_eq!(answer["meta"]["state"], "fresh", "{answer}");
    let data = &answer["data"];
    let weather = row(data, "weather");
    assert_eq!(
        (&weather["documents"], &weather["kind"]),
        (&json!(250), &json!("timeseries"))
    );
    assert!(weather["storageBytes"].is_u64(), "{weather}");
    let clustered = row(data, "clustered");
    assert_eq!(
        (&clustered["documents"], &clustered["indexBytes"]),
        (&json!(40), &json!(0))
    );
    assert_eq!(data["total"]["documents"], 290);
    assert_eq!(data["total"]["knownDocuments"], 290);
    let details = service.data("/api/db/collections/weather").await;
    assert_eq!(details["newestDocument"], Value::Null);
    assert!(details["newestUnknown"].is_string(), "{details}");
}

#[tokio::test]
async fn an_empty_database_has_zeros_and_no_shares() {
    let server = MongoServer::start().await.unwrap();
    let service = start(&server.reader_uri()).await;
    let answer = service.get("/api/db/collections").await.ok();
    assert_eq!(answer["data"]["total"]["documents"], 0);
    assert_eq!(answer["data"]["total"]["shareOfDocuments"], Value::Null);
    assert_eq!(answer["data"]["collections"], json!([]));
}

#[tokio::test]
async fn the_list_is_sorted_and_cut_as_asked_and_its_sums_stay() {
    let (server, demo) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let truth = generated(&demo);
    let mut orders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let sorted = |key: &dyn Fn(&str) -> u64| {
        let mut names: Vec<&str> = truth.keys().copied().collect();
        names.sort_by_key(|name| (Reverse(key(name)), name.to_owned()));
        names
    };
    orders.insert("documents", sorted(&|name| truth[name].0));
    orders.insert("dataBytes", sorted(&|name| truth[name].1));
    orders.insert("name", sorted(&|_| 0));
    for (sort, order) in orders {
        let data = service
            .data(&format!("/api/db/collections?sort={sort}&limit=5"))
            .await;
        let names: Vec<_> = data["collections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, order[..5], "{sort}");
        assert_eq!(data["total"]["collections"], 38, "{sort}");
    }
}

#[tokio::test]
async fn details_have_fields_and_the_newest_document_but_no_values() {
    let (server, demo) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let moods = service.data("/api/db/collections/moods").await;
    let newest = crate::service::documents(&demo, "moods")
        .iter()
        .map(|mood| mood.get_datetime("when").unwrap().timestamp_millis())
        .max()
        .unwrap();
    let reported: jiff::Timestamp = moods["newestDocument"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        (reported.as_millisecond(), &moods["newestFrom"]),
        (newest, &json!("when"))
    );
    let fields: Vec<_> = moods["topFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    for name in ["_id", "user", "mood", "when", "atproto"] {
        assert!(fields.contains(&name), "{name} is not in {fields:?}");
    }
    assert_eq!(
        moods["sampled"],
        moods["documents"].as_u64().unwrap().min(100)
    );
}

fn encode(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
