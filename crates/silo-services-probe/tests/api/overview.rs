//! `GET /api/overview`: figures of all Silo services, gathered once for all clients.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use silo_testkit::demo::Demo;
use silo_testkit::mongo::MongoServer;
use silo_testkit::proxy::{Fault, Proxy};
use silo_testkit::wait::wait_for;

use crate::stage::{Behaviour, Role, Service, Simulator, Stage, VISIBLE_WITHIN, refusing_url};

/// silo-db-api on a real server with demo data, in this process.
async fn db_api() -> (String, MongoServer) {
    let mongo = MongoServer::start().await.unwrap();
    let database = mongo.client().await.unwrap().database("aesthetic");
    let demo = Demo::new(7, 0.02, Timestamp::now());
    demo.load(&database, |_, _, _| {}).await.unwrap();
    let settings = [("MONGODB_CONNECTION_STRING".to_owned(), mongo.uri())];
    let reader = silo_core::settings::SettingsReader::from_map(&settings.into_iter().collect());
    let settings = silo_db_api::settings::Settings::read(reader).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = silo_db_api::start(listener, &settings, &Default::default())
        .await
        .unwrap();
    let address = format!("http://{}", running.address);
    tokio::spawn(running.wait());
    (address, mongo)
}

/// silo-storage-api, with the fields that the overview reads.
fn usage() -> Behaviour {
    Behaviour::silo_service(
        &json!({"bytes": 1234, "objects": 5, "knownBytes": 1234, "scan": {"scanning": false, "objects": null}}),
    )
}

async fn storage_api() -> Simulator {
    let simulator = Simulator::start(Role::Http).await.unwrap();
    simulator.behave(usage());
    simulator
}

/// silo-backup, with the fields that the overview reads.
async fn backup_api() -> Simulator {
    let simulator = Simulator::start(Role::Http).await.unwrap();
    let good = json!({"id": "20260101T040000Z-abcdef", "key": "k", "asOf": "2026-01-01T04:00:00Z", "ageSeconds": 5, "bytes": 77, "documents": 9});
    simulator.behave(Behaviour::silo_service(
        &json!({"lastGood": good, "overdue": false, "problems": ["one", "two"], "destinations": []}),
    ));
    simulator
}

async fn service(db_api: &str, storage_api: &str, backup_api: &str) -> Service {
    Stage::new()
        .with("DB_API_URL", db_api)
        .with("STORAGE_API_URL", storage_api)
        .with("BACKUP_API_URL", backup_api)
        .service()
        .await
}

const PARTS: [&str; 7] = [
    "users",
    "collections",
    "database",
    "keeps",
    "storage",
    "backup",
    "services",
];

#[tokio::test]
async fn the_overview_matches_each_service() {
    let (db_api, _mongo) = db_api().await;
    let (storage, backup) = (storage_api().await, backup_api().await);
    let service = service(&db_api, &storage.url(), &backup.url()).await;
    let whole = |body: &Value| PARTS.iter().all(|part| body["data"][part].is_object());
    let answer = service
        .until(VISIBLE_WITHIN, "/api/overview", |reply| {
            whole(&reply.json_or_null())
        })
        .await;
    let body = answer.ok();
    assert_eq!(body["data"]["missing"], json!([]));
    let http = reqwest::Client::new();
    for (part, path, fields) in [
        (
            "users",
            "/api/db/users/count",
            &["users", "handles", "withoutHandle"][..],
        ),
        (
            "keeps",
            "/api/kidlisp/stats",
            &["kept", "pending", "failed"],
        ),
        ("database", "/api/db/health", &["status", "version"]),
    ] {
        let own: Value = http
            .get(format!("{db_api}{path}"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        for field in fields {
            assert!(!own["data"][field].is_null(), "{path} {field}");
            assert_eq!(
                body["data"][part][field], own["data"][field],
                "{part} {field}"
            );
        }
        assert!(body["data"][part]["asOf"].is_string());
    }
    let own: Value = http
        .get(format!("{db_api}/api/db/collections"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        body["data"]["collections"]["total"]["documents"],
        own["data"]["total"]["documents"]
    );
    assert_eq!(
        body["data"]["collections"]["disposable"]["shareOfDataBytes"],
        own["data"]["disposable"]["shareOfDataBytes"]
    );
    assert_eq!(
        (
            &body["data"]["storage"]["bytes"],
            &body["data"]["storage"]["asOf"]
        ),
        (&json!(1234), &json!("2026-01-01T00:00:00Z"))
    );
    let backup = &body["data"]["backup"];
    assert_eq!(
        (
            &backup["lastGood"]["documents"],
            &backup["overdue"],
            &backup["problems"]
        ),
        (&json!(9), &json!(false), &json!(2))
    );
    assert!(answer.header("etag").starts_with("W/"));
}

/// The first answer of a service that has just started, the quickest of three: a busy machine adds to each.
async fn quickest(db_api: &str, storage: &str, backup: &str) -> (Value, Duration) {
    let mut answers = Vec::new();
    for _ in 0..3 {
        let cold = service(db_api, storage, backup).await;
        let started = Instant::now();
        let reply = cold.get("/api/overview").await;
        answers.push((started.elapsed(), reply));
    }
    answers.sort_by_key(|(elapsed, _)| *elapsed);
    let well = answers.into_iter().find(|(_, reply)| reply.status == 200);
    let (elapsed, reply) = well.unwrap();
    (reply.json(), elapsed)
}

#[tokio::test]
async fn a_hanging_or_dead_service_does_not_affect_the_others() {
    let ((db_api, _mongo), backup) = (db_api().await, backup_api().await);
    let hung = Simulator::start(Role::Http).await.unwrap();
    hung.behave(Behaviour::Hang);
    for (storage, code) in [(hung.url(), "timed_out"), (refusing_url(), "unreachable")] {
        // Until silo-db-api has measured everything for the first time.
        let warm = service(&db_api, &storage, &backup.url()).await;
        let fresh = |body: &Value| {
            body["data"]["keeps"].is_object() && body["data"]["collections"].is_object()
        };
        warm.until(VISIBLE_WITHIN, "/api/overview", |reply| {
            fresh(&reply.json_or_null())
        })
        .await;
        let (body, elapsed) = quickest(&db_api, &storage, &backup.url()).await;
        assert!(elapsed < Duration::from_millis(1700), "{elapsed:?}");
        assert_eq!(body["data"]["missing"], json!(["storage"]), "{body}");
        assert_eq!(body["data"]["storage"], Value::Null);
        assert_eq!(
            (&body["meta"]["state"], &body["meta"]["errors"][0]["code"]),
            (&json!("partial"), &json!(code)),
            "{body}"
        );
        assert_eq!(
            body["meta"]["errors"][0]["source"],
            "storage, from silo-storage-api"
        );
        for part in ["users", "collections", "keeps"] {
            assert_eq!(body["data"][part]["state"], "fresh", "{part}: {body}");
        }
    }
}

#[tokio::test]
async fn the_last_answer_of_a_failed_service_is_kept_and_stale() {
    let (db_api, _mongo) = db_api().await;
    let (storage, backup) = (storage_api().await, backup_api().await);
    let service = service(&db_api, &storage.url(), &backup.url()).await;
    // Until every service has answered once: silo-db-api measures everything first.
    service
        .until(VISIBLE_WITHIN, "/api/overview", |reply| {
            let data = &reply.json_or_null()["data"];
            data["missing"] == json!([]) && data["storage"]["bytes"] == 1234
        })
        .await;
    for bad_answer in [
        Behaviour::Reset,
        Behaviour::Respond("application/json", "{\"data\": 7}".into()),
    ] {
        storage.behave(bad_answer.clone());
        let body = service
            .until(VISIBLE_WITHIN, "/api/overview", |reply| {
                reply.json_or_null()["data"]["storage"]["state"] == "stale"
            })
            .await
            .ok();
        assert_eq!(
            (
                &body["data"]["storage"]["bytes"],
                &body["data"]["storage"]["asOf"]
            ),
            (&json!(1234), &json!("2026-01-01T00:00:00Z")),
            "{bad_answer:?}"
        );
        assert_eq!(body["data"]["missing"], json!([]));
        assert_eq!(body["meta"]["state"], "partial");
        storage.behave(usage());
        service
            .until(VISIBLE_WITHIN, "/api/overview", |reply| {
                reply.json_or_null()["data"]["storage"]["state"] == "fresh"
            })
            .await;
    }
}

#[tokio::test]
async fn without_any_answer_the_overview_is_a_problem() {
    let service = service(&refusing_url(), &refusing_url(), &refusing_url()).await;
    let answer = service.get("/api/overview").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("retry-after"), "5");
    assert_eq!(answer.json()["code"], "source_unavailable");
    assert_eq!(
        service.get("/readyz").await.status,
        200,
        "the prober itself does its work"
    );
}

#[tokio::test]
async fn a_hundred_concurrent_requests_cause_one_fan_out() {
    let storage = storage_api().await;
    let proxy = Proxy::start(&storage.url(), |_, _| {
        Fault::Delay(Duration::from_millis(300))
    })
    .await
    .unwrap();
    let service = service(&refusing_url(), &proxy.url(), &refusing_url()).await;
    let asking = (0..100).map(|_| service.get("/api/overview"));
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!(answer.ok()["data"]["storage"]["bytes"], 1234);
    }
    assert_eq!(proxy.requests(), 1);
    // The next refresh happens on schedule.
    let again = wait_for(VISIBLE_WITHIN, || async {
        (proxy.requests() > 1).then_some(())
    });
    assert!(again.await.is_some());
}
