//! `/api/db/collections/{name}/documents` and `/api/db/users/{id}/works`: reading documents, without what is not shown.

use std::collections::BTreeMap;

use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::{Value, json};
use silo_testkit::mongo::Setup;

use crate::service::{DATABASE, Service, database, demo_server, documents, fill, start};

async fn page(service: &Service, collection: &str, query: &str) -> Value {
    let path = format!("/api/db/collections/{collection}/documents?{query}");
    service.get(&path).await.ok()["data"].clone()
}

async fn refused(service: &Service, collection: &str, query: &str) -> (u16, String) {
    let path = format!("/api/db/collections/{collection}/documents?{query}");
    let answer = service.get(&path).await;
    let code = answer.json()["code"].as_str().unwrap().to_owned();
    (answer.status.as_u16(), code)
}

#[tokio::test]
async fn every_document_is_on_one_page_in_the_order_that_was_asked_for() {
    let (server, demo) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let moods = documents(&demo, "moods");
    for sort in ["-_id", "_id", "when", "-when"] {
        let mut ids = Vec::new();
        let mut times = Vec::new();
        loop {
            let query = format!("sort={sort}&limit=7&offset={}", ids.len());
            let page = page(&service, "moods", &query).await;
            assert_eq!(page["sort"], sort);
            let shown = page["documents"].as_array().unwrap();
            ids.extend(
                shown
                    .iter()
                    .map(|each| each["id"]["$oid"].as_str().unwrap().to_owned()),
            );
            times.extend(shown.iter().map(|each| {
                each["document"]["when"]["$date"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            }));
            if page["more"] == false {
                break;
            }
        }
        let (in_order, key) = if sort.contains("when") {
            (times.clone(), times)
        } else {
            (ids.clone(), ids.clone())
        };
        let mut sorted = in_order;
        sorted.sort();
        if sort.starts_with('-') {
            sorted.reverse();
        }
        assert_eq!(key, sorted, "{sort}");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), moods.len(), "{sort}");
    }
    let id = moods[0].get_object_id("_id").unwrap().to_hex();
    let filter = json!({ "_id": { "$oid": id } });
    let one = page(&service, "moods", &format!("limit=1&filter={filter}")).await;
    assert_eq!(one["sorts"][0], "_id");
    let fields: Vec<_> = one["documents"][0]["document"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    let wanted: Vec<_> = moods[0].keys().collect();
    assert_eq!(fields, wanted, "fields keep their order");
}

#[tokio::test]
async fn filters_find_and_nothing_private_is_shown_or_searched() {
    let (server, demo) = demo_server().await;
    let data = database(&server).await;
    let hostile = doc! { "_id": "auth0|hostile", "code": "<img src=x onerror=alert(1)>", "email": "jane@example.org", "__proto__": { "x": 1 }, "big": i64::MAX };
    data.collection("users").insert_one(hostile).await.unwrap();
    data.collection("new-thing")
        .insert_one(doc! { "sessionToken": "hunter2", "n": 1 })
        .await
        .unwrap();
    let service = start(&server.reader_uri()).await;

    let tape = documents(&demo, "tapes").remove(0);
    let code = tape.get_str("code").unwrap();
    let filter = format!("filter={{\"code\":\"{code}\"}}");
    let found = page(&service, "tapes", &filter).await;
    assert_eq!(found["documents"].as_array().unwrap().len(), 1);
    assert_eq!(
        found["documents"][0]["document"]["slug"],
        tape.get_str("slug").unwrap()
    );
    let id = tape.get_object_id("_id").map_or_else(
        |_| json!(tape.get_str("_id").unwrap()),
        |id| json!({ "$oid": id.to_hex() }),
    );
    let by_id = page(
        &service,
        "tapes",
        &format!("filter={}", json!({ "_id": id })),
    )
    .await;
    assert_eq!(by_id["documents"], found["documents"]);
    let none = page(&service, "tapes", "filter={\"code\":{\"$in\":[]}}").await;
    assert_eq!(
        (&none["documents"], &none["more"]),
        (&json!([]), &json!(false))
    );

    let user = page(&service, "users", "filter={\"_id\":\"auth0|hostile\"}").await;
    let shown = &user["documents"][0]["document"];
    assert_eq!(shown["email"], "(not shown)");
    assert_eq!(shown["code"], "<img src=x onerror=alert(1)>");
    assert_eq!(shown["__proto__"], json!({ "x": 1 }));
    assert_eq!(shown["big"], json!({ "$numberLong": i64::MAX.to_string() }));
    let all = page(&service, "users", "").await.to_string();
    assert!(
        !all.contains("@example.org") && !all.contains("stripe_id\":\"cus"),
        "{all}"
    );

    for (collection, query, status, code) in [
        ("secrets", "", 403, "hidden_collection"),
        ("new-thing", "", 403, "not_in_catalogue"),
        ("nothing", "", 404, "unknown_collection"),
        (
            "users",
            "filter={\"email\":\"jane@example.org\"}",
            422,
            "refused_filter",
        ),
        (
            "users",
            "filter={\"atproto.password\":{\"$gt\":\"a\"}}",
            422,
            "refused_filter",
        ),
        (
            "users",
            "filter={\"atproto\":{\"$gt\":\"a\"}}",
            422,
            "refused_filter",
        ),
        ("users", "filter={\"$where\":\"1\"}", 422, "refused_filter"),
        ("users", "filter=x", 422, "refused_filter"),
        ("users", "sort=email", 422, "no_such_order"),
        ("moods", "sort=mood", 422, "no_such_order"),
        ("moods", "offset=10001", 422, "out_of_range"),
        ("moods", "limit=21", 422, "out_of_range"),
        ("moods", "skip=1", 422, "out_of_range"),
    ] {
        let found = refused(&service, collection, query).await;
        assert_eq!(found, (status, code.to_owned()), "{collection}?{query}");
    }
}

#[tokio::test]
async fn a_page_is_bounded_and_so_is_its_time() {
    let setup = Setup::default().accounts(DATABASE).fail_points();
    let server = setup.start().await.unwrap();
    fill(&server).await;
    let data = database(&server).await;
    let large = |megabytes: usize| doc! { "blob": "x".repeat(megabytes << 20) };
    for megabytes in 1..=15 {
        data.collection("mimechan")
            .insert_one(large(megabytes))
            .await
            .unwrap();
    }
    data.collection("mimechan")
        .insert_one(doc! { "blob": "x".repeat(40_000) })
        .await
        .unwrap();
    let service = start(&server.reader_uri()).await;
    let all = page(&service, "mimechan", "").await;
    let shown = all["documents"].as_array().unwrap();
    assert_eq!(shown.len(), 16);
    assert!(
        shown.iter().all(|each| each["document"].is_null()),
        "none fits into a page of 20"
    );
    let bytes: Vec<_> = shown
        .iter()
        .map(|each| each["bytes"].as_u64().unwrap())
        .collect();
    assert!(bytes[1] > 15 << 20 && bytes[0] < 1 << 20, "{bytes:?}");
    assert!(shown[3]["id"]["$oid"].is_string());
    let one = page(&service, "mimechan", "limit=1").await;
    assert_eq!(
        one["documents"][0]["document"]["blob"]
            .as_str()
            .unwrap()
            .len(),
        40_000
    );

    // A query that takes too long ends, and says what to do.
    let admin = server.client().await.unwrap().database("admin");
    let fail = doc! { "configureFailPoint": "maxTimeAlwaysTimeOut", "mode": "alwaysOn" };
    admin.run_command(fail).await.unwrap();
    let slow = refused(&service, "moods", "filter={\"mood\":\"calm\"}").await;
    assert_eq!(slow, (504, "too_slow".into()));
}

#[tokio::test]
async fn a_user_s_documents_are_counted_and_the_newest_named() {
    let (server, demo) = demo_server().await;
    let data = database(&server).await;
    let handle = documents(&demo, "@handles").remove(0);
    let (sub, name) = (
        handle.get_str("_id").unwrap(),
        handle.get_str("handle").unwrap(),
    );
    let newest = doc! { "user": sub, "code": "newest", "slug": "s", "when": DateTime::from_millis(4_000_000_000_000) };
    data.collection("paintings")
        .insert_one(newest)
        .await
        .unwrap();
    let service = start(&server.reader_uri()).await;
    let works = service.data(&format!("/api/db/users/@{name}/works")).await;
    assert_eq!(works["user"]["sub"], sub);
    let counts: BTreeMap<_, _> = works["collections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["collection"].as_str().unwrap(),
                row["documents"].as_u64(),
            )
        })
        .collect();
    let owned = |collection: &str| {
        let own = |document: &&Document| document.get("user").and_then(Bson::as_str) == Some(sub);
        documents(&demo, collection).iter().filter(own).count() as u64
    };
    assert_eq!(counts["paintings"], Some(owned("paintings") + 1), "{works}");
    assert_eq!(counts["moods"], Some(owned("moods")));
    assert!(
        !counts.contains_key("users") && !counts.contains_key("secrets"),
        "{counts:?}"
    );
    let paintings = works["collections"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["collection"] == "paintings")
        .unwrap();
    assert_eq!(paintings["newest"][0]["label"], "newest");
    let nobody = service.get("/api/db/users/@nobody/works").await;
    assert_eq!(nobody.status, 404);
}
