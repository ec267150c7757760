//! The service over HTTP: how backups stand, runs that are asked for and runs that are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::ac::{Role, Simulator};
use silo_testkit::proxy::{Fault, Proxy};
use silo_testkit::service::{Reply, Service, assert_described};
use silo_testkit::wait::wait_for;

use crate::stage::{BUCKET, Stage};

/// Time limit for a run and the measurement after it.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) async fn serve(stage: &Stage) -> Service {
    Service::start("silo-backup", stage.command(&["serve"])).await
}

async fn ask(service: &Service, path: &str) -> Reply {
    service
        .send(Method::POST, path, |request| {
            request.header("X-Silo-Operator", "jane")
        })
        .await
}

pub(crate) fn data(reply: &Reply) -> Value {
    reply.json_or_null()["data"].clone()
}

/// A schedule that is not due today or tomorrow.
const YEARLY: &str = "0 0 1 1 *";

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_run_is_caught_up_drilled_and_reported() {
    let stage = Stage::with_demo_data().await;
    let service = serve(&stage).await;
    let status = service
        .until(LIMIT, "/api/backup/status", |reply| {
            data(reply)["lastDrill"]["good"] == true
        })
        .await;
    let body = data(&status);
    assert_eq!(
        (
            &body["lastGood"]["documents"],
            &body["overdue"],
            &body["lastAttempt"]["outcome"]
        ),
        (&1550.into(), &false.into(), &"good".into()),
        "{body}"
    );
    assert_eq!(status.state(), "fresh");
    assert!(
        body["nextRun"]
            .as_str()
            .is_some_and(|next| next > body["lastGood"]["asOf"].as_str().unwrap()),
        "{body}"
    );
    let upcoming = body["upcoming"].as_array().unwrap();
    assert!(
        upcoming
            .iter()
            .any(|job| job["at"] == body["nextRun"] && job["kind"] == "run"),
        "{body}"
    );
    let backups = service.data("/api/backup/backups").await;
    let took = backups["backups"][0]["durationMs"].as_u64().unwrap();
    assert!((1..600_000).contains(&took), "{backups}");
    assert_eq!(
        (
            &backups["total"],
            &backups["backups"][0]["state"],
            &backups["backups"][0]["consistency"]
        ),
        (&1.into(), &"verified".into(), &"snapshot".into())
    );
    assert!(
        backups["backups"][0]["reasons"]
            .to_string()
            .contains("younger than 48 hours")
    );
    assert_eq!(service.get("/readyz").await.status, 200);
    let metrics = service.get("/metrics").await.text;
    for name in [
        "backup_last_good_timestamp_seconds",
        "backup_overdue 0",
        "backup_last_drill_timestamp_seconds",
    ] {
        assert!(metrics.contains(name), "{name} is missing from\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_asked_for_watched_and_done_once() {
    let mut stage = Stage::with_demo_data().await;
    stage.set("BACKUP_SCHEDULE", YEARLY);
    stage.set("BACKUP_DRILL_SCHEDULE", "none");
    stage.backup().await;
    let service = serve(&stage).await;
    for (path, code) in [
        ("/api/backup/run", "no_operator"),
        ("/api/backup/drill", "no_operator"),
    ] {
        let refused = service.send(Method::POST, path, |request| request).await;
        assert_eq!(
            (refused.status.as_u16(), refused.json()["code"].as_str()),
            (403, Some(code))
        );
    }
    let elsewhere = service
        .send(Method::POST, "/api/backup/run", |request| {
            request
                .header("X-Silo-Operator", "jane")
                .header("Sec-Fetch-Site", "cross-site")
        })
        .await;
    assert_eq!(elsewhere.json()["code"], "cross_site");
    let begun = ask(&service, "/api/backup/run").await;
    assert_eq!(begun.status, 202, "{begun:#?}");
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    let twice = ask(&service, "/api/backup/run").await;
    assert_eq!(
        (twice.status.as_u16(), twice.json()["code"].as_str()),
        (409, Some("already_running")),
        "{twice:#?}"
    );
    // The stream ends when the job has ended.
    let events = service
        .get(&format!("/api/backup/jobs/{id}/events"))
        .await
        .text;
    assert!(
        events.contains("event: progress") || events.contains("event: ended"),
        "{events}"
    );
    let last = events
        .rsplit("event: ended\ndata: ")
        .next()
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let job: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {events}"));
    assert_eq!(
        (
            &job["state"],
            &job["askedBy"],
            &job["runOutcome"]["documents"]
        ),
        (&"done".into(), &"jane".into(), &1550.into()),
        "{job}"
    );
    assert_eq!(
        service.data(&format!("/api/backup/jobs/{id}")).await["state"],
        "done"
    );
    assert_eq!(service.get("/api/backup/jobs/none").await.status, 404);
    assert_eq!(service.get("/api/backup/backups?limit=0").await.status, 422);
    service
        .until(LIMIT, "/api/backup/backups", |reply| {
            data(reply)["total"] == 2
        })
        .await;
    assert_described(
        &service,
        "/api/backup/openapi.json",
        "crates/silo-backup/src/routes.rs",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_storage_the_last_good_backup_is_stale_until_it_recovers() {
    let mut stage = Stage::with_demo_data().await;
    stage.set("BACKUP_SCHEDULE", YEARLY);
    stage.set("BACKUP_DRILL_SCHEDULE", "none");
    let id = stage.backup().await;
    let service = serve(&stage).await;
    service
        .until(LIMIT, "/api/backup/status", |reply| reply.status == 200)
        .await;
    stage.s3.switch_off();
    // A failed job is reported and measured.
    ask(&service, "/api/backup/run").await;
    let stale = service
        .until(LIMIT + LIMIT, "/api/backup/status", |reply| {
            reply.state() == "stale"
        })
        .await;
    assert_eq!(data(&stale)["lastGood"]["id"], id.as_str());
    assert!(
        stale.json()["meta"]["errors"]
            .to_string()
            .contains("unreachable"),
        "{stale:#?}"
    );
    let metrics = service.get("/metrics").await.text;
    let secret = &stage.s3.account.secret;
    assert!(!metrics.contains(secret) && !service.log().contains(secret));
}

/// Without an account that may make databases no drill is scheduled; one that is asked for fails.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_drill_account_no_drill_is_scheduled() {
    let mut stage = Stage::with_demo_data().await;
    stage.environment.remove("DRILL_CONNECTION_STRING");
    let webhook = Simulator::start(Role::Http).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", webhook.url());
    let service = serve(&stage).await;
    let made = service
        .until(LIMIT, "/api/backup/status", |reply| {
            data(reply)["lastGood"]["documents"] == 1550 && data(reply)["running"].is_null()
        })
        .await;
    assert_eq!(data(&made)["drillOverdue"], Value::Null);
    // The scheduler's work after the first backup is done when the second one is made.
    run_to_its_end(&service).await;
    assert_eq!(webhook.received(), []);
    assert!(
        service.log().contains("no drills are scheduled"),
        "{}",
        service.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_without_the_right_to_make_databases_fails_once_and_downloads_nothing() {
    let mut stage = Stage::with_demo_data().await;
    stage.set("DRILL_CONNECTION_STRING", stage.mongo.reader_uri());
    let webhook = Simulator::start(Role::Http).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", webhook.url());
    let archives = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&archives);
    let proxy = Proxy::start(&stage.s3.url(), move |_, line| {
        seen.fetch_add(
            u64::from(line.starts_with("GET ") && line.contains("/data/")),
            Ordering::SeqCst,
        );
        Fault::None
    })
    .await
    .unwrap();
    stage.set("SPACES_ENDPOINT", proxy.url());
    let service = serve(&stage).await;
    wait_for(LIMIT, || async {
        (!webhook.received().is_empty()).then_some(())
    })
    .await
    .unwrap();
    let body = &webhook.received()[0].body;
    assert!(
        body.contains("not_drilled") && body.contains("the drill could not run"),
        "{body}"
    );
    // Each of these runs wakes the scheduler, which would make a drill that is due.
    for _ in 0..2 {
        run_to_its_end(&service).await;
    }
    assert_eq!(webhook.received().len(), 1, "{:?}", webhook.received());
    let (read_back, verified_again) = (3, 1);
    assert_eq!(
        archives.load(Ordering::SeqCst),
        read_back + verified_again,
        "each of three backups is read back, the scheduled run verifies one more, and no drill has read one"
    );
}

/// Asks for a backup, and waits until it has ended and nothing else runs.
pub(crate) async fn run_to_its_end(service: &Service) {
    let begun = wait_for(LIMIT, || async {
        let begun = ask(service, "/api/backup/run").await;
        (begun.status == 202).then(|| begun.json()["id"].as_str().unwrap().to_owned())
    });
    let path = format!("/api/backup/jobs/{}", begun.await.unwrap());
    service
        .until(LIMIT, &path, |reply| data(reply)["state"] == "done")
        .await;
    service
        .until(LIMIT, "/api/backup/status", |reply| {
            data(reply)["running"].is_null()
        })
        .await;
}

/// SIGTERM during a multipart upload: the upload is aborted, nothing is published, the lease is released.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_middle_of_an_upload_leaves_nothing() {
    let mut stage = Stage::with_demo_data().await;
    stage.fill_incompressible(20).await;
    // The answer to the third part is delayed until the service was asked to stop.
    let (sent, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let proxy = Proxy::start(&stage.s3.url(), move |_, line| {
        if line.starts_with("PUT ") && line.contains("partNumber=3") {
            sent.send(()).unwrap();
            Fault::Delay(Duration::from_secs(600))
        } else {
            Fault::None
        }
    })
    .await
    .unwrap();
    stage.set("SPACES_ENDPOINT", proxy.url());
    let mut service = serve(&stage).await;
    tokio::time::timeout(LIMIT, arrived.recv())
        .await
        .unwrap()
        .unwrap();
    let before = stage.spaces.unfinished(BUCKET, None).await.unwrap();
    assert_eq!(before.len(), 1, "an upload is under way");
    let status = service.process.stop(Duration::from_secs(9)).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", service.log());
    assert_eq!(stage.spaces.unfinished(BUCKET, None).await.unwrap(), []);
    assert_eq!(stage.manifests().await, Vec::<String>::new());
    let held = stage
        .client
        .database("silo")
        .collection::<Document>("leases")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        held.get_str("holder").unwrap(),
        "",
        "the lease was given back"
    );
}
