//! Storage that throttles, fails, lies or refuses: the scan completes correctly or reports the error, and the last result stays.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use silo_testkit::proxy::{Fault, Proxy};

use crate::stage::{Service, Stage, stage, sum, until_scanned};

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

/// A service that has scanned once, through a proxy that then injects `then`.
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
async fn temporary_errors_change_no_number() {
    let stage = &stage().await;
    let cases = [
        Fault::slow_down(),
        Fault::Reset,
        Fault::Truncate,
        Fault::html(),
        Fault::answer("502 Bad Gateway", "", ""),
    ];
    let run = |fault: Fault| async move {
        let injected = fault.clone();
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
        assert_eq!(found, (&json!(objects), &json!(bytes)), "{injected:?}");
    };
    futures_util::future::join_all(cases.map(run)).await;
}

#[tokio::test]
async fn a_refused_bucket_keeps_its_last_figures_and_others_are_scanned() {
    let stage = stage().await;
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
        assert_eq!(row["bytes"], sum(stage.in_bucket(name)).1, "{row}");
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

#[tokio::test]
async fn a_bucket_that_was_never_read_makes_the_total_unknown() {
    let stage = stage().await;
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
async fn broken_storage_is_reported_without_busy_retries() {
    let stage = stage().await;
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
        let injected = fault.clone();
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
            "{injected:?}: {}",
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
            "{injected:?}: the last results stay"
        );
        let before = ticks(&service);
        let asked = tokio::time::Instant::now();
        // Being watched for a second costs next to no CPU time.
        service
            .until(Duration::from_secs(5), "/api/storage/usage", |_| {
                asked.elapsed() > Duration::from_secs(1)
            })
            .await;
        let used = ticks(&service) - before;
        assert!(
            used < 30,
            "{injected:?}: {used} hundredths of a second of CPU in one second"
        );
        broken.store(false, std::sync::atomic::Ordering::SeqCst);
        rescan(&service).await;
        until_scanned(&service).await;
    };
    futures_util::future::join_all(cases.map(run)).await;
}

/// An endless listing is an error of the bucket, after a bounded number of requests.
#[tokio::test]
async fn an_endless_listing_fails_the_bucket() {
    let page = |keys: &[&str]| {
        let contents: String = keys
            .iter()
            .map(|key| format!("<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"))
            .collect();
        let body = format!(
            "<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated>{contents}</ListBucketResult>"
        );
        Fault::answer("200 OK", "Content-Type: application/xml\r\n", &body)
    };
    let bucket = "art-aesthetic-computer";
    for (what, endless) in [
        ("more without any key", page(&[])),
        ("the same page again", page(&["a.png", "b.png"])),
    ] {
        let stage = stage().await;
        let answers = endless.clone();
        let proxy = Proxy::start(&stage.s3.url(), move |_, line| {
            if line.contains("list-type=2") {
                answers.clone()
            } else {
                Fault::None
            }
        })
        .await
        .unwrap();
        let service = stage.service_at(&proxy.url(), &[("BUCKETS", bucket)]).await;
        let failed = |reply: &crate::stage::Reply| {
            reply.json_or_null()["meta"]["errors"][0]["code"] == "malformed_answer"
                || reply.json_or_null()["code"] == "source_unavailable"
        };
        let reply = service
            .until(Duration::from_secs(60), "/api/storage/buckets", failed)
            .await;
        assert!(
            reply.text.contains("no bucket could be listed"),
            "{what}: {reply:#?}"
        );
        assert!(
            proxy.requests() < 60,
            "{what}: {} requests",
            proxy.requests()
        );
    }
}

/// A bucket that does not exist is scanned on schedule only.
#[tokio::test]
async fn a_missing_bucket_does_not_advance_the_next_scan() {
    let stage = stage().await;
    let buckets = [("BUCKETS", "art-aesthetic-computer,not-there")];
    let service = stage.service_at(&stage.s3.url(), &buckets).await;
    let usage = until_scanned(&service).await.ok();
    assert_eq!(usage["meta"]["errors"][0]["code"], "no_such_bucket");
    let next = usage["data"]["scan"]["nextAt"].as_str().unwrap();
    let next: jiff::Timestamp = next.parse().unwrap();
    let hours = next.duration_since(jiff::Timestamp::now()).as_hours();
    assert_eq!(hours, 5, "six hours less some moments: {usage}");
}

/// A bucket that fails in a way that may pass is listed again after a minute, and no other.
#[tokio::test]
async fn only_the_bucket_that_failed_is_listed_again() {
    let stage = stage().await;
    let broken = Arc::new(AtomicBool::new(true));
    let listed = Arc::new(Mutex::new(Vec::new()));
    let (is_broken, heard) = (Arc::clone(&broken), Arc::clone(&listed));
    let proxy = Proxy::start(&stage.s3.url(), move |_, line| {
        // A page; a check whether the storage answers asks for one key.
        if line.contains("max-keys=1000") {
            heard.lock().unwrap().push(line.to_owned());
        }
        if line.contains("/art-aesthetic-computer") && is_broken.load(Ordering::SeqCst) {
            Fault::answer("500 x", "", "<html>")
        } else {
            Fault::None
        }
    })
    .await
    .unwrap();
    let service = stage.service_at(&proxy.url(), &[]).await;
    let partial = |reply: &crate::stage::Reply| {
        reply.state() == "partial" && reply.json()["data"]["scan"]["scanning"] == false
    };
    service
        .until(Duration::from_secs(60), "/api/storage/usage", partial)
        .await;
    broken.store(false, Ordering::SeqCst);
    listed.lock().unwrap().clear();
    let fresh = |reply: &crate::stage::Reply| reply.state() == "fresh";
    let usage = service
        .until(Duration::from_secs(120), "/api/storage/usage", fresh)
        .await
        .ok();
    assert_eq!(usage["data"]["bytes"], sum(stage.objects.iter()).1);
    let listed = listed.lock().unwrap();
    assert!(!listed.is_empty());
    assert!(
        listed
            .iter()
            .all(|line| line.contains("/art-aesthetic-computer")),
        "{listed:?}"
    );
}
