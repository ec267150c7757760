//! `silo-backup restore`.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use silo_core::units::whole_millis;

use super::print::Printer;
use super::show;
use super::target::{TargetArgs, destination, open};
use crate::context::Context;
use crate::error::Error;
use crate::progress::Reporter;
use crate::restore::erasure;
use crate::restore::{self, Target};
use crate::verification;

#[derive(Args)]
pub(super) struct Restore {
    /// Id of the backup, its beginning, or latest (the newest good backup)
    backup: String,
    #[command(flatten)]
    to: TargetArgs,
    /// A new name: a database that does not exist
    #[arg(long)]
    database: String,
    /// Read the second copy
    #[arg(long)]
    copy: bool,
    /// Remove again what belongs to accounts that were deleted after the backup was made
    #[arg(long)]
    apply_erasures: bool,
    /// Verify and look, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Restore {
    pub(super) async fn run(
        self,
        context: &Context,
        out: &Printer,
        report: &Reporter,
    ) -> Result<ExitCode, Error> {
        let settings = &context.settings;
        let repository = destination(context, self.copy)?;
        let contents = repository.contents().await?;
        let manifest = &contents.find(&self.backup)?.manifest;
        if manifest.archive.recipient.is_some() && settings.identity.is_none() {
            return Err(Error::Refused(
                "the backup is encrypted: set BACKUP_AGE_IDENTITY to its private key".into(),
            ));
        }
        let uri = self.to.uri(context)?;
        let client = open(&uri).await?;
        let target = Target {
            database: client.database(&self.database),
            client,
        };
        restore::guard(
            manifest,
            Some((&settings.mongo, &settings.database)),
            &target,
            &uri,
        )
        .await?;
        verification::verify(context, repository, manifest, report).await?;
        let live = context.client.database(&settings.database);
        let mut restored = show::Restored::new(manifest, &self.database);
        if !self.dry_run {
            let began = Instant::now();
            restore::restore(
                repository,
                manifest,
                &target,
                settings.identity.as_ref(),
                report,
                &context.stop,
            )
            .await?;
            restored.duration_ms = Some(whole_millis(began.elapsed()));
            // Without the source database there are no tombstones to apply. This is reported, and does not fail the restore.
            match erasure::erase(&live, &target.database, manifest.as_of, self.apply_erasures).await
            {
                Ok(erasures) => restored.erasures = Some(erasures),
                Err(error) if self.apply_erasures => return Err(error),
                Err(error) => restored.erasures_unknown = Some(error.to_string()),
            }
        }
        out.result(&restored, || restored.text());
        Ok(ExitCode::SUCCESS)
    }
}
