//! `silo-migrate cutover`.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use silo_cli::exit::EXIT_DIFFERENT;
use silo_cli::secret_file;
use silo_core::secret::Secret;
use silo_mongo::error::DatabaseError;
use silo_mongo::mongodb::bson::doc;
use silo_mongo::mongodb::options::ClientOptions;
use silo_mongo::mongodb::{Client, error};
use silo_mongo::privileges;

use super::Context;
use crate::cutover::{self, Found};
use crate::error::Error;

/// AC's cluster.
const OLD_HOST: &str = "aesthetic.qencn.mongodb.net";
/// Time limit for connecting with one string.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Actions that a service of AC needs on its database.
const NEEDED: [&str; 5] = ["find", "insert", "update", "remove", "createIndex"];

/// Arguments of `cutover`. Without an option it lists the connection strings in the files, without passwords.
#[derive(Args)]
pub(super) struct Cutover {
    /// Folders to search for .env files, or files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Host of the old cluster
    #[arg(long, default_value = OLD_HOST)]
    old_host: String,
    /// File with the new connection string, readable only by you
    #[arg(long, value_name = "FILE")]
    to_file: Option<PathBuf>,
    /// Replace the old connection string, and keep a copy of each file
    #[arg(long, requires = "to_file", conflicts_with_all = ["undo", "check"])]
    apply: bool,
    /// Restore the files from their copies
    #[arg(long, conflicts_with = "check")]
    undo: bool,
    /// Connect with every connection string, and list those that do not work
    #[arg(long)]
    check: bool,
    /// With --apply or --undo: only list what would change
    #[arg(long, conflicts_with = "check")]
    dry_run: bool,
}

impl Cutover {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode, Error> {
        let files = cutover::find(&self.paths)?;
        if self.undo {
            let what = if self.dry_run {
                "would be restored"
            } else {
                "is restored"
            };
            let restored = cutover::undo(&files, self.dry_run)?;
            context.out.result(&json!({ "restored": restored }), || {
                match restored.as_slice() {
                    [] => "no file has a copy of before the cut-over".into(),
                    some => some
                        .iter()
                        .map(|file| format!("{} {what}", file.display()))
                        .collect::<Vec<_>>()
                        .join("\n"),
                }
            });
            return Ok(ExitCode::SUCCESS);
        }
        if self.check {
            return check(context, &files, &self.old_host).await;
        }
        let Some(new) = self.to_file.filter(|_| self.apply) else {
            let found = cutover::list(&files, &self.old_host)?;
            context
                .out
                .result(&json!({ "found": found }), || listed(&found));
            return Ok(ExitCode::SUCCESS);
        };
        let new = secret_file::read(&new).map_err(Error::Refused)?;
        let changes = cutover::plan(&files, &self.old_host, &new)?;
        usable(&new).await.map_err(|problem| {
            Error::Refused(format!(
                "the new connection string cannot be used: {problem}; nothing was changed"
            ))
        })?;
        let mut changed = Vec::new();
        for change in &changes {
            let applied = if self.dry_run {
                Ok(None)
            } else {
                change.apply(Timestamp::now()).map(Some)
            };
            let copy = applied.map_err(|error| {
                Error::Refused(format!(
                    "{error}; {} of {} files were changed, and --undo restores them",
                    changed.len(),
                    changes.len()
                ))
            })?;
            changed.push(json!({ "file": change.file(), "lines": change.lines, "copy": copy }));
        }
        context.out.result(&json!({ "changed": changed }), || {
            let line = |change: &cutover::Change| {
                format!("{}: lines {:?}", change.file().display(), change.lines)
            };
            let lines: Vec<String> = changes.iter().map(line).collect();
            match (lines.is_empty(), self.dry_run) {
                (true, _) => "no file has the old connection string".into(),
                (_, true) => format!("{}\nwould change", lines.join("\n")),
                (_, false) => format!("{}\nchanged; --undo restores them", lines.join("\n")),
            }
        });
        Ok(ExitCode::SUCCESS)
    }
}

/// Connects with every string.
async fn check(context: &Context, files: &[PathBuf], old_host: &str) -> Result<ExitCode, Error> {
    let mut failed = Vec::new();
    for (found, uri) in cutover::strings(files, old_host)? {
        if let Err(problem) = connected(&uri).await {
            failed.push((found, problem.to_string()));
        }
    }
    let json: Vec<_> = failed
        .iter()
        .map(|(found, problem)| json!({ "at": found, "problem": problem }))
        .collect();
    context
        .out
        .result(&json!({ "failed": json }), || match failed.as_slice() {
            [] => "every connection string works".into(),
            some => some
                .iter()
                .map(|(found, problem)| format!("{}: {problem}", place(found)))
                .collect::<Vec<_>>()
                .join("\n"),
        });
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_DIFFERENT)
    })
}

/// Connects and authenticates.
async fn connected(uri: &Secret) -> Result<(Client, String), String> {
    let options = ClientOptions::parse(uri.expose()).await;
    let mut options =
        options.map_err(|_unprintable| "it is not a usable connection string".to_owned())?;
    options.server_selection_timeout = Some(TIME_LIMIT);
    options.connect_timeout = Some(TIME_LIMIT);
    let database = options
        .default_database
        .clone()
        .unwrap_or_else(|| "test".into());
    let detail = |error: error::Error| DatabaseError::from(&error).detail().into_owned();
    let client = Client::with_options(options).map_err(detail)?;
    client
        .database("admin")
        .run_command(doc! { "ping": 1 })
        .await
        .map_err(detail)?;
    // The first command with credentials; ping needs none.
    client
        .database(&database)
        .run_command(doc! { "connectionStatus": 1 })
        .await
        .map_err(detail)?;
    Ok((client, database))
}

/// Connects, and checks the rights that a service needs.
async fn usable(uri: &Secret) -> Result<(), String> {
    let (client, database) = connected(uri).await?;
    let missing = privileges::missing(&client, &database, &NEEDED).await;
    let missing = missing.map_err(|error| error.detail().into_owned())?;
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "its account may not {} in {database}",
            missing.join(", ")
        ))
    }
}

fn place(found: &Found) -> String {
    format!("{}:{} {}", found.file.display(), found.line, found.name)
}

fn listed(all: &[Found]) -> String {
    let mut text = String::new();
    for found in all {
        let which = match (found.commented, found.old) {
            (true, _) => "commented out",
            (false, true) => "old cluster",
            (false, false) => "other",
        };
        let user = found
            .user
            .as_deref()
            .map_or_else(String::new, |user| format!("{user}@"));
        // A string never fails to be written to.
        let _ = writeln!(text, "{}: {user}{} ({which})", place(found), found.hosts);
    }
    if text.is_empty() {
        text = "no connection string found".into();
    }
    text.trim_end().to_owned()
}
