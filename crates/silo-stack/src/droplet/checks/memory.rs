//! Memory of all containers while a browser shows the page, a backup is made and storage is scanned.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use silo_testkit::say;
use silo_testkit::wait::wait_for;

use crate::droplet::compose::{ALL, Droplet, SIGN_IN};

/// The most that each may have, in MiB, when the work is done: all resident memory, and without pages of files; and the most that it may have had.
const MOST: [(&str, f64, f64, f64); 7] = [
    ("caddy", 64.0, 24.0, 64.0),
    // Signing in takes memory on purpose.
    ("silo-gate", 24.0, 12.0, 40.0),
    ("silo-db-api", 24.0, 12.0, 24.0),
    ("silo-storage-api", 24.0, 12.0, 24.0),
    ("silo-services-probe", 24.0, 12.0, 24.0),
    // 64 MiB during a backup. Of the rest afterwards, 16 MiB are pages of the program's file, which the kernel may drop.
    ("silo-backup", 24.0, 10.0, 64.0),
    // A shell; and mongosh, for seconds.
    ("mongo-setup", 24.0, 4.0, 192.0),
];

pub(super) async fn stays_within_limits(droplet: &Droplet<'_>) -> Result<()> {
    super::page::drive(droplet, "memory:", async |verb, what| match verb {
        "work" => {
            work(droplet).await?;
            measure(droplet).await
        }
        _ => bail!("the script asks to {verb} {what}, which is nothing known"),
    })
    .await
}

/// Makes a backup while storage is scanned.
pub(super) async fn work(droplet: &Droplet<'_>) -> Result<()> {
    let client = droplet.client().await?;
    let (user, password) = SIGN_IN;
    let post = async |path: &str| {
        let asked = droplet
            .ask(&client, Method::POST, path)
            .basic_auth(user, Some(password))
            .send()
            .await?;
        let status = asked.status();
        ensure!(status == 202, "{path}: {status} {}", asked.text().await?);
        Ok(())
    };
    let before =
        droplet.get(&client, "/api/backup/status").await?["data"]["lastAttempt"]["id"].clone();
    post("/api/backup/run").await?;
    post("/api/storage/rescan").await?;
    let made = wait_for(Duration::from_secs(120), || async {
        let attempt =
            droplet.get(&client, "/api/backup/status").await.ok()?["data"]["lastAttempt"].clone();
        (attempt["id"] != before && attempt["outcome"] == "good").then_some(())
    });
    made.await.context("the backup was not made")?;
    // The work after a backup, such as pruning, ends. What remains then is measured below.
    let most = MOST.iter().find(|(name, ..)| *name == "silo-backup");
    wait_for(Duration::from_secs(10), || async {
        let taken = taken(droplet, "silo-backup").await.ok()?;
        most.is_none_or(|(_, most, most_own, _)| taken.now <= *most && taken.own <= *most_own)
            .then_some(())
    })
    .await;
    Ok(())
}

/// Memory of all processes of a container, in MiB.
#[derive(Default)]
struct Taken {
    /// Resident memory.
    now: f64,
    /// Resident memory without pages of the program's file, which the kernel may drop.
    own: f64,
    /// The most it ever had.
    peak: f64,
}

async fn taken(droplet: &Droplet<'_>, service: &str) -> Result<Taken> {
    let id = droplet.container(service).await?;
    let processes = droplet
        .engine
        .output(&["docker", "top", &id, "-o", "pid"])
        .await?;
    let mut taken = Taken::default();
    for pid in processes.lines().skip(1).map(str::trim) {
        taken.now += resident(pid, "VmRSS:")?;
        taken.own += resident(pid, "RssAnon:")?;
        taken.peak += resident(pid, "VmHWM:")?;
    }
    Ok(taken)
}

/// Reports current and peak memory of each service, and compares them with the limits.
async fn measure(droplet: &Droplet<'_>) -> Result<()> {
    let (mut sum, mut sum_own, mut over) = (0.0, 0.0, Vec::new());
    for service in ALL {
        let Taken { now, own, peak } = taken(droplet, service).await?;
        say::step(&format!(
            "{service:<20} {now:>6.1} MiB ({own:.1} of its own), at most {peak:>6.1} MiB"
        ));
        let killed = droplet.inspect(service, "{{.State.OOMKilled}}").await?;
        ensure!(killed == "false", "{service} ran out of memory");
        let Some((_, most, most_own, most_ever)) = MOST.iter().find(|(name, ..)| *name == service)
        else {
            continue;
        };
        sum += now;
        sum_own += own;
        if now > *most || own > *most_own || peak > *most_ever {
            over.push(format!(
                "{service} has {now:.1} MiB, {own:.1} of its own, and had {peak:.1}; it may have {most}, {most_own} and {most_ever}"
            ));
        }
    }
    say::step(&format!(
        "{:<20} {sum:>6.1} MiB ({sum_own:.1} of their own) without mongod, mongo-express and the demo",
        "together"
    ));
    ensure!(over.is_empty(), "{}", over.join("; "));
    Ok(())
}

/// A line of `/proc/PID/status`, in MiB.
fn resident(pid: &str, what: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(what))
        .context("/proc has no memory of the process")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
