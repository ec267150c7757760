//! `silo-backup swap` and `unswap`.

use std::process::ExitCode;

use clap::Args;

use super::target::{TargetArgs, confirmed};
use crate::context::Context;
use crate::error::Error;
use crate::restore::Selection;
use crate::restore::swap::{self, Scope};
use silo_cli::print::Printer;
use silo_cli::progress::Reporter;

#[derive(Args)]
pub(super) struct Swap {
    /// The live database
    #[arg(long)]
    database: String,
    /// The restored database
    #[arg(long)]
    restored: String,
    /// Swap this collection only; can be repeated
    #[arg(long, value_name = "COLLECTION")]
    only: Vec<String>,
    /// Swap all, although the restored database lacks collections of the live one
    #[arg(long, conflicts_with = "only")]
    incomplete: bool,
    /// The live database's name, to confirm; without it a terminal asks for it
    #[arg(long, value_name = "DATABASE")]
    confirm: Option<String>,
    #[command(flatten)]
    to: TargetArgs,
}

impl Swap {
    pub(super) async fn run(
        self,
        context: &Context,
        out: &Printer,
        report: &Reporter,
    ) -> Result<ExitCode, Error> {
        let (database, restored) = (&self.database, &self.restored);
        let what = match self.only.join(", ") {
            names if names.is_empty() => {
                format!(
                    "{restored} takes the place of {database}, which is kept under another name."
                )
            }
            names => format!(
                "{names} of {restored} takes the place of what {database} has under that name, which is kept in another database."
            ),
        };
        let scope = Scope {
            only: Selection(self.only.clone()),
            incomplete: self.incomplete,
        };
        confirmed(database, self.confirm, &what)?;
        let client = self.to.client(context).await?;
        // A backup of a half-moved database would be wrong.
        let swapped = context
            .leased(report, async |_| {
                swap::swap(&client, database, restored, &scope, report).await
            })
            .await?;
        out.result(&swapped, || {
            let what = match swapped.only.join(", ") {
                names if names.is_empty() => "the contents".to_owned(),
                names => names,
            };
            format!(
                "{} now has {what} of {}; what it had before is in {}",
                swapped.database, swapped.restored, swapped.kept
            )
        });
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Args)]
pub(super) struct Unswap {
    /// The database that was swapped
    #[arg(long)]
    database: String,
    /// The database's name, to confirm; without it a terminal asks for it
    #[arg(long, value_name = "DATABASE")]
    confirm: Option<String>,
    #[command(flatten)]
    to: TargetArgs,
}

impl Unswap {
    pub(super) async fn run(
        self,
        context: &Context,
        out: &Printer,
        report: &Reporter,
    ) -> Result<ExitCode, Error> {
        let database = &self.database;
        let what = format!("{database} gets back its contents from before the last swap.");
        confirmed(database, self.confirm, &what)?;
        let client = self.to.client(context).await?;
        let back = context
            .leased(report, async |_| {
                swap::unswap(&client, database, report).await
            })
            .await?;
        out.result(&back, || {
            format!(
                "{} has its contents from before the swap; the restored ones are in {} again",
                back.database, back.restored
            )
        });
        Ok(ExitCode::SUCCESS)
    }
}
