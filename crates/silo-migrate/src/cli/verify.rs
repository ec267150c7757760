//! `silo-migrate verify-cutover` and `silo-migrate decommission-check`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use silo_cli::exit::EXIT_DIFFERENT;
use silo_mongo::compare::{self, Request};
use tokio::time::{Instant, sleep};

use super::Context;
use crate::copy;
use crate::error::Error;
use crate::server;
use crate::verify::{self, Condition, CutoverState};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Arguments of `verify-cutover`.
#[derive(Args)]
pub(super) struct VerifyCutover {
    /// Address of silo-db-api
    #[arg(long, env = "DB_API_URL", default_value = "http://127.0.0.1:7101")]
    db_api: String,
    /// File with the connection string of the old cluster, readable only by you
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,
    /// Wait at most so many seconds; 0 looks once
    #[arg(long, default_value_t = 300)]
    wait: u64,
}

impl VerifyCutover {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode, Error> {
        let old = match &self.old {
            Some(file) => Some(server::open(file, Some("admin")).await?),
            None => None,
        };
        context
            .progress
            .begin("waiting for clients", None, "clients");
        let deadline = Instant::now() + Duration::from_secs(self.wait);
        loop {
            let state = verify::state(&self.db_api, old.as_ref()).await?;
            if state.is_done() || Instant::now() >= deadline {
                context.out.result(&state, || text(&state));
                return Ok(if state.is_done() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::from(EXIT_DIFFERENT)
                });
            }
            context.progress.at(&state.missing.join(", "));
            tokio::select! {
                () = context.stop.cancelled() => return Err(Error::Interrupted),
                () = sleep(PAUSE) => {}
            }
        }
    }
}

fn text(state: &CutoverState) -> String {
    if state.is_done() {
        return "every expected client is connected to Silo".into();
    }
    let mut lines = Vec::new();
    for name in &state.missing {
        lines.push(format!("{name} is not connected to Silo"));
    }
    for name in &state.left_behind {
        lines.push(format!("{name} is connected to the old cluster"));
    }
    lines.extend(state.unknown.iter().cloned());
    lines.join("\n")
}

/// Arguments of `decommission-check`.
#[derive(Args)]
pub(super) struct DecommissionCheck {
    /// File with the connection string of the old cluster, readable only by you
    old: PathBuf,
    /// File with the connection string of Silo, readable only by you
    silo: PathBuf,
    /// Name of the database on both. Default: that of each connection string
    #[arg(long, env = "MONGODB_NAME")]
    database: Option<String>,
    /// Address of silo-db-api
    #[arg(long, env = "DB_API_URL", default_value = "http://127.0.0.1:7101")]
    db_api: String,
    /// Address of silo-backup
    #[arg(long, env = "BACKUP_API_URL", default_value = "http://127.0.0.1:7104")]
    backup_api: String,
    /// Nights that must have a good backup
    #[arg(long, default_value_t = 7)]
    nights: u32,
}

impl DecommissionCheck {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode, Error> {
        let database = self.database.as_deref();
        let old = server::open(&self.old, database).await?;
        let silo = server::open(&self.silo, database).await?;
        let state = verify::state(&self.db_api, Some(&old)).await?;
        let mut conditions = vec![Condition {
            name: "every expected client is connected to Silo, and none to the old cluster",
            holds: state.is_done(),
            detail: text(&state),
        }];
        conditions.extend(verify::backups(&self.backup_api, self.nights, Timestamp::now()).await?);
        let written = copy::written_since(&old, &silo).await?;
        conditions.push(Condition {
            name: "nothing was written to the old cluster since the last change that was followed",
            holds: written == 0,
            detail: format!("{written} changes"),
        });
        context.progress.begin("comparing", None, "documents");
        let progress = |name: &str, documents: u64| {
            context.progress.at(name);
            context.progress.add(documents);
        };
        let compared = compare::compare(&old, &silo, &Request::default(), &progress).await?;
        // What Silo has got since is no loss.
        let lost: u64 = compared
            .collections
            .iter()
            .map(|it| it.missing_documents)
            .sum();
        conditions.push(Condition {
            name: "everything in the old cluster is in Silo",
            holds: lost == 0,
            detail: format!("{lost} documents of the old cluster are not in Silo"),
        });
        let done = conditions.iter().all(|condition| condition.holds);
        context.out.result(
            &serde_json::json!({ "done": done, "conditions": conditions }),
            || {
                let line = |condition: &Condition| {
                    let mark = if condition.holds { "✓" } else { "✗" };
                    format!("{mark} {}: {}", condition.name, condition.detail)
                };
                conditions.iter().map(line).collect::<Vec<_>>().join("\n")
            },
        );
        Ok(if done {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(EXIT_DIFFERENT)
        })
    }
}
