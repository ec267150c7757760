//! `silo-backup export`, and how a moment is named.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::show;
use super::target::trust;
use crate::catalog::Catalog;
use crate::context::Context;
use crate::error::Error;
use crate::oplog::Position;
use crate::restore::WorkingFolder;
use crate::restore::moment::{self, Choice, Moment, Plan, Planned};
use silo_cli::print::Printer;
use silo_cli::progress::Reporter;

/// A moment after a backup, up to which the server's oplog or storage has all changes.
#[derive(Args)]
pub(super) struct MomentArgs {
    /// Moment: latest, a time (2026-11-26T03:00:00Z: all changes before this second), or a position (1764126000:7: all changes up to and with it)
    #[arg(long, value_name = "MOMENT")]
    at: Option<Moment>,
    /// Moment before the change of this position, such as 1764126000:7
    #[arg(long, value_name = "POSITION", conflicts_with = "at")]
    until_before: Option<Position>,
    /// Backup to begin at: its id, or the beginning of it. Default: the newest good one before the moment
    #[arg(long, value_name = "BACKUP")]
    base: Option<String>,
    /// Take the changes from storage, even if the server has them; needs --trust-bucket
    #[arg(long)]
    from_storage: bool,
}

impl MomentArgs {
    /// How the moment can be had; `None` if none was given.
    pub(super) async fn plan<'a>(
        &self,
        context: &Context,
        catalog: &'a Catalog,
        copy: bool,
        trust_bucket: bool,
    ) -> Result<Option<Planned<'a>>, Error> {
        let Some(moment) = self.at.or(self.until_before.map(Moment::Before)) else {
            return Ok(None);
        };
        let choice = Choice {
            base: self.base.as_deref(),
            copy,
            from_storage: self.from_storage,
        };
        let planned = moment::plan(context, catalog, moment, choice).await?;
        if planned.plan.chain.is_some() && !trust_bucket {
            return Err(Error::Refused(
                "the changes are read from storage; use --trust-bucket: whoever can write the bucket could have made them".into(),
            ));
        }
        Ok(Some(planned))
    }
}

#[derive(Args)]
pub(super) struct Export {
    #[command(flatten)]
    moment: MomentArgs,
    /// New file for the archive, which only you can read
    file: PathBuf,
    /// Read the backup from the second copy
    #[arg(long)]
    copy: bool,
    /// Accept changes from storage, and a backup that the database does not remember: whoever can write the bucket could have made them
    #[arg(long)]
    trust_bucket: bool,
    /// Show from which backup and up to which change, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Result of `export`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Exported {
    #[serde(flatten)]
    plan: Plan,
    /// The file; `null` if none was written.
    file: Option<PathBuf>,
    documents: Option<u64>,
    collections: Option<usize>,
    /// Size of the file in bytes.
    bytes: Option<u64>,
    /// SHA-256 of the file, in hexadecimal.
    sha256: Option<String>,
}

impl Export {
    pub(super) async fn run(
        self,
        context: &Context,
        out: &Printer,
        report: &Reporter,
    ) -> Result<ExitCode, Error> {
        let catalog = Catalog::read(context, &context.status_client).await;
        let planned = self
            .moment
            .plan(context, &catalog, self.copy, self.trust_bucket)
            .await?;
        let mut planned = planned
            .ok_or_else(|| Error::Refused("name a moment with --at or --until-before".into()))?;
        let (destination, entry) = planned.base();
        trust(destination, entry, self.trust_bucket)?;
        let manifest = if self.dry_run {
            None
        } else {
            let working = WorkingFolder::new(&context.settings.folder)?;
            Some(planned.write(context, &working, &self.file, report).await?)
        };
        let exported = Exported {
            plan: planned.plan,
            file: manifest.is_some().then_some(self.file),
            documents: manifest.as_ref().map(|manifest| manifest.documents()),
            collections: manifest.as_ref().map(|manifest| manifest.collections.len()),
            bytes: manifest.as_ref().map(|manifest| manifest.archive.bytes),
            sha256: manifest.map(|manifest| manifest.archive.sha256),
        };
        out.result(&exported, || exported.text());
        Ok(ExitCode::SUCCESS)
    }
}

impl Exported {
    fn text(&self) -> String {
        let written = match (&self.file, self.documents, self.bytes) {
            (Some(file), Some(documents), Some(bytes)) => format!(
                "{}: {documents} documents, {}; restore it with\n  mongorestore --gzip --archive={}",
                file.display(),
                show::bytes(bytes),
                file.display()
            ),
            _ => "nothing was written".into(),
        };
        format!("{}\n{written}", show::plan(&self.plan))
    }
}
