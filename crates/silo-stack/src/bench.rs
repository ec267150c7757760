//! `cargo xtask bench`: how small and how quick the optimised services are, in tables. Nothing here fails for being slow.

mod backup;
mod database;
mod services;
mod storage;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

/// Benchmarks
#[derive(Args)]
pub struct Bench {
    /// Only one of the services
    #[arg(long)]
    only: Option<Only>,
    /// Scale of the demo data for silo-db-api: 1 is 128 thousand documents
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Seconds of load for each row
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Keys in the scanned bucket; the larger one has four times as many
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Megabytes in the large set of the backup; 0 leaves it out
    #[arg(long, default_value_t = 2000)]
    megabytes: usize,
}

/// One part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// silo-db-api
    Database,
    /// silo-storage-api, beside rclone
    Storage,
    /// silo-services-probe
    Services,
    /// silo-backup, beside gzip and rclone
    Backup,
}

impl Bench {
    /// Measures one service after the other.
    pub async fn run(self) -> Result<()> {
        if self.only.is_none_or(|only| only == Only::Database) {
            database::run(self.scale, self.seconds).await?;
        }
        if self.only.is_none_or(|only| only == Only::Storage) {
            storage::run(self.keys).await?;
        }
        if self.only.is_none_or(|only| only == Only::Services) {
            services::run().await?;
        }
        if self.only.is_none_or(|only| only == Only::Backup) {
            backup::run(self.scale, self.megabytes).await?;
        }
        Ok(())
    }
}

fn mib(kib: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure in a table")]
    let mib = kib as f64 / 1024.0;
    format!("{mib:.1}")
}

fn row(name: &str, cells: &[impl AsRef<str>]) {
    let cells: String = cells
        .iter()
        .map(|cell| format!("{:>12}", cell.as_ref()))
        .collect();
    println!("{name:<44}{cells}");
}

/// Resident memory of a process in KiB, as the kernel counts it.
fn resident(id: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.context("the kernel tells no VmRSS")?.trim().parse()?)
}

/// CPU time and peak memory (KiB) of a process so far, as the kernel counts them.
fn spent(id: u32) -> Option<(Duration, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    // A tick is a hundredth of a second on every Linux that Silo runs on.
    Some((
        Duration::from_millis(ticks * 10),
        peak.trim().strip_suffix(" kB")?.trim().parse().ok()?,
    ))
}
