//! `/api/db/users/count`, `/api/db/users/{id}` and `/api/db/handles`, compared with the generated data.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::service::{demo_server, documents, start};

#[tokio::test]
async fn users_handles_and_verifications_are_counted() {
    let (server, demo) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let data = service.data("/api/db/users/count").await;

    let users = documents(&demo, "users");
    let handles = documents(&demo, "@handles");
    let named: BTreeSet<&str> = handles
        .iter()
        .map(|handle| handle.get_str("_id").unwrap())
        .collect();
    let users: Vec<_> = users
        .iter()
        .filter(|user| user.get_str("_id").unwrap() != "art-guest")
        .collect();
    assert_eq!(data["users"], users.len() as u64);
    assert_eq!(data["handles"], handles.len() as u64);
    let sotce = named.iter().filter(|sub| sub.starts_with("sotce-")).count();
    assert_eq!(data["sotceHandles"], sotce as u64);
    let without = users
        .iter()
        .filter(|user| !named.contains(user.get_str("_id").unwrap()))
        .count();
    assert_eq!(data["withoutHandle"], without as u64);
    let verified = documents(&demo, "verifications")
        .iter()
        .filter(|row| row.get_i32("count").unwrap() > 0)
        .count();
    assert_eq!(data["verified"], verified as u64);

    let now = Timestamp::now().as_millisecond();
    for (field, days) in [("lastDay", 1), ("last7Days", 7), ("last30Days", 30)] {
        let since = now - days * 86_400_000;
        let new = users
            .iter()
            .filter(|user| user.get_datetime("when").unwrap().timestamp_millis() >= since)
            .count();
        assert_eq!(data["new"][field], new as u64, "{field}");
    }
    assert!(
        data["new"]["last30Days"].as_u64().unwrap() > 0,
        "the demo data must have new users for this to mean anything"
    );
}

#[tokio::test]
async fn sub_handle_and_code_name_the_same_person() {
    let (server, demo) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let handle = &documents(&demo, "@handles")[3];
    let (sub, name) = (
        handle.get_str("_id").unwrap(),
        handle.get_str("handle").unwrap(),
    );
    let users = documents(&demo, "users");
    let user = users
        .iter()
        .find(|user| user.get_str("_id").unwrap() == sub)
        .unwrap();
    let code = user.get_str("code").unwrap();
    let wanted = json!({ "sub": sub, "handle": name, "code": code });
    let encoded = sub.replace('|', "%7C");
    for id in [
        encoded,
        format!("@{name}"),
        format!("@{}", name.to_uppercase()),
        format!("%40{name}"),
        code.to_owned(),
    ] {
        assert_eq!(
            service.data(&format!("/api/db/users/{id}")).await,
            wanted,
            "{id}"
        );
    }
    for nobody in ["@no-one-has-this", "auth0%7Cnobody", name] {
        let reply = service.get(&format!("/api/db/users/{nobody}")).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["code"]),
            (404, &json!("unknown_user")),
            "{nobody}"
        );
    }
}

#[tokio::test]
async fn handles_of_many_subs_at_once() {
    let (server, demo) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let handles = documents(&demo, "@handles");
    let subs: Vec<_> = handles
        .iter()
        .take(20)
        .map(|handle| handle.get_str("_id").unwrap())
        .collect();
    let path = format!("/api/db/handles?ids={},nobody", subs.join(","));
    let found = service.data(&path.replace('|', "%7C")).await["handles"].clone();
    assert_eq!(found.as_object().unwrap().len(), 21);
    assert_eq!(found["nobody"], Value::Null);
    for handle in handles.iter().take(20) {
        assert_eq!(
            found[handle.get_str("_id").unwrap()],
            handle.get_str("handle").unwrap()
        );
    }
}
