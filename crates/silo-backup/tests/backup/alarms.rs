//! Alerts: what is sent to whom, after which failures.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use silo_testkit::ac::{Behaviour, Role, Simulator};
use silo_testkit::proxy::{Fault, Proxy};
use silo_testkit::service::{Reply, Service};
use silo_testkit::wait::wait_for;

use crate::service::{LIMIT, data, run_to_its_end, serve};
use crate::stage::Stage;

const ALARMS: &str = "/api/backup/alarms";

/// The lines of what a receiver was sent.
fn lines(receiver: &Simulator) -> Vec<String> {
    let received = receiver.received();
    received.into_iter().map(|request| request.line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_report_start_and_end_of_a_run_and_the_webhook_reports_problems() {
    let mut stage = Stage::with_demo_data().await;
    let (ping, webhook) = (
        Simulator::start(Role::Http).await.unwrap(),
        Simulator::start(Role::Http).await.unwrap(),
    );
    stage.set("BACKUP_PING_URL", format!("{}/ping-me", ping.url()));
    stage.set(
        "ALERT_WEBHOOK_URL",
        format!("{}/hook-secret", webhook.url()),
    );
    let id = stage.backup().await;
    assert_eq!(lines(&ping), ["POST /ping-me/start", "POST /ping-me"]);
    let success = &ping.received()[1].body;
    assert!(
        success.starts_with(&format!("{id}: 1550 documents, ")),
        "{success}"
    );
    assert_eq!(lines(&webhook), Vec::<String>::new(), "nothing is wrong");

    stage.set("BACKUP_BUCKET", "no-such-bucket");
    stage.run(&["run"]).await.ends_with(1);
    assert_eq!(
        lines(&ping)[2..],
        ["POST /ping-me/start", "POST /ping-me/fail"]
    );
    let failure = &ping.received()[3].body;
    assert!(failure.starts_with("the backup failed: "), "{failure}");
    let [body] = &webhook.received()[..] else {
        panic!("{:?}", webhook.received());
    };
    assert_eq!(body.line, "POST /hook-secret");
    let body: Value = serde_json::from_str(&body.body).unwrap();
    assert_eq!(
        (&body["source"], &body["code"], &body["detail"]),
        (
            &"silo-backup".into(),
            &"no_such_bucket".into(),
            &failure.as_str().into()
        ),
        "{body}"
    );
    for field in ["text", "content"] {
        let text = body[field].as_str().unwrap();
        assert_eq!(text, format!("silo-backup: {failure}"));
    }
    assert!(
        body["at"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{body}"
    );

    // The failed delivery is logged without the URL, which is a secret.
    ping.behave(Behaviour::Fail(500));
    webhook.behave(Behaviour::Fail(500));
    let failed = stage.run(&["run"]).await;
    failed.ends_with(1);
    assert!(
        failed
            .stderr
            .contains("an alert could not be delivered: the receiver answers with status 500"),
        "{failed:#?}"
    );
    assert!(
        !failed.stderr.contains("hook-secret") && !failed.stderr.contains("ping-me"),
        "{failed:#?}"
    );
}

/// Storage that does not answer when the service starts: the due run is attempted, and its failure is an alarm.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_storage_attempts_a_backup_and_raises_an_alarm() {
    let mut stage = Stage::with_demo_data().await;
    let webhook = Simulator::start(Role::Http).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", webhook.url());
    stage.s3.switch_off();
    let service = Service::start("silo-backup", stage.command(&["serve"])).await;
    // A minute and a half for a start of everything at once, and the attempts of one request.
    wait_for(6 * LIMIT, || async {
        (!webhook.received().is_empty()).then_some(())
    })
    .await
    .unwrap();
    let body = &webhook.received()[0].body;
    assert!(
        body.contains("unreachable") && body.contains("the backup failed"),
        "{body}"
    );
    let open = service
        .until(LIMIT, ALARMS, |reply| !data(reply)["alarms"][0].is_null())
        .await;
    let alarm = &data(&open)["alarms"][0];
    assert_eq!(alarm["code"], "backup_failed", "{alarm}");
    assert!(alarm["sent"].is_string() && alarm["acknowledged"].is_null());
    let stranger = acknowledge(&service, "backup_failed", None).await;
    assert_eq!(stranger.status, 403, "{stranger:#?}");
    let unknown = acknowledge(&service, "overdue", Some("jane")).await;
    assert_eq!(unknown.json()["code"], "unknown_alarm");
    let known = acknowledge(&service, "backup_failed", Some("jane")).await;
    assert_eq!(known.json()["acknowledged"]["by"], "jane", "{known:#?}");
    assert_eq!(webhook.received().len(), 1, "the run itself reported it");
    // Storage recovers: an operator's run is good, and the status too.
    stage.s3.switch_on().await.unwrap();
    run_to_its_end(&service).await;
    let status = service
        .until(LIMIT, "/api/backup/status", |reply| {
            data(reply)["lastGood"]["documents"] == 1550
        })
        .await;
    assert_eq!(data(&status)["lastAttempt"]["failures"], 0);
    let ended = wait_for(LIMIT, || async { webhook.received().get(1).cloned() });
    let ended: Value = serde_json::from_str(&ended.await.unwrap().body).unwrap();
    assert_eq!(
        (&ended["code"], &ended["state"]),
        (&"backup_failed".into(), &"recovered".into())
    );
    assert_eq!(data(&service.get(ALARMS).await)["alarms"], json!([]));
}

async fn acknowledge(service: &Service, code: &str, operator: Option<&str>) -> Reply {
    let path = format!("{ALARMS}/{code}/acknowledge");
    service
        .send(Method::POST, &path, |request| match operator {
            Some(operator) => request.header("X-Silo-Operator", operator),
            None => request,
        })
        .await
}

/// A process that is killed in the middle of a run: the next one waits for its retry delay, and the next attempt reports it.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_not_repeated_at_once_and_is_reported() {
    let mut stage = Stage::with_demo_data().await;
    stage.fill_incompressible(12).await;
    let webhook = Simulator::start(Role::Http).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", webhook.url());
    let (sent, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let proxy = Proxy::start(&stage.s3.url(), move |_, line| {
        let upload = line.starts_with("PUT ") && line.contains("partNumber=1");
        if upload && sent.send(()).is_ok() {
            Fault::Delay(Duration::from_secs(600))
        } else {
            Fault::None
        }
    })
    .await
    .unwrap();
    let direct = stage.environment["SPACES_ENDPOINT"].clone();
    stage.set("SPACES_ENDPOINT", proxy.url());
    let service = serve(&stage).await;
    tokio::time::timeout(LIMIT, arrived.recv())
        .await
        .unwrap()
        .unwrap();
    let pid = i32::try_from(service.process.id().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    drop(service);
    stage.set("SPACES_ENDPOINT", direct);
    let service = serve(&stage).await;
    let status = service
        .until(LIMIT, "/api/backup/status", |reply| {
            data(reply)["nextRun"].is_string()
        })
        .await;
    let body = data(&status);
    assert_eq!(
        (
            &body["lastAttempt"]["outcome"],
            &body["lastAttempt"]["failures"]
        ),
        (&"unfinished".into(), &1.into()),
        "{body}"
    );
    assert!(body["running"].is_null(), "{body}");
    let next: jiff::Timestamp = body["nextRun"].as_str().unwrap().parse().unwrap();
    let begun: jiff::Timestamp = body["lastAttempt"]["at"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        next.duration_since(begun),
        jiff::SignedDuration::from_mins(5),
        "{body}"
    );
    drop(service);
    stage.backup().await;
    let received = webhook.received();
    assert_eq!(received.len(), 1, "{received:?}");
    assert!(received[0].body.contains("killed"), "{received:?}");
}

/// Neither a busy lease nor a shutdown is reported as a failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_lease_pings_nothing() {
    let mut stage = Stage::with_demo_data().await;
    let ping = Simulator::start(Role::Http).await.unwrap();
    stage.set("BACKUP_PING_URL", ping.url());
    let lease = silo_backup::run::lease::Lease::acquire(
        &stage.client,
        silo_backup::run::lease::Purpose::Backup,
    )
    .await
    .unwrap();
    stage
        .run(&["run", "--quiet"])
        .await
        .ends_with(silo_backup::error::EXIT_BUSY);
    assert_eq!(lines(&ping), Vec::<String>::new());
    lease.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drills_ping_their_own_url() {
    let mut stage = Stage::with_demo_data().await;
    let (ping, drill_ping) = (
        Simulator::start(Role::Http).await.unwrap(),
        Simulator::start(Role::Http).await.unwrap(),
    );
    stage.set("BACKUP_PING_URL", format!("{}/run", ping.url()));
    stage.set(
        "BACKUP_DRILL_PING_URL",
        format!("{}/drill", drill_ping.url()),
    );
    stage.backup().await;
    stage.json(&["drill"]).await;
    stage.run(&["drill", "no-such"]).await.ends_with(64);
    assert_eq!(lines(&ping), ["POST /run/start", "POST /run"]);
    assert_eq!(lines(&drill_ping), ["POST /drill", "POST /drill/fail"]);
}
