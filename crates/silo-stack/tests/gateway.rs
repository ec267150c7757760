//! Caddy with the repository's own Caddyfile, before the real service.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Response};
use serde_json::Value;
use silo_stack::stack::{Plan, Stack};
use silo_testkit::ac::Behaviour;
use silo_testkit::tools::workspace;
use silo_testkit::wait::wait_for;

const SERVICE: &str = "silo-db-api";

/// The headers that every answer has, whatever it is.
const HEADERS: [&str; 7] = [
    "content-security-policy",
    "strict-transport-security",
    "x-content-type-options",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-opener-policy",
    "x-request-id",
];

fn assert_safe(what: &str, headers: &HeaderMap) {
    for name in HEADERS {
        assert!(
            headers.contains_key(name),
            "{what} has no {name}: {headers:#?}"
        );
    }
    for name in ["server", "via", "x-powered-by"] {
        assert!(!headers.contains_key(name), "{what} has {name}");
    }
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(!policy.contains("unsafe"), "{policy}");
}

async fn assert_problem(what: &str, answer: Response, status: u16, code: &str) {
    assert_eq!(answer.status(), status, "{what}");
    assert_safe(what, answer.headers());
    assert_eq!(
        answer.headers()["content-type"],
        "application/problem+json",
        "{what}"
    );
    assert_eq!(answer.headers()["cache-control"], "no-store", "{what}");
    let id = answer.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["instance"], id, "{problem}");
}

#[tokio::test]
async fn every_answer_has_the_security_headers_and_every_error_its_shape() {
    let mut stack = Stack::start(Plan::default()).await.unwrap();
    let at = |path: &str| format!("{}{path}", stack.address);
    let http = Client::new();
    let get = async |path: &str| http.get(at(path)).send().await.unwrap();

    for path in [
        "/",
        "/main.js",
        "/runbook",
        "/healthz",
        "/version",
        "/api/db/users/count",
        "/api/services",
        "/api/services/oven/badge.svg",
        "/metrics/db",
        "/metrics/storage",
        "/metrics/services",
        "/metrics/backup",
    ] {
        let answer = get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_safe(path, answer.headers());
    }
    assert_problem(
        "an unknown API",
        get("/api/nothing").await,
        404,
        "gateway_404",
    )
    .await;
    assert_problem(
        "an unknown collection",
        get("/api/db/collections/nobody-has-it").await,
        404,
        "unknown_collection",
    )
    .await;
    let missing = get("/nothing.js").await;
    assert_eq!(missing.status(), 404);
    assert_safe("a missing file", missing.headers());
    for inside in ["/metrics", "/readyz", "/..%2fCaddyfile", "/.env"] {
        assert_eq!(
            get(inside).await.status(),
            404,
            "{inside} is not for outside"
        );
    }

    let runbook = get("/runbook").await.text().await.unwrap();
    let problems = std::fs::read_to_string(workspace().join("dashboard/panels/problems.js"));
    let problems = problems.unwrap();
    let (_, sections) = problems.split_once("const SECTIONS = {").unwrap();
    let (sections, _) = sections.split_once('}').unwrap();
    let mut count = 0;
    for section in sections.lines().filter_map(|line| line.split('\'').nth(1)) {
        let heading = format!("<h2 id=\"{section}\">");
        assert!(runbook.contains(&heading), "the runbook has no {section}");
        count += 1;
    }
    assert!(count >= 10, "{count} sections");

    // As browsers ask.
    let page = http
        .get(at("/"))
        .header("Accept-Encoding", "gzip, deflate, br, zstd");
    let page = page.send().await.unwrap();
    assert_eq!(page.headers()["content-encoding"], "gzip");
    let tag = page.headers()["etag"].to_str().unwrap().to_owned();
    let again = http.get(at("/")).header("Accept-Encoding", "gzip");
    let again = again.header("If-None-Match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);

    stack.stop_part(SERVICE).await.unwrap();
    let down = http.get(format!("{}/api/db/users/count", stack.address));
    let down = down.send().await.unwrap();
    assert_eq!(down.headers()["retry-after"], "5");
    assert_problem("a stopped service", down, 502, "gateway_502").await;
    let page = http.get(&stack.address).send().await.unwrap();
    assert_eq!(page.status(), 200, "the page does not need the service");
    stack.start_part(SERVICE).await.unwrap();
    let back = wait_for(Duration::from_secs(10), || async {
        let url = format!("{}/api/db/users/count", stack.address);
        let answer = http.get(url).send().await.unwrap();
        (answer.status() == 200).then_some(())
    });
    assert!(back.await.is_some(), "it comes back by itself");
    stack.stop().await.unwrap();
}

/// Each service with one of its paths, and the text by which its restart is noticed.
const SERVICES: [(&str, &str); 4] = [
    ("silo-db-api", "/api/db/users/count"),
    ("silo-storage-api", "/api/storage/usage"),
    ("silo-services-probe", "/api/overview"),
    ("silo-backup", "/api/backup/status"),
];
/// Twenty requests a second to each of them.
const REQUEST_INTERVAL: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_service_restart_under_load_fails_no_request() {
    let mut stack = Stack::start(Plan::default()).await.unwrap();
    let http = Client::new();
    for (_, path) in SERVICES {
        let url = format!("{}{path}", stack.address);
        let up = wait_for(Duration::from_secs(20), || async {
            let answer = http.get(&url).send().await.unwrap();
            (answer.status() == 200).then_some(())
        });
        assert!(up.await.is_some(), "{path}");
    }
    let (done, finished) = tokio::sync::watch::channel(false);
    let sent = Arc::new(AtomicUsize::new(0));
    let asking = SERVICES.map(|(name, path)| {
        let sent = Arc::clone(&sent);
        let (url, http, finished) = (
            format!("{}{path}", stack.address),
            http.clone(),
            finished.clone(),
        );
        tokio::spawn(async move {
            let mut asked = tokio::task::JoinSet::new();
            let mut beat = tokio::time::interval(REQUEST_INTERVAL);
            while !*finished.borrow() {
                beat.tick().await;
                sent.fetch_add(1, Ordering::SeqCst);
                let request = http.get(&url).send();
                // One that takes long does not hold up the next.
                asked.spawn(async move { request.await.map(|answer| answer.status().as_u16()) });
            }
            let statuses: Vec<_> = asked.join_all().await;
            (name, statuses)
        })
    });
    for (name, _) in SERVICES {
        for _ in 0..2 {
            stack.stop_part(name).await.unwrap();
            stack.start_part(name).await.unwrap();
            let ready = format!("{}/readyz", stack.direct(name).unwrap());
            let up = wait_for(Duration::from_secs(10), || async {
                Some(reqwest::get(&ready).await.ok()?.status()).filter(|status| *status == 200)
            });
            up.await.unwrap();
            // Half a second of load before the next one.
            let before = sent.load(Ordering::SeqCst);
            let enough = wait_for(Duration::from_secs(10), || async {
                (sent.load(Ordering::SeqCst) >= before + 30).then_some(())
            });
            enough.await.unwrap();
        }
    }
    done.send(true).unwrap();
    for asked in asking {
        let (name, statuses) = asked.await.unwrap();
        assert!(statuses.len() >= 60, "{name}: {}", statuses.len());
        let failed: Vec<_> = statuses
            .iter()
            .filter(|status| !matches!(status, Ok(200)))
            .collect();
        assert!(
            failed.is_empty(),
            "{name}, of {}: {failed:?}",
            statuses.len()
        );
    }
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn changes_arrive_through_the_gateway_as_they_happen() {
    let stack = Stack::start(Plan::default()).await.unwrap();
    let url = format!("{}/api/services/events", stack.address);
    let mut answer = Client::new()
        .get(url)
        .header("Accept-Encoding", "gzip, zstd")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(
        !answer.headers().contains_key("content-encoding"),
        "compressing would hold them back"
    );
    assert_safe("events", answer.headers());
    stack.simulator("session").unwrap().behave(Behaviour::Reset);
    let mut text = String::new();
    let heard = async {
        while !text.contains("\"to\":\"down\"") {
            let chunk = answer.chunk().await.unwrap().expect("the stream goes on");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard)
        .await
        .unwrap();
    assert!(
        text.contains("\"name\":\"session\"") && text.contains("\"code\":\"reset\""),
        "{text}"
    );
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn in_production_every_path_requires_sign_in() {
    let plan = Plan {
        sign_in: Some(("operator".into(), "let me in".into())),
        ..Plan::default()
    };
    let stack = Stack::start(plan).await.unwrap();
    let http = Client::new();
    for path in [
        "/",
        "/main.js",
        "/runbook",
        "/api/db/users/count",
        "/api/overview",
        "/api/services/events",
        "/version",
        "/api/nothing",
    ] {
        let url = format!("{}{path}", stack.address);
        let nobody = http.get(&url).send().await.unwrap();
        assert_eq!(nobody.status(), 401, "{path}");
        assert_safe(path, nobody.headers());
        let wrong = http.get(&url).basic_auth("operator", Some("wrong"));
        assert_eq!(wrong.send().await.unwrap().status(), 401, "{path}");
        let known = http.get(&url).basic_auth("operator", Some("let me in"));
        assert_ne!(known.send().await.unwrap().status(), 401, "{path}");
    }
    let health = format!("{}/healthz", stack.address);
    assert_eq!(http.get(health).send().await.unwrap().status(), 200);

    // Actions are logged with the operator's name from the gateway, whatever name the client sends.
    let rescan = format!("{}/api/storage/rescan", stack.address);
    let forged = || {
        http.post(&rescan)
            .header("X-Silo-Operator", "somebody-else")
    };
    assert_eq!(forged().send().await.unwrap().status(), 401);
    let asked = wait_for(Duration::from_secs(20), || async {
        let answer = forged()
            .basic_auth("operator", Some("let me in"))
            .send()
            .await
            .unwrap();
        (answer.status() == 202).then_some(())
    });
    asked
        .await
        .expect("the first scan ends, and another may begin");
    let log = stack.last_lines("silo-storage-api").join("\n");
    assert!(
        log.contains("operator=operator") && !log.contains("somebody-else"),
        "{log}"
    );
    let elsewhere = forged()
        .basic_auth("operator", Some("let me in"))
        .header("Sec-Fetch-Site", "cross-site");
    assert_problem(
        "another site's page",
        elsewhere.send().await.unwrap(),
        403,
        "cross_site",
    )
    .await;
    stack.stop().await.unwrap();
}
