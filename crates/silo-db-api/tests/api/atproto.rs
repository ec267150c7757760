//! `/api/db/atproto`, compared with the generated data.

use mongodb::bson::{DateTime, Document, doc};

use crate::service::{database, demo_server, documents, start};

/// News imported from Bluesky have a record key of another repository (`external.source`, as AC's importer writes it).
fn excluded(document: &Document) -> bool {
    let marked = |field| document.get_bool(field).unwrap_or(false);
    let external = document.get_document("external");
    marked("nuked")
        || marked("deleted")
        || external.is_ok_and(|external| external.get_str("source").ok() == Some("bsky"))
}

fn has_key(document: &Document) -> bool {
    document
        .get_document("atproto")
        .is_ok_and(|atproto| atproto.contains_key("rkey"))
}

#[tokio::test]
async fn documents_with_and_without_a_record_key_are_counted() {
    let (server, demo) = demo_server().await;
    // News that AC's importer took in, of which only a record key in its own repository would count.
    let taken_in = |code: &str, atproto: Document| {
        let external = doc! { "source": "bsky", "did": "did:plc:somebody" };
        doc! { "code": code, "when": DateTime::now(), "user": null, "external": external, "atproto": atproto }
    };
    let more = [
        taken_in("bsky-1", doc! { "rkey": "theirs" }),
        taken_in("bsky-2", doc! {}),
    ];
    let news = database(&server).await.collection::<Document>("news-posts");
    news.insert_many(&more).await.unwrap();
    let service = start(&server.reader_uri()).await;
    let data = service.data("/api/db/atproto").await;
    let rows = data["collections"].as_array().unwrap();
    assert_eq!(rows.len(), 6, "{data}");
    let news = rows.iter().find(|row| row["name"] == "news-posts").unwrap();
    assert!(news["excluded"].as_u64() >= Some(2), "{news}");
    for row in rows {
        let name = row["name"].as_str().unwrap();
        let mut all = documents(&demo, name);
        if name == "news-posts" {
            all.extend(more.clone());
        }
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
        let reported = row["newestUnsynced"]
            .as_str()
            .map(|time| time.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        assert_eq!(reported, newest, "{row}");
    }
}
