//! States of a server, produced with real restarts, reconfigurations and fail points: what each makes of `/api/db/health`, of its notes (which the
//! dashboard shows beside the status), and of the other paths. A primary, a server without connections left and a wrong password are in `health`, a
//! server that does not answer is in `outage`.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use silo_testkit::mongo::{MongoServer, Setup};

use crate::service::{DATABASE, Reply, Service, database, start, start_with};

const WITHIN: Duration = Duration::from_secs(15);
const NAME: &str = "silo-db-api";

/// Waits for a status, and returns the whole answer.
async fn until_status(service: &Service, status: &str) -> Value {
    let reached = |reply: &Reply| reply.json_or_null()["data"]["status"] == status;
    service
        .until(WITHIN, "/api/db/health", reached)
        .await
        .json()
}

fn notes(health: &Value) -> String {
    let notes = health["data"]["notes"].as_array().unwrap();
    let notes: Vec<_> = notes.iter().map(|note| note.as_str().unwrap()).collect();
    notes.join("; ")
}

/// Codes of the errors of an answer, by source.
fn errors(answer: &Value) -> Vec<(&str, &str)> {
    let errors = answer["meta"]["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|error| {
            let (source, code) = (&error["source"], &error["code"]);
            (source.as_str().unwrap(), code.as_str().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn without_a_primary_reads_go_on_and_the_server_is_degraded() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    database(&server)
        .await
        .collection("moods")
        .insert_one(doc! { "_id": 1 })
        .await
        .unwrap();
    server.lose_majority().await.unwrap();
    let service = start(&server.reader_uri()).await;
    let health = until_status(&service, "degraded").await;
    let set = &health["data"]["replicaSet"];
    assert_eq!(
        (&set["state"], &set["hasPrimary"]),
        (&json!("secondary"), &json!(false)),
        "{health}"
    );
    let found = notes(&health);
    assert!(found.contains("rs0 has no primary"), "{found}");
    assert!(
        found.contains("member 127.0.0.1:1 does not answer"),
        "{found}"
    );
    assert_eq!(set["members"].as_array().unwrap().len(), 3, "{set}");
    let collections = service.get("/api/db/collections").await.ok();
    assert_eq!(collections["data"]["total"]["documents"], 1);
    assert_eq!(collections["meta"]["state"], "fresh", "{collections}");
}

#[tokio::test]
async fn a_recovering_member_is_shown_as_one() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    server.lose_majority().await.unwrap();
    let admin = server.client().await.unwrap().database("admin");
    admin
        .run_command(doc! { "replSetMaintenance": 1 })
        .await
        .unwrap();
    let service = start(&server.reader_uri()).await;
    let health = until_status(&service, "degraded").await;
    assert_eq!(health["data"]["replicaSet"]["state"], "recovering");
    let found = notes(&health);
    assert!(found.contains("in state recovering of rs0"), "{found}");
    let collections = service.get("/api/db/collections").await;
    assert_eq!(collections.status, 503, "{collections:#?}");
    assert!(collections.text.contains("recovering"), "{collections:#?}");
    assert_eq!(service.get("/readyz").await.status, 200, "mongod answers");
}

#[tokio::test]
async fn a_removed_member_is_shown_as_one() {
    let mut server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    server.move_to_another_port().await.unwrap();
    let service = start(&server.reader_uri()).await;
    let health = until_status(&service, "degraded").await;
    let set = &health["data"]["replicaSet"];
    assert_eq!(
        (&set["state"], &set["members"]),
        (&json!("removed"), &json!([])),
        "{health}"
    );
    let found = notes(&health);
    assert!(found.contains("removed from its replica set"), "{found}");
    let collections = service.get("/api/db/collections").await;
    assert_eq!(collections.status, 503, "{collections:#?}");
}

#[tokio::test]
async fn a_standalone_server_is_up_and_of_no_replica_set() {
    let server = Setup::default().standalone().start().await.unwrap();
    let service = start(&server.uri()).await;
    let health = until_status(&service, "up").await;
    assert_eq!(health["data"]["replicaSet"], Value::Null);
    assert_eq!(health["meta"]["state"], "fresh", "{health}");
}

#[tokio::test]
async fn one_slow_look_degrades_and_the_second_takes_down() {
    let setup = Setup::default().accounts(DATABASE).fail_points();
    let server = setup.start().await.unwrap();
    let service = start(&server.reader_uri()).await;
    until_status(&service, "up").await;
    // They ask for `serverStatus` too: next in a minute.
    for path in ["/api/db/collections", "/api/db/access"] {
        service
            .until(WITHIN, path, |reply| reply.status == 200)
            .await;
    }

    let slow = doc! { "blockConnection": true, "blockTimeMS": 4000, "appName": NAME };
    server
        .fail_commands(&["serverStatus"], 1, slow.clone())
        .await
        .unwrap();
    let health = until_status(&service, "degraded").await;
    assert!(notes(&health).contains("time limit"), "{health}");
    assert_eq!(errors(&health), [("server", "timed_out")]);
    assert_eq!(service.get("/readyz").await.status, 200);
    let health = until_status(&service, "up").await;
    let rates = health["data"]["recentOperationsPerSecond"].as_array();
    let gaps = rates.unwrap().iter().filter(|rate| rate.is_null());
    assert!(
        gaps.count() >= 2,
        "the first look and the slow one: {health}"
    );

    server
        .fail_commands(&["serverStatus"], 1000, slow)
        .await
        .unwrap();
    let health = until_status(&service, "down").await;
    assert_eq!(errors(&health), [("server", "timed_out")]);
    assert_eq!(service.get("/readyz").await.status, 503);
    server.stop_failing().await.unwrap();
    until_status(&service, "up").await;
}

/// An account with some of the droplet's roles.
async fn with_roles(server: &MongoServer, roles: Vec<Document>) -> Service {
    let admin = server.client().await.unwrap().database("admin");
    admin
        .run_command(doc! { "createUser": "some", "pwd": "some-password", "roles": roles })
        .await
        .unwrap();
    let uri = server
        .reader_uri()
        .replace("silo_reader:reader-password", "some:some-password");
    start(&uri).await
}

#[tokio::test]
async fn without_cluster_monitor_the_contents_are_known_and_the_server_is_not() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let moods = database(&server).await.collection::<Document>("moods");
    moods.insert_one(doc! { "_id": 1 }).await.unwrap();
    let service = with_roles(&server, vec![doc! { "role": "read", "db": DATABASE }]).await;
    let health = until_status(&service, "degraded").await;
    assert!(notes(&health).contains("clusterMonitor"), "{health}");
    let missing = errors(&health);
    for source in ["serverStatus", "replSetGetStatus"] {
        assert!(missing.contains(&(source, "not_authorized")), "{missing:?}");
    }
    assert_eq!(health["data"]["account"], "readOnly");
    assert_eq!(health["data"]["uptimeSeconds"], Value::Null);

    let collections = service.get("/api/db/collections").await.ok();
    assert_eq!(collections["data"]["total"]["documents"], 1);
    assert_eq!(collections["data"]["countsMayBeOff"], Value::Null);
    let missing = errors(&collections);
    assert!(
        missing.contains(&("collection moods", "indexes_unknown"))
            && missing.contains(&("getLog", "not_authorized")),
        "{missing:?}"
    );
    for path in ["/api/db/access", "/api/db/disk", "/api/db/operations"] {
        let reply = service.get(path).await;
        assert_eq!(reply.status, 503, "{path}: {reply:#?}");
        assert!(reply.text.contains("clusterMonitor"), "{path}: {reply:#?}");
    }
}

#[tokio::test]
async fn without_read_the_server_is_known_and_the_contents_are_not() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let monitor = doc! { "role": "clusterMonitor", "db": "admin" };
    let service = with_roles(&server, vec![monitor]).await;
    let health = until_status(&service, "up").await;
    assert_eq!(errors(&health), []);
    for path in ["/api/db/collections", "/api/db/users/count"] {
        let reply = service.get(path).await;
        assert_eq!(reply.status, 503, "{path}: {reply:#?}");
        assert!(reply.text.contains("lacks the privilege"), "{reply:#?}");
    }
}

#[tokio::test]
async fn each_missing_privilege_is_named() {
    let setup = Setup::default().accounts(DATABASE).fail_points();
    let server = setup.start().await.unwrap();
    let refused = doc! { "errorCode": 13, "appName": NAME };
    for (command, path, value) in [
        ("top", "/api/db/access", "/data/collections"),
        ("getLog", "/api/db/collections", "/data/countsMayBeOff"),
        ("replSetGetStatus", "/api/db/health", "/data/replicaSet"),
        ("connectionStatus", "/api/db/health", "/data/account"),
    ] {
        server
            .fail_commands(&[command], 1000, refused.clone())
            .await
            .unwrap();
        let service = start_with(&server.reader_uri(), &[("REFRESH_SECONDS", "1")]).await;
        let named = |reply: &Reply| {
            reply.status == 200 && errors(&reply.json()).contains(&(command, "not_authorized"))
        };
        let answer = service.until(WITHIN, path, named).await.json();
        assert_eq!(answer.pointer(value), Some(&Value::Null), "{answer}");
        server.stop_failing().await.unwrap();
        let known = |reply: &Reply| {
            let answer = reply.json_or_null();
            reply.state() == "fresh" && !answer.pointer(value).unwrap().is_null()
        };
        service.until(WITHIN, path, known).await;
    }
}

#[tokio::test]
async fn counts_may_be_off_after_a_crash_and_not_after_a_clean_restart() {
    let mut server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let quick = [("REFRESH_SECONDS", "1")];
    let service = start_with(&server.reader_uri(), &quick).await;
    let flag = |wanted: bool| {
        move |reply: &Reply| reply.json_or_null()["data"]["countsMayBeOff"] == wanted
    };
    let path = "/api/db/collections";
    service.until(WITHIN, path, flag(false)).await;
    server.process().unwrap().kill().await.unwrap();
    server.start_again().await.unwrap();
    service.until(WITHIN, path, flag(true)).await;
    server.stop().await.unwrap();
    server.start_again().await.unwrap();
    service.until(WITHIN, path, flag(false)).await;
}
