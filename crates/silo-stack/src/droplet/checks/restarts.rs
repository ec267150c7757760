//! Restarts each service while all services get requests; only the restarted one may fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reqwest::Method;
use silo_testkit::say;

use crate::droplet::compose::{Droplet, SIGN_IN};

/// Path requested from each service.
const ASKED: [(&str, &str); 5] = [
    ("silo-db-api", "/api/db/users/count"),
    ("silo-storage-api", "/api/storage/usage"),
    ("silo-services-probe", "/api/services"),
    ("silo-backup", "/api/backup/status"),
    ("caddy", "/main.js"),
];
/// Restarted one after the other; Caddy is asked while the others restart, and is what everybody is asked through.
const RESTARTED: [&str; 7] = [
    "silo-db-api",
    "silo-storage-api",
    "silo-services-probe",
    "silo-backup",
    "silo-gate",
    "mongo-setup",
    "mongo-express",
];
/// Four a second to each of five is twenty a second.
const REQUEST_INTERVAL: Duration = Duration::from_millis(250);

/// Requests to all services while one was restarted.
struct RestartResult {
    /// Requests that failed or got a status other than 2xx.
    failed: Vec<Failure>,
    /// Number of requests sent.
    requests: usize,
    /// Duration of `docker compose restart`.
    restart_time: Duration,
}

/// A failed request: name of the service, time since the load began, and the status or error.
type Failure = (&'static str, Duration, String);

pub(super) async fn affect_no_other_service(droplet: &Droplet<'_>) -> Result<()> {
    for service in RESTARTED {
        let RestartResult {
            failed,
            requests,
            restart_time,
        } = restart_under_load(droplet, service).await?;
        let others: Vec<_> = failed
            .iter()
            .filter(|(name, ..)| *name != service)
            .collect();
        ensure!(others.is_empty(), "while {service} restarted: {others:?}");
        let own: Vec<_> = failed
            .iter()
            .filter(|(name, ..)| *name == service)
            .collect();
        // An outage longer than Caddy's patience may be visible.
        ensure!(
            own.is_empty() || restart_time > Duration::from_secs(3),
            "{service} was restarted in {restart_time:?}, but requests failed: {own:?}"
        );
        say::step(&format!(
            "{service}: restarted in {:.1} s, {requests} requests, {} of them failed",
            restart_time.as_secs_f64(),
            failed.len()
        ));
    }
    Ok(())
}

/// Restarts a service while every service gets four requests a second.
async fn restart_under_load(droplet: &Droplet<'_>, service: &'static str) -> Result<RestartResult> {
    let client = droplet.client().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let (user, password) = SIGN_IN;
    let mut asking = Vec::new();
    for (name, path) in ASKED {
        let (client, stop) = (client.clone(), Arc::clone(&stop));
        let request = move || {
            droplet
                .ask(&client, Method::GET, path)
                .basic_auth(user, Some(password))
                .build()
        };
        let client = droplet.client().await?;
        let requests: Vec<_> = (0..400).map(|_| request()).collect::<Result<_, _>>()?;
        asking.push(tokio::spawn(async move {
            let mut answers = tokio::task::JoinSet::new();
            for request in requests {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (client, at) = (client.clone(), began.elapsed());
                answers.spawn(async move {
                    match client.execute(request).await {
                        Ok(answer) if answer.status().is_success() => None,
                        Ok(answer) => Some((name, at, answer.status().to_string())),
                        Err(error) => Some((name, at, error.to_string())),
                    }
                });
                tokio::time::sleep(REQUEST_INTERVAL).await;
            }
            answers.join_all().await
        }));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let restarting = Instant::now();
    droplet.compose(&["restart", service]).await?;
    let restart_time = restarting.elapsed();
    tokio::time::sleep(Duration::from_secs(4)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut failed, mut requests) = (Vec::new(), 0);
    for each in asking {
        let answers = each.await?;
        requests += answers.len();
        failed.extend(answers.into_iter().flatten());
    }
    Ok(RestartResult {
        failed,
        requests,
        restart_time,
    })
}
