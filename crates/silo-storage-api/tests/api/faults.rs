//! Storage that throttles, breaks, lies or refuses: the scan ends right or says what failed, and what was known stays.

use std::time::Duration;

use serde_json::json;
use silo_testkit::proxy::{Fault, Proxy};
use silo_testkit::s3::Kind;

use crate::stage::{BOTH, Service, Stage, stage, sum, until_scanned};

/// CPU time of a process so far, in clock ticks (hundredths of a second).
fn ticks(service: &Service) -> u64 {
    let id = service.process.id().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

async fn rescan(service: &Service) {
    let ended =
        |reply: &crate::stage::Reply| reply.json_or_null()["data"]["scan"]["scanning"] == false;
    service
        .until(Duration::from_secs(20), "/api/storage/usage", ended)
        .await;
    let asked = service
        .send(reqwest::Method::POST, "/api/storage/rescan", |request| {
            request.header("X-Silo-Operator", "test")
        })
        .await;
    assert_eq!(asked.status, 202, "{asked:#?}");
}

/// The service when it has scanned once through a proxy that then breaks as `then` says.
async fn scanned_and_then(
    stage: &Stage,
    more: &[(&str, &str)],
    then: impl Fn(u64, &str) -> Fault + Send + Sync + 'static,
) -> (
    Service,
    Proxy,
    std::sync::Arc<std::sync::atomic::AtomicBool>,
) {
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = std::sync::Arc::clone(&broken);
    let choose = move |number, line: &str| {
        if switch.load(std::sync::atomic::Ordering::SeqCst) {
            then(number, line)
        } else {
            Fault::None
        }
    };
    let proxy = Proxy::start(&stage.s3.url(), choose).await.unwrap();
    let service = stage.service_at(&proxy.url(), more).await;
    until_scanned(&service).await;
    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    rescan(&service).await;
    (service, proxy, broken)
}

#[tokio::test]
async fn what_goes_wrong_now_and_then_changes_no_number() {
    for kind in BOTH {
        let stage = &stage(kind).await;
        let cases = [
            Fault::slow_down(),
            Fault::Reset,
            Fault::Truncate,
            Fault::html(),
            Fault::answer("502 Bad Gateway", "", ""),
        ];
        let run = |fault: Fault| async move {
            let told = fault.clone();
            let every_second = move |number, _: &str| {
                if number % 2 == 0 {
                    fault.clone()
                } else {
                    Fault::None
                }
            };
            let proxy = Proxy::start(&stage.s3.url(), every_second).await.unwrap();
            let folder = tempfile::tempdir().unwrap();
            let own = [("STORAGE_FOLDER", folder.path().to_str().unwrap())];
            let service = stage.service_at(&proxy.url(), &own).await;
            let usage = until_scanned(&service).await.ok();
            let (objects, bytes) = sum(stage.objects.iter());
            let found = (&usage["data"]["objects"], &usage["data"]["bytes"]);
            assert_eq!(
                found,
                (&json!(objects), &json!(bytes)),
                "{kind:?}: {told:?}"
            );
        };
        futures_util::future::join_all(cases.map(run)).await;
    }
}

#[tokio::test]
async fn a_bucket_that_refuses_keeps_its_last_figures_and_the_others_go_on() {
    for kind in BOTH {
        let stage = stage(kind).await;
        let refuse = |_, line: &str| {
            if line.contains("/art-aesthetic-computer") {
                Fault::answer(
                    "403 Forbidden",
                    "",
                    "<Error><Code>AccessDenied</Code></Error>",
                )
            } else {
                Fault::None
            }
        };
        let (service, _proxy, broken) = scanned_and_then(&stage, &[], refuse).await;
        let refused = |reply: &crate::stage::Reply| {
            reply.json_or_null()["data"]["buckets"]
                .as_array()
                .is_some_and(|rows| {
                    rows.iter()
                        .any(|row| row["error"]["code"] == "not_authorized")
                })
        };
        let reply = service
            .until(Duration::from_secs(20), "/api/storage/buckets", refused)
            .await
            .ok();
        let rows = reply["data"]["buckets"].as_array().unwrap();
        for row in rows {
            let name = row["name"].as_str().unwrap();
            assert_eq!(
                row["bytes"],
                sum(stage.in_bucket(name)).1,
                "{kind:?}: {row}"
            );
            assert_eq!(
                row["error"].is_null(),
                name != "art-aesthetic-computer",
                "{row}"
            );
        }
        let age = |name: &str| {
            rows.iter().find(|row| row["name"] == name).unwrap()["asOf"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert!(
            age("art-aesthetic-computer") < age("user-aesthetic-computer"),
            "its figures are older than the others'"
        );
        assert_eq!(reply["meta"]["state"], "partial");
        assert!(
            reply["meta"]["errors"]
                .as_array()
                .unwrap()
                .iter()
                .any(|error| error["source"] == "bucket art-aesthetic-computer")
        );
        let usage = service.data("/api/storage/usage").await;
        assert_eq!(
            usage["bytes"],
            sum(stage.objects.iter()).1,
            "with its last figures"
        );

        broken.store(false, std::sync::atomic::Ordering::SeqCst);
        rescan(&service).await;
        let well = |reply: &crate::stage::Reply| !refused(reply);
        service
            .until(Duration::from_secs(20), "/api/storage/buckets", well)
            .await;
    }
}

#[tokio::test]
async fn a_bucket_that_was_never_read_makes_the_total_unknown() {
    let stage = stage(Kind::Memory).await;
    let service = stage
        .service_at(
            &stage.s3.url(),
            &[("BUCKETS", "art-aesthetic-computer,not-there")],
        )
        .await;
    let usage = service
        .until(Duration::from_secs(20), "/api/storage/usage", |reply| {
            reply.json_or_null()["data"]["knownObjects"].as_u64() > Some(0)
        })
        .await
        .ok();
    assert_eq!(usage["data"]["bytes"], json!(null));
    assert_eq!(
        usage["data"]["knownBytes"],
        sum(stage.in_bucket("art-aesthetic-computer")).1
    );
    assert_eq!(usage["data"]["lastFullScan"], json!(null));
    assert_eq!(usage["meta"]["state"], "partial");
    assert_eq!(usage["meta"]["errors"][0]["code"], "no_such_bucket");
}

#[tokio::test]
async fn storage_that_is_broken_for_good_is_told_and_nothing_spins() {
    let stage = stage(Kind::Memory).await;
    let skewed = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
    let ahead = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(20);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&ahead)
        .unwrap();
    let cases = [
        (Fault::Reset, "unreachable"),
        (Fault::html(), "malformed_answer"),
        (Fault::Truncate, "malformed_answer"),
        (
            Fault::answer("403 Forbidden", &format!("Date: {date}\r\n"), skewed),
            "clock_skewed",
        ),
        (Fault::answer("500 x", "", "<html>"), "server_failed"),
    ];
    let stage = &stage;
    let run = |(fault, code): (Fault, &'static str)| async move {
        let folder = tempfile::tempdir().unwrap();
        let told = fault.clone();
        let broken = move |_, _: &str| fault.clone();
        let bucket = "user-aesthetic-computer";
        let own = [
            ("STORAGE_FOLDER", folder.path().to_str().unwrap()),
            ("BUCKETS", bucket),
        ];
        let (service, _proxy, broken) = scanned_and_then(stage, &own, broken).await;
        let failed = |reply: &crate::stage::Reply| reply.state() == "stale";
        let usage = service
            .until(Duration::from_secs(60), "/api/storage/usage", failed)
            .await
            .ok();
        assert_eq!(
            usage["meta"]["errors"][0]["code"], code,
            "{told:?}: {}",
            usage["meta"]
        );
        if code == "clock_skewed" {
            let detail = usage["meta"]["errors"][0]["detail"].as_str().unwrap();
            assert!(
                detail.contains("clock is 20 min behind")
                    || detail.contains("clock is 19 min behind"),
                "{detail}"
            );
        }
        assert_eq!(
            usage["data"]["bytes"],
            sum(stage.in_bucket(bucket)).1,
            "{told:?}: the last roll-up stays"
        );
        let before = ticks(&service);
        let asked = tokio::time::Instant::now();
        // A second of being looked at costs next to nothing.
        service
            .until(Duration::from_secs(5), "/api/storage/usage", |_| {
                asked.elapsed() > Duration::from_secs(1)
            })
            .await;
        let used = ticks(&service) - before;
        assert!(
            used < 30,
            "{told:?}: {used} hundredths of a second of CPU in one second"
        );
        broken.store(false, std::sync::atomic::Ordering::SeqCst);
        rescan(&service).await;
        until_scanned(&service).await;
    };
    futures_util::future::join_all(cases.map(run)).await;
}
