//! Command line: results on standard output, progress and messages on standard error, and an exit code by kind of error.

mod compare;
mod copy;
mod cutover;
mod import;
mod sqlite;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use silo_cli::exit::EXIT_USAGE;
use silo_cli::print::{self, Printer};
use silo_cli::progress::Reporter;
use silo_core::logging::{self, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::NAME;
use crate::error::{Error, exit_codes};

/// The migration to Silo: import, copy, compare, cut over, verify.
#[derive(Parser)]
#[command(name = "silo-migrate", version, after_help = exit_codes())]
struct Arguments {
    /// Results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// No progress
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Import a JSON backup: a folder with _manifest.json and one file per collection
    Import(import::Import),
    /// Record the cluster time of the source before it is exported as JSON, so that copy --follow goes on after the import
    Begin(copy::Begin),
    /// Copy a database over the network, and follow its changes
    Copy(copy::Copy),
    /// Compare two databases: documents, options and indexes
    Compare(compare::Compare),
    /// Replace the old connection string in .env files, list them, check them, or undo
    Cutover(cutover::Cutover),
    /// Export the database into an SQLite file
    ExportSqlite(sqlite::ExportSqlite),
    /// Wait until every expected client is connected to Silo, and none to the old cluster
    VerifyCutover(verify::VerifyCutover),
    /// Check what must be true before the old cluster is given up
    DecommissionCheck(verify::DecommissionCheck),
}

/// Output, progress and stop signal of a command.
struct Context {
    out: Printer,
    progress: Reporter,
    stop: CancellationToken,
}

/// Parses the command line and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are not errors.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    logging::start(LogFormat::Text, "warn");
    let context = Context {
        out: Printer {
            program: NAME,
            json: arguments.json,
        },
        progress: Reporter::default(),
        stop: CancellationToken::new(),
    };
    let done = run(&context, arguments.command, arguments.quiet);
    done.unwrap_or_else(|error| {
        context.out.error(error.code(), &error.to_string());
        ExitCode::from(error.exit())
    })
}

#[tokio::main]
async fn run(context: &Context, command: Command, quiet: bool) -> Result<ExitCode, Error> {
    stop_on_signals(context)?;
    let bar = print::follow(&context.progress, NAME, quiet);
    let done = match command {
        Command::Import(import) => import.run(context).await,
        Command::Begin(begin) => begin.run(context).await,
        Command::Copy(copy) => copy.run(context).await,
        Command::Compare(compare) => compare.run(context).await,
        Command::Cutover(cutover) => cutover.run(context).await,
        Command::ExportSqlite(export) => export.run(context).await,
        Command::VerifyCutover(verify) => verify.run(context).await,
        Command::DecommissionCheck(check) => check.run(context).await,
    };
    bar.end().await;
    done
}

/// Stops cleanly on SIGTERM and SIGINT.
fn stop_on_signals(context: &Context) -> Result<(), Error> {
    let failed =
        |error: std::io::Error| Error::File(format!("signals cannot be received: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = context.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}
