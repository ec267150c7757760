//! Checks of the whole system from outside. They run one after the other on one Compose project, and leave it as they found it; the last ones at the same
//! time as those that have projects of their own.

mod access;
mod browsing;
mod crashes;
mod deploy;
mod gigabyte;
mod memory;
mod mongod;
mod network;
mod page;
mod rebuild;
mod restarts;
mod runbook;
mod whole;

use std::pin::Pin;
use std::time::Instant;

use anyhow::{Result, bail};
use silo_testkit::say;

use super::compose::Droplet;

type Check = for<'a> fn(&'a Droplet<'a>) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// Checks that measure time or memory, or break nothing, in order and with nothing beside them.
const CHECKS: &[(&str, Check)] = &[
    ("whole: everything is healthy within 60 s", |at| {
        Box::pin(whole::is_healthy(at))
    }),
    (
        "whole: the page and every part of the overview are there, over HTTPS",
        |at| Box::pin(whole::is_full(at)),
    ),
    (
        "whole: images are small and labelled, containers locked in",
        |at| Box::pin(whole::is_locked_in(at)),
    ),
    (
        "mongod: init has made every account, and does nothing when it runs again",
        |at| Box::pin(mongod::is_initialised(at)),
    ),
    ("mongod: each account can do its work and no more", |at| {
        Box::pin(mongod::has_least_rights(at))
    }),
    (
        "mongod: connections without TLS or password are refused",
        |at| Box::pin(mongod::is_closed(at)),
    ),
    (
        "mongod: a new certificate is loaded without a restart",
        |at| Box::pin(mongod::rotates(at)),
    ),
    (
        "access: nothing is accessible without signing in, 500 paths by 6 methods",
        |at| Box::pin(access::is_refused(at)),
    ),
    ("access: headers on every answer, TLS 1.2 or later", |at| {
        Box::pin(access::is_safe(at))
    }),
    ("access: password guessing is rate limited", |at| {
        Box::pin(access::is_slow(at))
    }),
    ("db: read-only", |at| Box::pin(browsing::reads_only(at))),
    (
        "page: complete, and marks data as stale while mongod is away",
        |at| Box::pin(page::marks_stale_data(at)),
    ),
    ("network: exactly the expected ports are published", |at| {
        Box::pin(network::ports(at))
    }),
    (
        "network: mongod and mongo-express have no outbound access",
        |at| Box::pin(network::have_no_outbound_access(at)),
    ),
    (
        "network: the firewall lets in only the listed addresses",
        |at| Box::pin(network::firewall(at)),
    ),
    (
        "memory: with a page open, a backup and a scan, all within their limits",
        |at| Box::pin(memory::stays_within_limits(at)),
    ),
    (
        "restarts: each under 20 requests a second, without failures elsewhere",
        |at| Box::pin(restarts::affect_no_other_service(at)),
    ),
];

/// Checks that run last: each list in order, and the lists at the same time. Only the first list is about the project of the checks above.
const LANES: [&[(&str, Check)]; 2] = [
    &[
        ("crashes: every container comes back after kill -9", |at| {
            Box::pin(crashes::all_come_back(at))
        }),
        (
            "crashes: another program has Caddy's port, and mongod runs",
            |at| Box::pin(crashes::a_taken_port_stops_caddy_only(at)),
        ),
        (
            "crashes: mongod killed during writes has every acknowledged one",
            |at| Box::pin(crashes::writes_stay(at)),
        ),
        ("runbook: its commands work", |at| {
            Box::pin(runbook::commands_work(at))
        }),
        ("whole: down and up, and nothing is lost", |at| {
            Box::pin(whole::data_survives_down(at))
        }),
        (
            "rebuild: moved to another droplet, and back after its loss",
            |at| Box::pin(rebuild::moves_and_comes_back(at, false)),
        ),
    ],
    &[("deploy: first, unchanged, reverted, rolled back", |at| {
        Box::pin(deploy::deploys_and_rolls_back(at))
    })],
];

/// Checks that take minutes, and run only when they are named.
const BY_NAME: &[(&str, Check)] = &[
    (
        "gigabyte: everything fits a small droplet, with AC's amount of data",
        |at| Box::pin(gigabyte::carries_a_droplet(at)),
    ),
    (
        "full disk: it is shown, and no document is lost, on a rebuilt droplet",
        |at| Box::pin(rebuild::moves_and_comes_back(at, true)),
    ),
];

/// Starts the project and runs them.
pub(super) async fn run(droplet: &Droplet<'_>, filters: &[String]) -> Result<()> {
    say::step(&format!(
        "{} --env-file ops/demo/demo.env up",
        droplet.engine.compose_words().join(" ")
    ));
    droplet.compose(&["up", "--detach", "--no-build"]).await?;
    let (mut failed, mut starts) = (Vec::new(), true);
    let chosen = |name: &str| filters.iter().any(|filter| name.contains(filter.as_str()));
    let by_name = BY_NAME.iter().filter(|(name, _)| chosen(name));
    for (name, check) in CHECKS.iter().chain(by_name) {
        // The remaining checks need the first one.
        let begins = name.ends_with("within 60 s");
        let meant = filters.is_empty() || chosen(name);
        if !begins && !meant {
            continue;
        }
        let outcome = checked(droplet, name, *check).await;
        if begins && outcome.is_err() {
            starts = false;
        }
        failed.extend(outcome.err());
        if !starts {
            break;
        }
    }
    if starts {
        let meant = |name: &str| filters.is_empty() || chosen(name);
        let lanes = LANES.into_iter().map(async |lane| {
            let mut failed = Vec::new();
            for (name, check) in lane.iter().filter(|(name, _)| meant(name)) {
                failed.extend(checked(droplet, name, *check).await.err());
            }
            failed
        });
        failed.extend(futures_util::future::join_all(lanes).await.concat());
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!(
        "{} checks in Docker failed: {}",
        failed.len(),
        failed.join("; ")
    )
}

/// Runs a check, and prints its outcome and duration.
///
/// # Errors
/// When it failed: its name, and why.
async fn checked(droplet: &Droplet<'_>, name: &'static str, check: Check) -> Result<(), String> {
    let began = Instant::now();
    match check(droplet).await {
        Ok(()) => {
            let seconds = began.elapsed().as_secs_f64();
            say::done(&format!("{name} ({seconds:.1} s)"));
            Ok(())
        }
        Err(error) => {
            let error = error.context(name);
            say::failed(&error);
            Err(format!("{error:#}"))
        }
    }
}
