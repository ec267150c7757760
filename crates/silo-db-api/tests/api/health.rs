//! `/api/db/health` and the reported privileges of the account.

use std::sync::Mutex;
use std::time::Duration;

use mongodb::bson::doc;
use serde_json::json;
use silo_testkit::mongo::{MongoServer, Setup};
use silo_testkit::wait::wait_for;

use crate::service::{DATABASE, Reply, start};

#[tokio::test]
async fn a_reader_s_server_is_up_and_its_figures_are_there() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let service = start(&server.reader_uri()).await;
    let rates = |reply: &Reply| {
        reply.status == 200 && !reply.json()["data"]["perSecond"]["command"].is_null()
    };
    let answer = service
        .until(Duration::from_secs(10), "/api/db/health", rates)
        .await
        .json();
    let data = &answer["data"];
    assert_eq!(data["status"], "up", "{answer}");
    assert_eq!(data["account"], "readOnly");
    assert_eq!(data["replicaSet"]["state"], "primary");
    assert_eq!(data["version"], "6.0.5");
    let warning = data["versionWarnings"][0].as_str().unwrap();
    assert!(warning.contains("no security updates"), "{warning}");
    assert!(service.log().contains(warning), "{}", service.log());
    assert!(data["residentBytes"].as_u64().unwrap() > 50_000_000);
    assert!(data["oplogWindowSeconds"].as_u64().unwrap() < 120);
    assert!(data["cache"]["maxBytes"].as_u64().unwrap() > 0);
    assert!(data["connections"]["current"].as_u64().unwrap() >= 1);
    assert!(data["uptimeSeconds"].as_u64().unwrap() < 120);
    assert_eq!(answer["meta"]["ttlMs"], 2000);
    let log = service.log();
    assert!(log.contains("cannot write"), "{log}");
}

#[tokio::test]
async fn an_account_that_can_write_is_warned_of_loudly() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let service = start(&server.uri()).await;
    let reported = |reply: &Reply| reply.json()["data"]["account"] == "canWrite";
    service
        .until(Duration::from_secs(5), "/api/db/health", reported)
        .await;
    assert!(
        service.log().contains("THE ACCOUNT CAN WRITE"),
        "{}",
        service.log()
    );
}

#[tokio::test]
async fn a_server_without_sign_in_is_warned_of_loudly() {
    let server = MongoServer::start().await.unwrap();
    let service = start(&server.uri()).await;
    let reported = |reply: &Reply| reply.json()["data"]["account"] == "unauthenticated";
    service
        .until(Duration::from_secs(5), "/api/db/health", reported)
        .await;
    assert!(service.log().contains(" WARN "), "{}", service.log());
}

#[tokio::test]
async fn a_wrong_password_has_its_own_code_and_is_not_printed() {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let uri = server.reader_uri().replace("reader-password", "hunter2");
    let service = start(&uri).await;
    let down = |reply: &Reply| reply.status == 503;
    let answer = service
        .until(Duration::from_secs(5), "/api/db/health", down)
        .await;
    assert_eq!(
        answer.json()["meta"]["errors"][0]["code"],
        json!("authentication_failed"),
        "{answer:#?}"
    );
    assert!(!service.log().contains("hunter2"), "{}", service.log());
}

/// The service keeps connections open, so it still hears from a server that has none left: that is when it must not look healthy.
#[tokio::test]
async fn a_server_without_connections_left_is_degraded() {
    let setup = Setup::default().accounts(DATABASE);
    let setup = setup.arguments(&["--maxConns", "30"]);
    let server = setup.start().await.unwrap();
    let service = start(&server.reader_uri()).await;
    let within = Duration::from_secs(15);
    let up = |reply: &Reply| reply.json_or_null()["data"]["status"] == "up";
    service.until(within, "/api/db/health", up).await;
    let admin = server.client().await.unwrap().database("admin");
    let taken = Mutex::new(Vec::new());
    // Connections count from when mongod accepts them; it closes those beyond the limit.
    let take_all = || async {
        wait_for(within / 3, || async {
            let stream = tokio::net::TcpStream::connect(server.address()).await;
            taken.lock().unwrap().push(stream.unwrap());
            let status = admin.run_command(doc! { "serverStatus": 1 }).await.ok()?;
            let connections = status.get_document("connections").ok()?;
            // Negative while it refuses some.
            (connections.get_i32("available").ok()? <= 0).then_some(())
        })
        .await
    };
    // A client whose pool meets the limit gives connections back; they are taken again. A client that has lost its connections, this test's or the
    // service's, needs some to come back.
    let crowded = wait_for(3 * within, || async {
        let few = taken.lock().unwrap().len().saturating_sub(4);
        taken.lock().unwrap().truncate(few);
        take_all().await?;
        let looked = wait_for(Duration::from_secs(4), || async {
            let reply = service.get("/api/db/health").await.json_or_null();
            let available = reply["data"]["connections"]["available"].as_u64();
            available
                .is_some_and(|available| available <= 1)
                .then_some(reply)
        });
        looked.await
    });
    let reply = crowded.await.unwrap();
    assert_eq!(reply["data"]["status"], "degraded", "{reply}");
    let note = reply["data"]["notes"][0].as_str().unwrap();
    assert!(note.contains("more are possible"), "{note}");
    drop(taken);
    service.until(within, "/api/db/health", up).await;
}
