//! `/api/db/atproto`, compared with what was generated.

use mongodb::bson::Document;
use silo_testkit::mongo::Kind;

use crate::service::{demo_server, documents, start};

fn excluded(document: &Document) -> bool {
    let marked = |field| document.get_bool(field).unwrap_or(false);
    marked("nuked")
        || marked("deleted")
        || document
            .get_str("source")
            .is_ok_and(|source| source == "bluesky")
}

fn has_key(document: &Document) -> bool {
    document
        .get_document("atproto")
        .is_ok_and(|atproto| atproto.contains_key("rkey"))
}

#[tokio::test]
async fn documents_with_and_without_a_record_key_are_counted() {
    let (server, demo) = demo_server(Kind::Rust).await;
    let service = start(&server.reader_uri()).await;
    let data = service.data("/api/db/atproto").await;
    let rows = data["collections"].as_array().unwrap();
    assert_eq!(rows.len(), 6, "{data}");
    for row in rows.iter().filter(|row| row["name"] != "news-posts") {
        let name = row["name"].as_str().unwrap();
        let all = documents(&demo, name);
        let out = all.iter().filter(|document| excluded(document)).count();
        let with = all
            .iter()
            .filter(|document| !excluded(document) && has_key(document))
            .count();
        let without = all.len() - out - with;
        assert_eq!(row["documents"], all.len() as u64, "{row}");
        assert_eq!(row["excluded"], out as u64, "{row}");
        assert_eq!(row["withRkey"], with as u64, "{row}");
        assert_eq!(row["withoutRkey"], without as u64, "{row}");
        if with + without > 0 {
            let percent = 100.0 * with as f64 / (with + without) as f64;
            assert!(
                (row["percent"].as_f64().unwrap() - percent).abs() < 0.051,
                "{row}"
            );
        }
        let newest = all
            .iter()
            .filter(|document| !excluded(document) && !has_key(document))
            .map(|document| document.get_datetime("when").unwrap().timestamp_millis())
            .max();
        let told = row["newestUnsynced"]
            .as_str()
            .map(|time| time.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        assert_eq!(told, newest, "{row}");
    }
}
