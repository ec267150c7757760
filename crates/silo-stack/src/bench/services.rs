//! Memory of silo-services-probe with twenty probes, with a history of a day and of ninety, and CPU time per round of checks.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};
use silo_services_probe::history::{History, Tally};
use silo_testkit::ac::{Behaviour, Role, Simulator};
use silo_testkit::say;
use silo_testkit::service::Service;
use silo_testkit::wait::wait_for;
use tempfile::TempDir;
use tokio::process::Command;

use super::measure::{mib, resident, row, spent};
use crate::build::build;

/// Number of probes, and their interval.
const PROBES: usize = 20;
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Number of rounds measured.
const ROUNDS: u32 = 12;
/// Number of timed requests, and the interval between them: 100 a second.
const ASKED: usize = 1000;
const REQUEST_INTERVAL: Duration = Duration::from_millis(10);

/// Measures it with nothing to remember, with a day, and with ninety.
pub(super) async fn run() -> Result<()> {
    let program = build(true)?.join("silo-services-probe");
    let storage = Simulator::start(Role::Http).await?;
    let usage = serde_json::json!({"bytes": 1, "objects": 1, "knownBytes": 1, "scan": {"scanning": false, "objects": null}});
    storage.behave(Behaviour::silo_service(&usage));
    let mut simulators = Vec::new();
    for _ in 0..PROBES {
        simulators.push(Simulator::start(Role::Oven).await?);
    }
    println!("\nsilo-services-probe, optimised, {PROBES} probes of kind oven on loopback");
    row("what it remembers", &["MiB", "start, ms", "file, KiB"]);
    for (name, days) in [("nothing", 0), ("a day", 1), ("90 days", 90)] {
        let folder = TempDir::with_prefix("silo-bench-")?;
        remember(folder.path(), days)?;
        let started = Instant::now();
        let service = start(&program, folder.path(), &simulators, &storage).await?;
        let took = started.elapsed().as_millis();
        all_checked(&service).await?;
        let id = service.process.id().context("it runs")?;
        let file = std::fs::metadata(folder.path().join("kept/history.db"))?.len() / 1024;
        row(
            name,
            &[mib(resident(id)?), took.to_string(), file.to_string()],
        );
        if days == 1 {
            rounds(id).await?;
            answers(&service).await?;
            row("resident memory after that, MiB", &[mib(resident(id)?)]);
        }
    }
    Ok(())
}

/// Writes a history of so many days with twenty probes every 30 s, through the service's own history.
fn remember(folder: &Path, days: u32) -> Result<()> {
    let mut history = History::open(&folder.join("kept"))?;
    let now = Timestamp::now();
    for probe in 0..PROBES {
        let name = format!("probe-{probe}");
        for hour in 0..days.saturating_sub(2) * 24 {
            let tally = Tally {
                up: 119,
                failed: 1,
                answered_ms: 119 * 40,
                ..Tally::default()
            };
            let age = i64::from(days * 24 - hour);
            history.note(&name, now - SignedDuration::from_hours(age), tally);
        }
        for minute in 0..days.min(2) * 24 * 60 {
            let tally = Tally {
                up: 2,
                answered_ms: 80,
                ..Tally::default()
            };
            let age = i64::from(1 + minute);
            history.note(&name, now - SignedDuration::from_mins(age), tally);
        }
    }
    Ok(())
}

async fn start(
    program: &Path,
    folder: &Path,
    simulators: &[Simulator],
    storage: &Simulator,
) -> Result<Service> {
    let mut toml = String::new();
    for name in [
        "oven",
        "session",
        "atproto",
        "silo-db-api",
        "silo-storage-api",
        "silo-backup",
    ] {
        writeln!(toml, "[[probes]]\nname = \"{name}\"\nenabled = false")?;
    }
    for (at, simulator) in simulators.iter().enumerate() {
        let url = simulator.url();
        writeln!(
            toml,
            "[[probes]]\nname = \"probe-{at}\"\nkind = \"oven\"\nurl = \"{url}\""
        )?;
    }
    let file = folder.join("silo.toml");
    std::fs::write(&file, toml)?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("SILO_CONFIG", file)
        .env("PROBE_FOLDER", folder.join("kept"))
        .env("PROBE_SECONDS", PROBE_INTERVAL.as_secs().to_string())
        .env("STORAGE_API_URL", storage.url())
        .env("CONNECTIVITY_CHECK", "none");
    Ok(Service::start("silo-services-probe", command).await)
}

async fn all_checked(service: &Service) -> Result<()> {
    let up = wait_for(Duration::from_secs(20), || async {
        let up = service.get("/api/services").await.json_or_null()["data"]["up"].as_u64()?;
        (up == PROBES as u64).then_some(())
    });
    up.await.context("not all services are up")
}

/// Measures CPU time per round of checks, without other requests.
async fn rounds(id: u32) -> Result<()> {
    say::step(&format!(
        "{ROUNDS} rounds of {PROBES} checks, {} s",
        (PROBE_INTERVAL * ROUNDS).as_secs()
    ));
    let (before, _) = spent(id).context("it runs")?;
    tokio::time::sleep(PROBE_INTERVAL * ROUNDS).await;
    let (after, _) = spent(id).context("it runs")?;
    let each = (after - before).as_secs_f64() * 1000.0 / f64::from(ROUNDS);
    row(
        &format!("CPU of one round of {PROBES}, ms"),
        &[format!("{each:.1}")],
    );
    Ok(())
}

async fn answers(service: &Service) -> Result<()> {
    say::step(&format!("asking {ASKED} times, 100 a second"));
    row(
        "path, at 100 requests a second",
        &["p50, ms", "p95, ms", "most, ms"],
    );
    for path in [
        "/api/overview",
        "/api/services",
        "/api/services/probe-0",
        "/api/services/probe-0/history?range=90d",
    ] {
        let mut took = Vec::new();
        let mut beat = tokio::time::interval(REQUEST_INTERVAL);
        for _ in 0..ASKED {
            beat.tick().await;
            let started = Instant::now();
            let reply = service.get(path).await;
            if reply.status != 200 {
                bail!("{path}: {}", reply.status);
            }
            took.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        took.sort_by(f64::total_cmp);
        let at = |part: usize| format!("{:.2}", took[(took.len() - 1) * part / 100]);
        row(path, &[at(50), at(95), at(100)]);
    }
    Ok(())
}
