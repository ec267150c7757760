//! `silo-backup swap` and `unswap`.

use std::process::ExitCode;

use clap::Args;

use super::target::{TargetArgs, confirmed};
use crate::context::Context;
use crate::error::Error;
use crate::restore::swap;
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
        let what =
            format!("{restored} takes the place of {database}, which is kept under another name.");
        confirmed(database, self.confirm, &what)?;
        let client = self.to.client(context).await?;
        // A backup of a half-moved database would be wrong.
        let swapped = context
            .leased(report, async |_| {
                swap::swap(&client, database, restored, report).await
            })
            .await?;
        out.result(&swapped, || {
            format!(
                "{} now has the contents of {}; its previous contents are in {}",
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
