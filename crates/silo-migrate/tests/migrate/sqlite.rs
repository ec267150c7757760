//! `silo-migrate export-sqlite`.

use jiff::Timestamp;
use rusqlite::Connection;
use silo_cli::exit::EXIT_DIFFERENT;
use silo_mongo::mongodb::bson::doc;
use silo_testkit::demo::Demo;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_in_the_file_and_brought_up_to_date() {
    let stage = Stage::new().await;
    Demo::new(1, 0.02, Timestamp::now())
        .load(&stage.a.database(), |_, _, _| {})
        .await
        .unwrap();
    let file = stage.path("ac.sqlite");
    let export = async || {
        stage
            .run(&["export-sqlite", &file, "--from-file", &stage.a.file])
            .await
    };
    let exported = export().await.value();
    let tables = exported["tables"].as_array().unwrap();
    for table in tables {
        let name = table["collection"].as_str().unwrap();
        assert_eq!(table["documents"], stage.a.count(name).await, "{table}");
        let rows = table["rows"].as_u64().unwrap() + table["rejected"].as_u64().unwrap();
        assert_eq!(table["documents"], rows, "{table}");
    }
    // A handle's paintings, as anyone can find them.
    let sqlite = Connection::open(&file).unwrap();
    let query = "SELECT h.handle, count(*) FROM handles h JOIN paintings p ON p.user_id = h.user_id GROUP BY h.user_id ORDER BY 2 DESC LIMIT 1";
    let (handle, paintings): (String, i64) = sqlite
        .query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let owner = stage
        .a
        .collection("@handles")
        .find_one(doc! { "handle": &handle })
        .await
        .unwrap()
        .unwrap();
    let user = owner.get_str("_id").unwrap();
    let count = stage
        .a
        .collection("paintings")
        .count_documents(doc! { "user": user })
        .await
        .unwrap();
    assert_eq!(u64::try_from(paintings).unwrap(), count);

    stage
        .a
        .collection("moods")
        .delete_many(doc! {})
        .await
        .unwrap();
    stage
        .a
        .collection("moods")
        .insert_one(doc! { "_id": 7, "mood": "calm", "odd": { "nested": true } })
        .await
        .unwrap();
    stage
        .a
        .collection("paintings")
        .insert_one(doc! { "_id": "no slug" })
        .await
        .unwrap();
    let again = export().await.ends_with(EXIT_DIFFERENT).value();
    let paintings = again["tables"]
        .as_array()
        .unwrap()
        .iter()
        .find(|table| table["table"] == "paintings")
        .unwrap();
    let rejections = paintings["rejections"].to_string();
    assert!(
        rejections.contains("no slug: NOT NULL constraint failed: paintings.slug"),
        "{rejections}"
    );
    let mood: (String, String) = sqlite
        .query_row("SELECT id, data FROM moods", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(mood, ("7".into(), r#"{"odd":{"nested":true}}"#.into()));
    let kept: i64 = sqlite
        .query_row(
            "SELECT count(*) FROM documents WHERE collection = 'paintings' AND id = 'no slug'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(kept, 1);
}
