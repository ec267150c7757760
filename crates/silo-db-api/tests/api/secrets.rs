//! Secrets and personal data are in no answer and no log line.

use silo_testkit::demo::Demo;

use crate::service::{demo_server, start_with};

/// Values and, for `secrets`, names that the demo data has where AC has secrets and personal data.
const CANARIES: [&str; 6] = [
    "demo-canary",
    "demoCanary",
    "example.invalid",
    "192.0.2.",
    "tz1Demo",
    "reader-password",
];

#[tokio::test]
async fn no_secret_address_or_wallet_is_in_any_answer_or_log() {
    let (server, _) = demo_server().await;
    for canary in &CANARIES[..5] {
        assert!(
            found_in_the_data(&server, canary).await,
            "{canary} must be in the data for this test to mean anything"
        );
    }
    let service = start_with(&server.reader_uri(), &[("RUST_LOG", "debug")]).await;
    let mut paths: Vec<String> = [
        "/api/db/health",
        "/api/db/collections",
        "/api/db/users/count",
        "/api/db/users/art-guest",
        "/api/db/handles?ids=art-guest",
        "/api/db/clients",
        "/api/db/access",
        "/api/db/atproto",
        "/api/kidlisp/stats",
        "/api/db/openapi.json",
        "/healthz",
        "/readyz",
        "/version",
        "/metrics",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.extend(
        Demo::plans().map(|plan| format!("/api/db/collections/{}", plan.name.replace('@', "%40"))),
    );
    for path in &paths {
        let reply = service.get(path).await;
        assert!(reply.text.len() > 20, "{reply:#?}");
        for canary in CANARIES {
            assert!(
                !reply.text.contains(canary),
                "{canary} is in the answer to {path}"
            );
        }
    }
    let log = service.log();
    assert!(log.contains("/api/db/collections/{name}"), "{log}");
    for canary in CANARIES {
        assert!(!log.contains(canary), "{canary} is in the log:\n{log}");
    }
}

async fn found_in_the_data(server: &silo_testkit::mongo::MongoServer, canary: &str) -> bool {
    use futures_util::TryStreamExt;
    let db = crate::service::database(server).await;
    for plan in Demo::plans() {
        let mut all = db
            .collection::<mongodb::bson::Document>(plan.name)
            .find(mongodb::bson::doc! {})
            .await
            .unwrap();
        while let Some(document) = all.try_next().await.unwrap() {
            if document.to_string().contains(canary) {
                return true;
            }
        }
    }
    false
}
