//! The service over HTTP: how backups stand, runs that are asked for and runs that are due.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use silo_testkit::ac::{Manner, Role, StandIn};
use silo_testkit::service::{Reply, Service, assert_described};
use silo_testkit::wait::wait_for;

use crate::stage::Stage;

/// A run and what is measured after it take this long only when something hangs.
const LIMIT: Duration = Duration::from_secs(30);

async fn serve(stage: &Stage) -> Service {
    Service::start("silo-backup", stage.command(&["serve"])).await
}

async fn ask(service: &Service, path: &str) -> Reply {
    service
        .send(Method::POST, path, |request| {
            request.header("X-Silo-Operator", "jane")
        })
        .await
}

fn data(reply: &Reply) -> Value {
    reply.json_or_null()["data"].clone()
}

/// A schedule that is not due today or tomorrow.
const SELDOM: &str = "0 0 1 1 *";

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_night_is_caught_up_and_drilled_and_the_rest_is_told() {
    let stage = Stage::filled().await;
    let service = serve(&stage).await;
    let status = service
        .until(LIMIT, "/api/backup/status", |reply| {
            data(reply)["lastDrill"]["good"] == true
        })
        .await;
    let told = data(&status);
    assert_eq!(
        (
            &told["lastGood"]["documents"],
            &told["overdue"],
            &told["lastAttempt"]["outcome"]
        ),
        (&1550.into(), &false.into(), &"good".into()),
        "{told}"
    );
    assert_eq!(status.state(), "fresh");
    assert!(
        told["nextRun"]
            .as_str()
            .is_some_and(|next| next > told["lastGood"]["asOf"].as_str().unwrap()),
        "{told}"
    );
    let backups = service.data("/api/backup/backups").await;
    assert_eq!(
        (
            &backups["total"],
            &backups["backups"][0]["state"],
            &backups["backups"][0]["consistency"]
        ),
        (&1.into(), &"verified".into(), &"fuzzy".into())
    );
    assert!(
        backups["backups"][0]["why"]
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
    let mut stage = Stage::filled().await;
    stage.set("BACKUP_SCHEDULE", SELDOM);
    stage.set("BACKUP_DRILL_DAYS", "0");
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
    // The stream goes on until the job has ended, and ends by itself.
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
        (&job["state"], &job["askedBy"], &job["made"]["documents"]),
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
async fn without_storage_the_last_good_backup_is_stale_and_comes_back() {
    let mut stage = Stage::filled().await;
    stage.set("BACKUP_SCHEDULE", SELDOM);
    stage.set("BACKUP_DRILL_DAYS", "0");
    let id = stage.backup().await;
    let service = serve(&stage).await;
    service
        .until(LIMIT, "/api/backup/status", |reply| reply.status == 200)
        .await;
    stage.s3.stop().await.unwrap();
    // What is asked for fails, is told, and is measured again.
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
    assert!(!metrics.contains("silo-demo-secret") && !service.log().contains("silo-demo-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_told_that_a_run_began_and_how_it_ended() {
    let mut stage = Stage::filled().await;
    let (ping, webhook) = (
        StandIn::start(Role::Http).await.unwrap(),
        StandIn::start(Role::Http).await.unwrap(),
    );
    stage.set("BACKUP_PING_URL", format!("{}/ping-me", ping.url()));
    stage.set(
        "BACKUP_WEBHOOK_URL",
        format!("{}/hook-secret", webhook.url()),
    );
    stage.backup().await;
    // Neither takes it any more: the backup is good all the same, and that nobody was told is told.
    ping.behave(Manner::Fail(500));
    webhook.behave(Manner::Fail(500));
    stage.backup().await;
    stage.set("BACKUP_BUCKET", "no-such-bucket");
    let failed = stage.run(&["run"]).await;
    failed.ends_with(1);
    assert!(
        failed
            .stderr
            .contains("nobody could be told: it answers with status 500"),
        "{failed:#?}"
    );
    assert!(
        !failed.stderr.contains("hook-secret") && !failed.stderr.contains("ping-me"),
        "an address is a secret: {failed:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_a_run_at_once_and_leaves_nothing() {
    let stage = Stage::filled().await;
    let mut service = serve(&stage).await;
    // It catches up at once; told to end in the middle of it.
    wait_for(LIMIT, || async {
        (!data(&service.get("/api/backup/status").await)["running"].is_null()).then_some(())
    })
    .await
    .unwrap();
    let status = service.process.stop(Duration::from_secs(9)).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", service.log());
    assert_eq!(
        stage.spaces.unfinished(crate::stage::BUCKET).await.unwrap(),
        []
    );
    // The lease was given back: the next run need not wait for it to end.
    let began = std::time::Instant::now();
    stage.backup().await;
    assert!(began.elapsed() < Duration::from_secs(30));
}
