//! `cargo xtask bench`: how small and how quick the optimised services are, in tables. Nothing here fails for being slow.

mod database;
mod storage;

use anyhow::Result;
use clap::{Args, ValueEnum};

/// What to measure, and with what.
#[derive(Args)]
pub struct Bench {
    /// Only one of the services
    #[arg(long)]
    only: Option<Only>,
    /// How much demo data for silo-db-api: 1 is 128 thousand documents
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Seconds of load for each row
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// How many keys the scanned bucket has; the larger one has four times as many
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
}

/// One part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// silo-db-api
    Database,
    /// silo-storage-api, beside rclone
    Storage,
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
