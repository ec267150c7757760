//! `silo-migrate export-sqlite`.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use silo_cli::exit::EXIT_DIFFERENT;

use super::Context;
use crate::error::Error;
use crate::server;
use crate::sqlite::{self, Exported};

/// Arguments of `export-sqlite`.
#[derive(Args)]
pub(super) struct ExportSqlite {
    /// SQLite file: created readable only by you, or brought up to date
    file: PathBuf,
    /// File with the connection string of the database, readable only by you; - for standard input
    #[arg(long, value_name = "FILE", env = "MONGODB_CONNECTION_STRING_FILE")]
    from_file: PathBuf,
    /// Name of the database. Default: that of the connection string
    #[arg(long, env = "MONGODB_NAME")]
    database: Option<String>,
}

impl ExportSqlite {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode, Error> {
        let database = server::open(&self.from_file, self.database.as_deref()).await?;
        let exported =
            sqlite::export(&database, &self.file, &context.progress, &context.stop).await?;
        context.out.result(&exported, || text(&exported));
        Ok(if exported.is_complete() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(EXIT_DIFFERENT)
        })
    }
}

fn text(exported: &Exported) -> String {
    let mut text = String::new();
    for table in &exported.tables {
        // A string never fails to be written to.
        let _ = writeln!(
            text,
            "{}: {} documents, {} rows in {}",
            table.collection, table.documents, table.rows, table.table
        );
        for rejection in &table.rejections {
            let _ = writeln!(
                text,
                "  not a row, kept in the table documents: {rejection}"
            );
        }
    }
    for name in &exported.skipped {
        let _ = writeln!(text, "{name}: left out");
    }
    let _ = write!(
        text,
        "{} references to rows that do not exist",
        exported.unresolved_references
    );
    text
}
