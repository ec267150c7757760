//! `silo-backup restore`.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use silo_core::units::whole_millis;

use super::export::MomentArgs;
use super::show;
use super::target::{TargetArgs, open, trust};
use crate::catalog::Catalog;
use crate::context::Context;
use crate::error::{EXIT_DIFFERENT, Error};
use crate::repository::manifest::Manifest;
use crate::restore::erasure::{self, Erasures};
use crate::restore::{self, Selection, Source, Target, WorkingFolder, preflight};
use crate::run::source_memory::SourceMemory;
use crate::verification;
use silo_cli::print::Printer;
use silo_cli::progress::Reporter;

#[derive(Args)]
pub(super) struct Restore {
    /// Id of the backup, its beginning, or latest (the newest good backup)
    #[arg(required_unless_present_any = ["at", "until_before"], conflicts_with_all = ["at", "until_before"])]
    backup: Option<String>,
    #[command(flatten)]
    moment: MomentArgs,
    #[command(flatten)]
    to: TargetArgs,
    /// Database to restore to; it must be empty or not exist
    #[arg(long)]
    database: String,
    /// Restore this collection only; can be repeated
    #[arg(long, value_name = "COLLECTION")]
    only: Vec<String>,
    /// Read the second copy
    #[arg(long)]
    copy: bool,
    /// Delete the data of accounts that were deleted after the backup
    #[arg(long)]
    apply_erasures: bool,
    /// Accept changes from storage, and a backup that the database does not remember: whoever can write the bucket could have made them
    #[arg(long)]
    trust_bucket: bool,
    /// Check the target and the backup, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl Restore {
    pub(super) async fn run(
        self,
        context: &Context,
        out: &Printer,
        report: &Reporter,
    ) -> Result<ExitCode, Error> {
        let settings = &context.settings;
        let catalog = Catalog::read(context, &context.status_client).await;
        let mut planned = self
            .moment
            .plan(context, &catalog, self.copy, self.trust_bucket)
            .await?;
        let (destination, entry) = match (&planned, &self.backup) {
            (Some(planned), _) => planned.base(),
            (None, backup) => catalog.find(backup.as_deref().unwrap_or("latest"), self.copy)?,
        };
        trust(destination, entry, self.trust_bucket)?;
        let mut manifest = entry.manifest.clone();
        let uri = self.to.uri(context)?;
        let client = open(&uri).await?;
        let target = Target {
            database: client.database(&self.database),
            client,
        };
        let selection = Selection(self.only.clone());
        let has_key = settings.identity.is_some();
        // A collection may have been created between the backup and the moment.
        let first = match &planned {
            Some(_) => selection.known_in(&manifest),
            None => selection.clone(),
        };
        let mut checks = preflight::checks(&manifest, &first, &target, has_key).await?;
        // Before it takes minutes to find out what is in a moment.
        let working = match &planned {
            Some(_) if preflight::refuse(&checks).is_ok() => {
                Some(WorkingFolder::new(&settings.folder)?)
            }
            _ => None,
        };
        let file = working
            .as_ref()
            .map(|working| working.path().join("archive.gz"));
        if let (Some(planned), Some(working), Some(file)) = (&mut planned, &working, &file) {
            manifest = planned.write(context, working, file, report).await?;
            checks = preflight::checks(&manifest, &selection, &target, has_key).await?;
        }
        let manifest = &manifest;
        let plan = planned.as_ref().map(|planned| planned.plan.clone());
        let mut restored = show::Restored::new(manifest, &selection, plan, &self.database, checks);
        if let Err(error) = preflight::refuse(&restored.preflight) {
            if self.dry_run {
                out.result(&restored, || restored.text());
            }
            return Err(error);
        }
        if file.is_none() {
            verification::verify(context, &destination.repository, manifest, report).await?;
        }
        if self.dry_run {
            out.result(&restored, || restored.text());
            return Ok(ExitCode::SUCCESS);
        }
        let began = Instant::now();
        let source = match &file {
            Some(file) => Source::File(file),
            None => Source::Stored(&destination.repository),
        };
        let outcome = restore::restore(
            source,
            manifest,
            &selection,
            &target,
            settings.identity.as_ref(),
            report,
            &context.stop,
        )
        .await?;
        restored.duration_ms = Some(whole_millis(began.elapsed()));
        let identical = outcome.is_identical();
        restored.outcome = Some(outcome);
        // Without the live database there are no tombstones to apply. This is reported, and does not fail the restore.
        let erased = self.erase(context, manifest, &target).await;
        let failed = self.apply_erasures && erased.is_err();
        match erased {
            Ok(erasures) => restored.erasures = Some(erasures),
            Err(error) => restored.erasures_unknown = Some(error.to_string()),
        }
        out.result(&restored, || restored.text());
        Ok(ExitCode::from(match (identical, failed) {
            (false, _) => EXIT_DIFFERENT,
            (true, true) => crate::error::EXIT_FAILED,
            (true, false) => 0,
        }))
    }

    /// Finds or deletes the data of accounts that were deleted after the backup, by the tombstones in the live database.
    async fn erase(
        &self,
        context: &Context,
        manifest: &Manifest,
        target: &Target,
    ) -> Result<Erasures, Error> {
        let settings = &context.settings;
        let client = &context.status_client;
        let memory = SourceMemory::read(client, &settings.database, false).await?;
        let is_source =
            memory.id() == manifest.source.id && settings.database == manifest.source.database;
        if !is_source || (self.to.is_default() && self.database == settings.database) {
            return Err(Error::Refused(
                "the live database is not the one that was backed up, so its deleted accounts are unknown".into(),
            ));
        }
        let live = client.database(&settings.database);
        erasure::erase(
            &live,
            &target.database,
            manifest.as_of,
            &settings.catalogue,
            self.apply_erasures,
        )
        .await
    }
}
