//! Facts of each kind, and fields that are never read.

use serde_json::json;
use silo_testkit::certificates::Authority;
use silo_testkit::redis::{PASSWORD, Redis};

use crate::stage::{
    Behaviour, Role, Service, Simulator, Stage, VISIBLE_WITHIN, refusing_url, until_status,
};

/// silo-db-api, reduced to its answer about synced content.
fn synced() -> Behaviour {
    Behaviour::silo_service(
        &json!({"collections": [{"name": "paintings", "documents": 100, "excluded": 0, "withRkey": 80, "withoutRkey": 20, "percent": 80.0, "newestUnsynced": null}]}),
    )
}

/// silo-db-api in this process, with no database to ask.
async fn lonely_db_api() -> String {
    let uri = refusing_url().replace("http://", "mongodb://");
    let settings = [("MONGODB_CONNECTION_STRING".to_owned(), uri)];
    let reader = silo_core::settings::SettingsReader::from_map(&settings.into_iter().collect());
    let settings = silo_db_api::settings::Settings::read(reader).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = silo_db_api::start(listener, &settings, &Default::default())
        .await
        .unwrap();
    let address = format!("http://{}", running.address);
    tokio::spawn(running.wait());
    address
}

#[tokio::test]
async fn each_kind_has_its_facts_and_no_other_fields() {
    let roles = [
        ("oven", Role::Oven),
        ("session", Role::Session),
        ("atproto", Role::Atproto),
        ("lith", Role::Lith),
    ];
    let mut simulators = Vec::new();
    let mut stage = Stage::new();
    for (kind, role) in roles {
        let simulator = Simulator::start(role).await.unwrap();
        stage = stage.probe(&format!("my-{kind}"), kind, &simulator.url(), "");
        simulators.push(simulator);
    }
    let db_api = Simulator::start(Role::Http).await.unwrap();
    db_api.behave(synced());
    let service = stage.with("DB_API_URL", &db_api.url()).service().await;

    let oven = until_status(&service, "my-oven", "up").await;
    let facts = &oven["facts"];
    assert_eq!(
        (
            &facts["version"],
            &facts["queued"],
            &facts["baking"],
            &facts["uptimeSeconds"]
        ),
        (&json!("a1b2c3d"), &json!(1), &json!(1), &json!(400_000))
    );
    assert_eq!(
        (&facts["active"][0]["code"], &facts["active"][0]["status"]),
        (&json!("owl"), &json!("processing"))
    );
    assert_eq!(facts["recent"].as_array().unwrap().len(), 4);
    assert!(
        facts["recent"]
            .as_array()
            .unwrap()
            .iter()
            .all(|bake| bake["completedAt"].is_string()),
        "a number or a text: {facts}"
    );

    let session = until_status(&service, "my-session", "up").await;
    assert_eq!(
        session["facts"],
        json!({"uptimeSeconds": 93_211, "websockets": 12, "udp": 3, "visitors": 9})
    );

    let lith = until_status(&service, "my-lith", "up").await;
    assert_eq!(
        (
            &lith["facts"]["calls"],
            &lith["facts"]["failing"][0]["name"]
        ),
        (&json!(48_211), &json!("handle"))
    );

    let atproto = service
        .until(VISIBLE_WITHIN, "/api/services/my-atproto", |reply| {
            let data = &reply.json_or_null()["data"];
            data["accounts"].is_object() && data["sync"].is_object() && data["facts"].is_object()
        })
        .await
        .ok();
    assert_eq!(
        atproto["data"]["accounts"],
        json!({"total": 978, "active": 972, "asOf": atproto["data"]["accounts"]["asOf"]})
    );
    assert_eq!(atproto["data"]["facts"]["version"], "0.4.219");
    assert_eq!(
        (
            &atproto["data"]["sync"]["collections"][0]["name"],
            &atproto["data"]["sync"]["collections"][0]["percent"]
        ),
        (&json!("paintings"), &json!(80.0))
    );
    assert!(atproto["data"]["accounts"]["asOf"].is_string(), "{atproto}");
    assert_eq!(
        atproto["data"]["sync"]["asOf"], "2026-01-01T00:00:00Z",
        "when it was counted, not when it was asked for"
    );
    assert_eq!(atproto["meta"]["state"], "fresh", "{atproto}");

    let mut everything = service.log();
    for path in [
        "/api/services",
        "/api/services/my-oven",
        "/api/services/my-session",
        "/api/services/my-lith",
        "/api/services/my-atproto",
        "/metrics",
    ] {
        everything.push_str(&service.get(path).await.text);
    }
    for foreign in [
        "203.0.113",
        "Odense",
        "@jane",
        "auth0",
        "zipUrl",
        ".zip",
        "did:plc",
        "/opt/ac",
        "slug",
    ] {
        assert!(!everything.contains(foreign), "{foreign} got out");
    }
    assert_metrics(&service).await;
}

async fn assert_metrics(service: &Service) {
    let metrics = service.get("/metrics").await.text;
    assert!(
        metrics.contains("silo_probe_up{service=\"my-oven\"} 1.0"),
        "{metrics}"
    );
    assert!(
        metrics.contains("silo_probe_response_seconds{service=\"my-oven\"}"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("silo_probe_certificate_days{"),
        "none of them speaks TLS: {metrics}"
    );
}

#[tokio::test]
async fn unavailable_facts_are_null_with_a_reason() {
    let atproto = Simulator::start(Role::Http).await.unwrap();
    atproto.behave(Behaviour::Respond(
        "application/json",
        "{\"version\": \"0.4.219\"}".into(),
    ));
    let stage = Stage::new()
        .probe("pds", "atproto", &atproto.url(), "")
        .with("DB_API_URL", &refusing_url());
    let service = stage.service().await;
    let detail = service
        .until(VISIBLE_WITHIN, "/api/services/pds", |reply| {
            let body = reply.json_or_null();
            body["data"]["status"] == "up"
                && body["meta"]["errors"].as_array().is_some_and(|errors| {
                    errors
                        .iter()
                        .all(|error| error["code"] != "not_measured_yet")
                })
        })
        .await
        .ok();
    assert_eq!(
        (&detail["data"]["accounts"], &detail["data"]["sync"]),
        (&json!(null), &json!(null))
    );
    let errors = detail["meta"]["errors"].as_array().unwrap();
    let reported: Vec<_> = errors
        .iter()
        .map(|error| {
            (
                error["source"].as_str().unwrap(),
                error["code"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        reported,
        [("pds accounts", "body"), ("silo-db-api", "unreachable")]
    );
    assert_eq!(detail["meta"]["state"], "partial");

    // After a failure the last facts remain, with their time.
    let known = detail["data"]["factsAsOf"].clone();
    atproto.behave(Behaviour::Hang);
    let down = until_status(&service, "pds", "down").await;
    assert_eq!(down["facts"]["version"], "0.4.219");
    assert!(down["factsAsOf"].as_str() >= known.as_str());
    assert!(
        down["factsAsOf"].as_str() < down["checkedAt"].as_str(),
        "{down}"
    );
}

#[tokio::test]
async fn a_silo_service_without_a_source_is_degraded_and_names_it() {
    let simulator = Simulator::start(Role::Silo).await.unwrap();
    let service = Stage::new()
        .probe("db", "silo", &simulator.url(), "")
        .service()
        .await;
    let up = until_status(&service, "db", "up").await;
    assert_eq!(up["facts"], json!({"ready": true, "missing": []}));
    // A real one that has no database.
    let service = Stage::new()
        .probe("db", "silo", &lonely_db_api().await, "")
        .service()
        .await;
    let degraded = service
        .until(VISIBLE_WITHIN, "/api/services/db", |reply| {
            reply.json_or_null()["data"]["facts"].is_object()
        })
        .await
        .ok();
    assert_eq!(
        (
            &degraded["data"]["status"],
            &degraded["data"]["reasons"][0]["code"]
        ),
        (&json!("degraded"), &json!("not_ready"))
    );
    assert_eq!(
        degraded["data"]["facts"],
        json!({"ready": false, "missing": ["mongod"]})
    );
    // A gateway's 503 has no such body.
    simulator.behave(Behaviour::Fail(503));
    let service = Stage::new()
        .probe("db", "silo", &simulator.url(), "")
        .service()
        .await;
    let down = until_status(&service, "db", "down").await;
    assert_eq!(down["reasons"][0]["code"], "status");
}

#[tokio::test]
async fn conditions_in_the_settings_determine_the_status() {
    let well = Simulator::start(Role::Http).await.unwrap();
    let slow = Simulator::start(Role::Http).await.unwrap();
    slow.behave(Behaviour::Slow(std::time::Duration::from_millis(300)));
    let gone = Simulator::start(Role::Http).await.unwrap();
    gone.behave(Behaviour::Fail(410));
    let service = Stage::new()
        .probe(
            "well",
            "http",
            &well.url(),
            "expect = { json = { \"/status\" = \"ok\" }, response_ms = 2500 }",
        )
        .probe(
            "differs",
            "http",
            &well.url(),
            "expect = { json = { \"/status\" = \"fine\" } }",
        )
        .probe(
            "lacks",
            "http",
            &well.url(),
            "expect = { json = { \"/deep/er\" = 1 } }",
        )
        .probe(
            "slow",
            "http",
            &slow.url(),
            "expect = { response_ms = 200 }",
        )
        .probe("late", "http", &slow.url(), "timeout_ms = 150")
        .probe("gone", "http", &gone.url(), "expect = { status = [410] }")
        .service()
        .await;
    let code = |data: &serde_json::Value| {
        data["reasons"][0]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(code(&until_status(&service, "well", "up").await), "");
    assert_eq!(code(&until_status(&service, "gone", "up").await), "");
    assert_eq!(
        code(&until_status(&service, "slow", "degraded").await),
        "slow"
    );
    assert_eq!(
        code(&until_status(&service, "differs", "down").await),
        "body"
    );
    assert_eq!(code(&until_status(&service, "lacks", "down").await), "body");
    assert_eq!(
        code(&until_status(&service, "late", "down").await),
        "timed_out_answering"
    );
}

/// Endless bodies: a stalled or dripping one fails the check within its time limit; a growing one is not read to its end, and the status alone
/// determines that the service is up.
#[tokio::test]
async fn an_endless_body_delays_no_other_check() {
    let mut stage = Stage::new();
    let mut running = Vec::new();
    for (name, behaviour) in [
        ("endless", Behaviour::Endless),
        ("stalled", Behaviour::Stall),
        ("dripping", Behaviour::Drip),
    ] {
        let service = Simulator::start(Role::Http).await.unwrap();
        service.behave(behaviour);
        stage = stage.probe(name, "http", &service.url(), "timeout_ms = 1000");
        running.push(service);
    }
    let service = stage.service().await;
    until_status(&service, "endless", "up").await;
    for name in ["stalled", "dripping"] {
        let down = until_status(&service, name, "down").await;
        assert_eq!(down["reasons"][0]["code"], "timed_out_reading", "{down}");
    }
}

#[tokio::test]
async fn redis_is_asked_for_its_state_with_a_password_and_over_tls() {
    let authority = Authority::new().unwrap();
    let plain = Redis::start(None).await.unwrap();
    let secure = Redis::start(Some(&authority)).await.unwrap();
    let stage = Stage::new();
    let file = |name: &str, text: &str| {
        let file = stage.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let ca = stage.folder.path().join("authority.pem");
    authority.save(&ca).unwrap();
    let right = format!(
        "password_file = \"{}\"",
        file("right", &format!("{PASSWORD}\n"))
    );
    let wrong = format!("password_file = \"{}\"", file("wrong", "hunter2"));
    let stage = stage
        .probe("plain", "redis", &plain.url(), &right)
        .probe("secure", "redis", &secure.url(), &right)
        .probe("wrong", "redis", &plain.url(), &wrong)
        .probe("without", "redis", &plain.url(), "")
        .probe(
            "not-redis",
            "redis",
            &refusing_url().replace("http", "redis"),
            "",
        )
        .with("SSL_CERT_FILE", ca.to_str().unwrap());
    let service = stage.service().await;
    for name in ["plain", "secure"] {
        let facts = until_status(&service, name, "up").await["facts"].clone();
        assert!(facts["version"].is_string(), "{facts}");
        assert_eq!(facts["maxBytes"], 64 * 1024 * 1024, "{facts}");
        assert_eq!((&facts["keys"], &facts["clients"]), (&json!(0), &json!(1)));
    }
    let secure = service.data("/api/services/secure").await;
    assert!(secure["certificateDays"].as_i64() >= Some(28), "{secure}");
    for (name, reason) in [
        ("wrong", "did not accept the user and password"),
        ("without", "requires a password"),
        ("not-redis", "refused"),
    ] {
        let down = until_status(&service, name, "down").await;
        let detail = down["reasons"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{name}: {detail}");
    }
    assert!(!service.log().contains("hunter2"), "{}", service.log());
}

#[tokio::test]
async fn a_tcp_service_is_up_while_it_takes_connections() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let gone = refusing_url().replace("http", "tcp");
    let service = Stage::new()
        .probe("listens", "tcp", &url, "")
        .probe("gone", "tcp", &gone, "failures_to_down = 1")
        .service()
        .await;
    let listens = until_status(&service, "listens", "up").await;
    assert!(listens["steps"]["connect"].is_u64(), "{listens}");
    let gone = until_status(&service, "gone", "down").await;
    assert_eq!(gone["reasons"][0]["code"], "refused");
    let changes = gone["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "one failure is enough: {gone}");
}

#[tokio::test]
async fn an_expected_text_must_be_in_the_body() {
    let page = Simulator::start(Role::Http).await.unwrap();
    page.behave(Behaviour::Respond("text/html", "<h1>aesthetic</h1>".into()));
    let service = Stage::new()
        .probe(
            "there",
            "http",
            &page.url(),
            "expect = { text = \"aesthetic\" }",
        )
        .probe(
            "missing",
            "http",
            &page.url(),
            "expect = { text = \"maintenance\" }",
        )
        .service()
        .await;
    until_status(&service, "there", "up").await;
    let missing = until_status(&service, "missing", "down").await;
    assert_eq!(missing["reasons"][0]["code"], "body", "{missing}");
}
