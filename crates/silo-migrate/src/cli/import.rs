//! `silo-migrate import`.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Context;
use crate::error::Error;
use crate::import::{FileReport, Imported, Plan, Request};
use crate::json::dialect::Dialect;
use crate::json::types::Types;
use crate::server::TargetArgs;

/// Arguments of `import`.
#[derive(Args)]
pub(super) struct Import {
    /// Folder of the backup
    folder: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
    /// TOML file with the BSON types of fields, in addition to AC's
    #[arg(long, value_name = "FILE")]
    types: Option<PathBuf>,
    /// Print a types file for the fields whose type is not known, for review, and write nothing
    #[arg(long, conflicts_with = "dry_run")]
    infer: bool,
    /// Dialect of all files. Default: detected for each
    #[arg(long)]
    dialect: Option<Dialect>,
    /// Only this collection (can be repeated)
    #[arg(long, value_name = "COLLECTION")]
    only: Vec<String>,
    /// Leave out this collection (can be repeated); disposable for the list of AC's migration report
    #[arg(long, value_name = "COLLECTION")]
    skip: Vec<String>,
    /// Copy the files of left out collections into this folder
    #[arg(long, value_name = "FOLDER")]
    archive_skipped: Option<PathBuf>,
    /// The folder has no manifest: the files name the collections, and nothing is known about counts and indexes
    #[arg(long)]
    no_manifest: bool,
    /// Only read and check all files
    #[arg(long)]
    dry_run: bool,
}

impl Import {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode, Error> {
        let mut types = Types::of_ac().map_err(Error::Input)?;
        if let Some(file) = &self.types {
            let text = std::fs::read_to_string(file).map_err(Error::file(file))?;
            let more = Types::parse(&text);
            types = types
                .with(more.map_err(|error| Error::Input(format!("{}: {error}", file.display())))?);
        }
        let request = Request {
            folder: self.folder,
            manifest: !self.no_manifest,
            types,
            dialect: self.dialect,
            only: self.only,
            skip: self.skip,
            archive: self.archive_skipped,
        };
        let (progress, stop) = (context.progress.clone(), context.stop.clone());
        let plan = tokio::task::spawn_blocking(move || Plan::new(request, &progress, &stop));
        let plan = plan
            .await
            .map_err(|_panic| Error::File("reading the files was interrupted".into()))??;
        if self.infer {
            let proposal = plan.proposal();
            context.out.result(
                &serde_json::json!({ "types": proposal }),
                || match proposal.as_str() {
                    "" => "# The type of every field is known.".into(),
                    proposal => proposal.trim_end().to_owned(),
                },
            );
            return Ok(ExitCode::SUCCESS);
        }
        if self.dry_run {
            let checked = Imported {
                files: plan.files().to_vec(),
                skipped: plan.skipped().map(str::to_owned).collect(),
                ..Imported::default()
            };
            context.out.result(&checked, || text(&checked));
            plan.decided()?;
            return Ok(ExitCode::SUCCESS);
        }
        plan.decided()?;
        let database = self.target.open().await?;
        let imported = plan
            .run(&database, &context.progress, &context.stop)
            .await?;
        context.out.result(&imported, || {
            format!(
                "{}{} documents imported into {}",
                text(&imported),
                imported.documents,
                database.name()
            )
        });
        Ok(ExitCode::SUCCESS)
    }
}

/// One line per file, and what its dialect has lost.
fn text(imported: &Imported) -> String {
    let mut text = String::new();
    for FileReport {
        collection,
        file,
        dialect,
        documents,
        lossy,
        ..
    } in &imported.files
    {
        let note = if imported.complete_before.contains(collection) {
            ", imported before"
        } else {
            ""
        };
        // A string never fails to be written to.
        let _ = writeln!(
            text,
            "{file}: {documents} documents, {}{note}",
            dialect.name()
        );
        for field in lossy {
            let _ = writeln!(text, "  {field}");
        }
    }
    for name in &imported.skipped {
        let _ = writeln!(text, "{name}: left out");
    }
    text
}
