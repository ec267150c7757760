//! `cargo xtask bench`: speed and memory of the optimised services, in tables. A slow result is not a failure.

mod backup;
mod continuous;
mod database;
mod measure;
mod migrate;
mod services;
mod storage;

use anyhow::Result;
use clap::{Args, ValueEnum};

/// Benchmarks
#[derive(Args)]
pub struct Bench {
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<Only>,
    /// Scale of the demo data for silo-db-api: 1 is 128 thousand documents
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Seconds of load for each row
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Keys in the scanned bucket; the larger one has four times as many
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Seconds without storage, for continuous backup
    #[arg(long, default_value_t = 60)]
    outage: u64,
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
    /// Continuous backup
    Continuous,
    /// silo-migrate, beside mongoimport
    Migrate,
}

impl Bench {
    /// Measures one service after the other.
    pub async fn run(self) -> Result<()> {
        let wanted = |part| self.only.is_empty() || self.only.contains(&part);
        if wanted(Only::Database) {
            database::run(self.scale, self.seconds).await?;
        }
        if wanted(Only::Storage) {
            storage::run(self.keys).await?;
        }
        if wanted(Only::Services) {
            services::run().await?;
        }
        if wanted(Only::Backup) {
            backup::run(self.scale, self.megabytes).await?;
        }
        if wanted(Only::Continuous) {
            continuous::run(self.scale, self.seconds.max(60), self.outage).await?;
        }
        if wanted(Only::Migrate) {
            migrate::run(self.scale).await?;
        }
        Ok(())
    }
}
