//! `POST /api/storage/rescan`, and what a scan shows while it runs.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use silo_testkit::demo::DemoObject;
use silo_testkit::proxy::{Fault, Proxy};

use crate::stage::{Service, put, spaces, stage, until_scanned};

async fn ask(service: &Service, headers: &[(&'static str, &str)]) -> (u16, serde_json::Value) {
    let reply = service
        .send(Method::POST, "/api/storage/rescan", |mut request| {
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request
        })
        .await;
    (reply.status.as_u16(), reply.json())
}

#[tokio::test]
async fn a_rescan_finds_new_objects_and_only_one_runs() {
    let stage = stage().await;
    // Slow enough to be seen running.
    let proxy = Proxy::start(&stage.s3.url(), |_, _| {
        Fault::Delay(Duration::from_millis(150))
    })
    .await
    .unwrap();
    let service = stage.service_at(&proxy.url(), &[]).await;
    let before = until_scanned(&service).await.ok();
    let fresh = DemoObject {
        bucket: "user-aesthetic-computer",
        key: "auth0|new/painting/1.png".into(),
        bytes: 4_321,
        owner: None,
    };
    put(&spaces(&stage.s3, &stage.s3.url()), &[fresh]).await;

    let operator = [("X-Silo-Operator", "jane")];
    assert_eq!(ask(&service, &operator).await.0, 202);
    let (status, body) = ask(&service, &operator).await;
    assert_eq!((status, &body["code"]), (409, &json!("already_scanning")));
    let running = service
        .until(Duration::from_secs(5), "/api/storage/usage", |reply| {
            reply.json_or_null()["data"]["scan"]["scanning"] == true
        })
        .await
        .ok();
    assert_eq!(
        running["data"]["bytes"], before["data"]["bytes"],
        "the last results are served during a scan"
    );
    assert!(running["data"]["scan"]["percent"].is_u64(), "{running}");
    let after = until_scanned(&service).await.ok();
    assert_eq!(
        after["data"]["bytes"].as_u64().unwrap(),
        before["data"]["bytes"].as_u64().unwrap() + 4_321
    );
    assert_eq!(
        after["data"]["objects"].as_u64().unwrap(),
        before["data"]["objects"].as_u64().unwrap() + 1
    );
}

#[tokio::test]
async fn a_rescan_needs_an_operator_and_the_same_site() {
    let stage = stage().await;
    let service = stage.scanned().await;
    for (headers, code) in [
        (&[][..], "no_operator"),
        (
            &[
                ("X-Silo-Operator", "jane"),
                ("Sec-Fetch-Site", "cross-site"),
            ],
            "cross_site",
        ),
        (
            &[
                ("X-Silo-Operator", "jane"),
                ("Origin", "https://evil.example"),
            ],
            "cross_site",
        ),
    ] {
        let (status, body) = ask(&service, headers).await;
        assert_eq!((status, &body["code"]), (403, &json!(code)));
    }
    let usage = service.data("/api/storage/usage").await;
    assert_eq!(usage["scan"]["scanning"], false);
}

#[tokio::test]
async fn the_first_scan_reports_progress_and_no_zeros() {
    let stage = stage().await;
    let proxy = Proxy::start(&stage.s3.url(), |_, _| {
        Fault::Delay(Duration::from_millis(300))
    })
    .await
    .unwrap();
    let service = stage.service_at(&proxy.url(), &[]).await;
    let usage = service.get("/api/storage/usage").await.ok();
    assert_eq!(
        (&usage["data"]["bytes"], &usage["data"]["objects"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(usage["meta"]["state"], "partial");
    assert_eq!(usage["meta"]["errors"][0]["code"], "not_measured_yet");
    let watched = service
        .until(Duration::from_secs(5), "/api/storage/usage", |reply| {
            reply.json_or_null()["data"]["scan"]["bucket"].is_string()
        })
        .await
        .ok();
    assert_eq!(watched["data"]["scan"]["scanning"], true, "{watched}");
    for path in [
        "/api/storage/buckets",
        "/api/storage/top-users",
        "/api/storage/user/@x",
    ] {
        let reply = service.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["code"]),
            (503, &json!("not_measured_yet")),
            "{path}"
        );
        assert_eq!(reply.header("retry-after"), "5");
    }
    until_scanned(&service).await;
}

#[tokio::test]
async fn metrics_count_pages_requests_and_throttles() {
    let stage = stage().await;
    let proxy = Proxy::start(&stage.s3.url(), |number, _| {
        if number % 2 == 0 {
            Fault::slow_down()
        } else {
            Fault::None
        }
    })
    .await
    .unwrap();
    let service = stage.service_at(&proxy.url(), &[]).await;
    until_scanned(&service).await;
    let metrics = service.get("/metrics").await.text;
    let value = |name: &str| -> f64 {
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in {metrics}"))
            .parse()
            .unwrap()
    };
    assert!(value("silo_storage_pages_total") >= 5.0);
    assert!(
        (value("silo_storage_requests_total") - silo_core::units::double(proxy.requests())).abs()
            < 0.5
    );
    assert!(value("silo_storage_throttles_total") >= 5.0);
    assert!(value("silo_storage_scanning") < 0.5);
    assert!(
        metrics.contains("silo_source_age_seconds{source=\"storage\"}"),
        "{metrics}"
    );
}
