//! `/api/db/tapes`, compared with the generated data.

use serde_json::json;

use crate::service::{demo_server, documents, start};

#[tokio::test]
async fn a_tape_s_code_leads_to_its_user() {
    let (server, demo) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let tapes = documents(&demo, "tapes");
    let codes: Vec<_> = tapes
        .iter()
        .map(|tape| tape.get_str("code").unwrap())
        .collect();
    let path = format!("/api/db/tapes?codes={},nobody-s", codes.join(","));
    let found = service.data(&path).await["tapes"].clone();
    assert_eq!(found.as_object().unwrap().len(), tapes.len() + 1);
    assert_eq!(found["nobody-s"], json!({ "known": false, "sub": null }));
    for tape in &tapes {
        let wanted = json!({ "known": true, "sub": tape.get_str("user").ok() });
        assert_eq!(found[tape.get_str("code").unwrap()], wanted);
    }
    let users = tapes
        .iter()
        .filter(|tape| tape.contains_key("user"))
        .count();
    assert!(
        (1..tapes.len()).contains(&users),
        "the demo data must have tapes of users and of guests"
    );
}
