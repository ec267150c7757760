//! `silo-backup export`, and how a moment is named.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::show;
use crate::catalog::Catalog;
use crate::context::Context;
use crate::error::Error;
use crate::oplog::Position;
use crate::restore::moment::{self, Moment, Plan};
use silo_cli::print::Printer;
use silo_cli::progress::Reporter;

/// A moment after a backup, which the server's oplog still has.
#[derive(Args)]
pub(super) struct MomentArgs {
    /// Moment: latest, a time (2026-11-26T03:00:00Z: all changes before this second), or a position (1764126000:7: all changes up to and with it)
    #[arg(long, value_name = "MOMENT")]
    at: Option<Moment>,
    /// Moment before the change of this position, such as 1764126000:7
    #[arg(long, value_name = "POSITION", conflicts_with = "at")]
    until_before: Option<Position>,
}

impl MomentArgs {
    /// The moment, if one was given.
    pub(super) fn moment(&self) -> Option<Moment> {
        self.at.or(self.until_before.map(Moment::Before))
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
    /// Show from which backup and up to which change, and write nothing
    #[arg(long)]
    dry_run: bool,
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
        let moment = self.moment.moment().unwrap_or(Moment::Latest);
        let catalog = Catalog::read(context, &context.status_client).await;
        let mut planned = moment::plan(context, &catalog, moment, self.copy).await?;
        let manifest = if self.dry_run {
            None
        } else {
            Some(planned.write(context, &self.file, report).await?)
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
