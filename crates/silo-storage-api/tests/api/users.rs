//! `/api/storage/user/{id}` and `/api/storage/top-users`, compared with the uploaded objects.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use silo_testkit::demo::Demo;
use silo_testkit::proxy::{Fault, Proxy};

use crate::stage::{Stage, stage, sum, until_scanned};

/// Bytes by owner, the most first.
fn ranking(stage: &Stage) -> Vec<(String, u64)> {
    let mut bytes = BTreeMap::<String, u64>::new();
    for object in &stage.objects {
        if let Some(sub) = &object.owner {
            *bytes.entry(sub.clone()).or_default() += object.bytes as u64;
        }
    }
    let mut ranking: Vec<_> = bytes.into_iter().collect();
    ranking.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    ranking
}

fn handle(demo: &Demo, sub: &str) -> Option<String> {
    let plan = Demo::plans().find(|plan| plan.name == "@handles").unwrap();
    let mut handles = demo.documents(plan);
    let found = handles.find(|handle| handle.get_str("_id").is_ok_and(|id| id == sub))?;
    Some(found.get_str("handle").unwrap().to_owned())
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn the_first_users_are_those_with_the_most_bytes() {
    let stage = stage().await;
    let service = stage.scanned().await;
    let ranking = ranking(&stage);
    let top = service.data("/api/storage/top-users?limit=10").await;
    let users = top["users"].as_array().unwrap();
    assert_eq!(
        (users.len(), top["of"].as_u64()),
        (10, Some(ranking.len() as u64))
    );
    for (at, user) in users.iter().enumerate() {
        let (sub, bytes) = &ranking[at];
        assert_eq!(
            (&user["rank"], &user["sub"], &user["bytes"]),
            (&json!(at + 1), &json!(sub), &json!(bytes))
        );
        assert_eq!(
            user["handle"],
            json!(handle(&stage.users.demo, sub)),
            "{sub}"
        );
    }
    assert!(users.iter().any(|user| user["handle"].is_string()));
    let later = service
        .data("/api/storage/top-users?limit=3&offset=7")
        .await;
    assert_eq!(later["users"].as_array().unwrap()[..], users[7..]);
    let past = service.data("/api/storage/top-users?offset=100000").await;
    assert_eq!(past["users"], json!([]));
}

#[tokio::test]
async fn a_user_is_found_by_sub_handle_and_code() {
    let stage = stage().await;
    let service = stage.scanned().await;
    let with_handle =
        |(sub, _): &(String, u64)| Some((sub.clone(), handle(&stage.users.demo, sub)?));
    let (sub, name) = ranking(&stage).iter().find_map(with_handle).unwrap();
    let own = || {
        stage
            .objects
            .iter()
            .filter(|object| object.owner.as_ref() == Some(&sub))
    };
    let (objects, bytes) = sum(own());
    let by_sub = service
        .data(&format!("/api/storage/user/{}", encode(&sub)))
        .await;
    assert_eq!(
        (&by_sub["objects"], &by_sub["bytes"]),
        (&json!(objects), &json!(bytes)),
        "{by_sub}"
    );
    assert_eq!(
        (&by_sub["handle"], &by_sub["known"]),
        (&json!(name), &json!(true))
    );
    for (bucket, put) in by_sub["buckets"].as_array().unwrap().iter().map(|row| {
        (
            row,
            sum(own().filter(|object| row["bucket"] == object.bucket)),
        )
    }) {
        assert_eq!(
            (bucket["objects"].as_u64(), bucket["bytes"].as_u64()),
            (Some(put.0), Some(put.1))
        );
    }
    let mut sizes: Vec<_> = own().map(|object| object.bytes).collect();
    sizes.sort_unstable_by_key(|bytes| std::cmp::Reverse(*bytes));
    sizes.truncate(5);
    let largest: Vec<_> = by_sub["largest"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["bytes"].clone())
        .collect();
    assert_eq!(json!(largest), json!(sizes));
    let code = by_sub["code"].as_str().unwrap();
    for id in [
        format!("@{name}"),
        format!("%40{}", name.to_uppercase()),
        code.to_owned(),
        sub.replace('|', "%7c"),
    ] {
        assert_eq!(
            service.data(&format!("/api/storage/user/{id}")).await,
            by_sub,
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_user_without_objects_has_zeros_and_an_unknown_one_is_404() {
    let stage = stage().await;
    let service = stage.scanned().await;
    let mut owners: Vec<_> = ranking(&stage).into_iter().map(|(sub, _)| sub).collect();
    // The guest account has no owner.
    owners.push("art-guest".into());
    let plan = Demo::plans().find(|plan| plan.name == "users").unwrap();
    let mut users = stage.users.demo.documents(plan);
    let without = users
        .find(|user| {
            !owners
                .iter()
                .any(|sub| user.get_str("_id").is_ok_and(|id| id == sub))
        })
        .unwrap();
    let path = format!(
        "/api/storage/user/{}",
        encode(without.get_str("_id").unwrap())
    );
    let empty = service.data(&path).await;
    assert_eq!(
        (
            &empty["known"],
            &empty["objects"],
            &empty["bytes"],
            &empty["rank"]
        ),
        (&json!(true), &json!(0), &json!(0), &Value::Null)
    );
    for nobody in ["@no-one-has-this", "auth0%7Cnobody", "ac99zzz"] {
        let reply = service.get(&format!("/api/storage/user/{nobody}")).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["code"]),
            (404, &json!("unknown_user")),
            "{nobody}"
        );
    }
}

#[tokio::test]
async fn objects_of_a_deleted_user_are_shown_with_an_unknown_user() {
    let stage = stage().await;
    let gone = silo_testkit::demo::DemoObject {
        bucket: "user-aesthetic-computer",
        key: "auth0|deleted/painting/1.png".into(),
        bytes: 77,
        owner: None,
    };
    crate::stage::put(&crate::stage::spaces(&stage.s3, &stage.s3.url()), &[gone]).await;
    let service = stage.scanned().await;
    let found = service.data("/api/storage/user/auth0%7Cdeleted").await;
    assert_eq!(
        (&found["known"], &found["bytes"]),
        (&json!(false), &json!(77))
    );
}

#[tokio::test]
async fn without_silo_db_api_subs_are_shown_and_the_answer_is_partial() {
    let stage = stage().await;
    stage.users.stop().await;
    let service = stage.scanned().await;
    let top = service.get("/api/storage/top-users").await.ok();
    assert_eq!(top["meta"]["state"], "partial");
    assert!(
        top["data"]["users"]
            .as_array()
            .unwrap()
            .iter()
            .all(|user| user["sub"].is_string() && user["handle"].is_null())
    );
    let sources: Vec<_> = top["meta"]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["source"].clone())
        .collect();
    assert!(sources.contains(&json!("silo-db-api")), "{sources:?}");

    // Without owners of tapes, sums still add up to the total.
    let usage = service.get("/api/storage/usage").await.ok();
    assert_eq!(usage["meta"]["state"], "partial");
    assert_eq!(
        usage["meta"]["errors"][0]["code"], "owners_unknown",
        "{}",
        usage["meta"]
    );
    let (_, bytes) = sum(stage.objects.iter());
    assert_eq!(usage["data"]["bytes"], bytes);
    let owned = stage
        .objects
        .iter()
        .filter(|object| object.owner.is_some() && object.bucket != "at-blobs-aesthetic-computer");
    let nobody = bytes - sum(owned).1;
    assert_eq!(usage["data"]["unattributed"]["bytes"], nobody);

    let sub = top["data"]["users"][0]["sub"].as_str().unwrap();
    let user = service
        .get(&format!("/api/storage/user/{}", encode(sub)))
        .await
        .ok();
    assert_eq!(
        (&user["data"]["known"], &user["data"]["bytes"]),
        (&Value::Null, &top["data"]["users"][0]["bytes"])
    );
    let unresolved = service.get("/api/storage/user/@somebody").await;
    assert_eq!(
        (unresolved.status.as_u16(), &unresolved.json()["code"]),
        (503, &json!("source_unavailable"))
    );
}

#[tokio::test]
async fn a_sibling_that_does_not_know_the_path_is_an_error_and_not_nobody() {
    let stage = stage().await;
    // Another program at silo-db-api's address.
    let answer = |_: u64, _: &str| Fault::answer("404 Not Found", "", "no such page");
    let other = Proxy::start(&stage.s3.url(), answer).await.unwrap();
    let address = other.url();
    let service = stage
        .service_at(&stage.s3.url(), &[("DB_API_URL", &address)])
        .await;
    until_scanned(&service).await;
    let top = service.get("/api/storage/top-users").await.ok();
    assert_eq!(top["meta"]["state"], "partial", "{top}");
    let codes: Vec<_> = top["meta"]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["code"].as_str().unwrap())
        .collect();
    assert!(
        codes.contains(&"unknown_path") && codes.contains(&"owners_unknown"),
        "{codes:?}"
    );
    let nobody = service.get("/api/storage/user/@nobody").await;
    assert_eq!(nobody.status, 503, "{nobody:#?}");
}
