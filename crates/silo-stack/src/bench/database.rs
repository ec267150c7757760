//! Memory, start time and request rate of silo-db-api.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use silo_testkit::say;
use silo_testkit::wait::wait_for;
use tokio::process::Command;

use super::measure::{mib, resident, row};
use crate::stack::{Plan, Stack};

const SERVICE: &str = "silo-db-api";
/// Number of starts and refreshes measured.
const STARTS: usize = 10;
/// Number of mixed requests before memory is read again.
const MIXED: usize = 2_000;
/// Paths of the mixed requests.
const PATHS: [&str; 10] = [
    "/api/db/health",
    "/api/db/collections",
    "/api/db/collections/moods",
    "/api/db/collections?sort=documents&limit=5",
    "/api/db/users/count",
    "/api/db/clients",
    "/api/db/access",
    "/api/db/atproto",
    "/api/kidlisp/stats",
    "/api/db/collections/nobody-has-it",
];

/// Starts an optimised stack and measures it.
pub(super) async fn run(scale: f64, seconds: u64) -> Result<()> {
    let plan = Plan {
        release: true,
        scale,
        ..Plan::default()
    };
    let mut stack = Stack::start(plan).await?;
    let outcome = measure(&mut stack, scale, seconds).await;
    stack.stop().await?;
    outcome
}

async fn measure(stack: &mut Stack, scale: f64, seconds: u64) -> Result<()> {
    say::step(&format!("starting {SERVICE} {STARTS} times"));
    let (mut ready, mut refresh) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (took, measured) = start_once(stack).await?;
        ready.push(took);
        refresh.extend(measured);
    }
    let idle = memory(stack)?;
    say::step(&format!("asking {MIXED} mixed requests"));
    mixed(stack).await?;
    let used = memory(stack)?;

    println!("\nsilo-db-api, optimised, one worker, scale {}", scale);
    row("what", &["median", "least", "most"]);
    spread("start to ready, ms", &mut ready);
    spread("one refresh of 38 collections, ms", &mut refresh);
    row("resident memory, idle, MiB", &[mib(idle)]);
    row(
        &format!("the same after {MIXED} requests, MiB"),
        &[mib(used)],
    );

    say::step("loading it with wrk: one thread, 16 connections");
    let direct = stack
        .direct(SERVICE)
        .context("the service has an address")?;
    let dashboard = stack.address.clone();
    let file = "/panels/collections.js";
    println!();
    row("path, and who answers", &["req/s", "p50", "p99", "errors"]);
    for (name, url) in [
        (
            "/api/db/collections, silo-db-api",
            format!("{direct}/api/db/collections"),
        ),
        (
            "/api/db/users/count, silo-db-api",
            format!("{direct}/api/db/users/count"),
        ),
        ("/healthz, silo-db-api", format!("{direct}/healthz")),
        (
            "/api/db/collections, through Caddy",
            format!("{dashboard}/api/db/collections"),
        ),
        ("a 7 KB file, Caddy itself", format!("{dashboard}{file}")),
    ] {
        row(name, &wrk(&url, seconds).await?);
    }
    Ok(())
}

/// One restart: milliseconds until ready, and duration of the first measurement of the collections.
async fn start_once(stack: &mut Stack) -> Result<(f64, Option<f64>)> {
    stack.stop_part(SERVICE).await?;
    let ready = format!("{}/readyz", stack.direct(SERVICE).context("an address")?);
    let started = Instant::now();
    stack.start_part(SERVICE).await?;
    let up = wait_for(Duration::from_secs(20), || async {
        let answer = reqwest::get(&ready).await.ok()?;
        answer.status().is_success().then(|| started.elapsed())
    });
    let took = up.await.context("it was not ready within 20 s")?;
    let measured = wait_for(Duration::from_secs(20), || async {
        stack.last_lines(SERVICE).iter().find_map(|line| {
            let (_, rest) = line.split_once("subject=collections took_ms=")?;
            rest.split_whitespace().next()?.parse().ok()
        })
    });
    Ok((took.as_secs_f64() * 1000.0, measured.await))
}

async fn mixed(stack: &mut Stack) -> Result<()> {
    let direct = stack
        .direct(SERVICE)
        .context("the service has an address")?;
    let http = reqwest::Client::new();
    for at in 0..MIXED / 8 {
        let ask = |lane: usize| {
            let url = format!("{direct}{}", PATHS[(at * 8 + lane) % PATHS.len()]);
            let http = http.clone();
            async move { http.get(url).send().await?.bytes().await }
        };
        let answers = futures_util::future::join_all((0..8).map(ask)).await;
        for answer in answers {
            answer.context("a request got no answer")?;
        }
    }
    Ok(())
}

/// Resident memory of the service in KiB.
fn memory(stack: &mut Stack) -> Result<u64> {
    resident(stack.id(SERVICE).context("it does not run")?)
}

/// Requests a second, p50, p99 and errors, as wrk prints them.
async fn wrk(url: &str, seconds: u64) -> Result<[String; 4]> {
    let output = Command::new("wrk")
        .args(["-t1", "-c16", "--latency", &format!("-d{seconds}s"), url])
        .output()
        .await
        .context("cannot start wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map_or_else(|| "?".to_owned(), |rest| rest.trim().to_owned())
    };
    let errors = after("Non-2xx or 3xx responses:");
    let errors = if errors == "?" { "0".into() } else { errors };
    Ok([after("Requests/sec:"), after("50%"), after("99%"), errors])
}

fn spread(name: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).map_or("?".into(), |v| format!("{v:.1}"));
    row(
        name,
        &[
            at(values.len() / 2),
            at(0),
            at(values.len().saturating_sub(1)),
        ],
    );
}
