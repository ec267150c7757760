//! Command line: results on standard output, progress and messages on standard error, and an exit code by kind of error.

mod commands;
mod print;
mod restore;
mod selftest;
mod show;
mod swap;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use silo_core::logging;
use silo_core::process::ServerConfig;
use silo_core::settings::SettingsReader;
use silo_web::healthcheck;
use silo_web::process::{listen, refuse_to_start};
use tokio::signal::unix::{SignalKind, signal};

use self::print::Printer;
use self::restore::Restore;
use self::swap::{Swap, Unswap};
use crate::context::Context;
use crate::error::{EXIT_USAGE, Error, exit_codes};
use crate::progress::Reporter;
use crate::settings::Settings;

/// Backups of a MongoDB database that are proven to restore.
#[derive(Parser)]
#[command(name = "silo-backup", version, after_help = exit_codes())]
pub struct Arguments {
    /// Results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// No progress
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve /api/backup/* and run scheduled backups (default command)
    Serve,
    /// Make a backup now
    Run,
    /// Check that the service in this container answers
    Healthcheck,
    /// List backups, the newest first
    List,
    /// Read a backup back, every byte of it, and compare it with its manifest
    Verify {
        /// Id of the backup, its beginning, or latest (the newest good backup)
        #[arg(default_value = "latest")]
        backup: String,
        /// Read the second copy
        #[arg(long)]
        copy: bool,
    },
    /// Restore a backup into a scratch database, compare, and drop it
    Drill {
        /// Id of the backup, its beginning, or latest (the newest good backup)
        #[arg(default_value = "latest")]
        backup: String,
    },
    /// Restore a backup into a new database
    Restore(Restore),
    /// Put a restored database in the place of the one that is used, which is kept under another name
    Swap(Swap),
    /// Undo the last swap
    Unswap(Unswap),
    /// Delete expired backups
    Prune {
        /// Show which backups would be deleted, and why the others are kept
        #[arg(long)]
        dry_run: bool,
        /// Bring this pruned backup back, whose archive is deleted seven days later
        #[arg(long, value_name = "ID", conflicts_with = "dry_run")]
        undo: Option<String>,
    },
    /// Count a held backup as good although it did not meet the expectations
    Accept {
        /// Id of the backup, or its beginning
        backup: String,
        /// Reason, which is recorded
        #[arg(long)]
        why: String,
    },
    /// Show the status of backups
    Status,
    /// Backup, verify, drill, and what prune would do, one after the other, with a report
    Selftest,
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
    let settings = match Settings::read(SettingsReader::from_environment()) {
        Ok(settings) => settings,
        Err(error) => return refuse_to_start(crate::settings::NAME, &error),
    };
    if matches!(arguments.command, Some(Command::Healthcheck)) {
        return healthcheck::ask(settings.process.bind);
    }
    let process = &settings.process;
    logging::start(process.log_format, filter(&arguments, process));
    let out = Printer {
        json: arguments.json,
    };
    let done = actix_web::rt::System::new().block_on(async {
        let context = Context::new(settings).await?;
        stop_on_signals(&context)?;
        match arguments.command.unwrap_or(Command::Serve) {
            Command::Serve => serve(context).await,
            command => {
                let report = Reporter::default();
                let bar = print::follow(&report, arguments.quiet);
                let done = command.run(&context, &out, &report).await;
                bar.end().await;
                done
            }
        }
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            out.error(&error);
            ExitCode::from(error.exit())
        }
    }
}

/// Log filter: an interactive command prints its progress itself, so only warnings are logged.
fn filter<'a>(arguments: &Arguments, process: &'a ServerConfig) -> &'a str {
    let served = matches!(arguments.command, None | Some(Command::Serve));
    if served || process.log_filter != "info" {
        &process.log_filter
    } else {
        "warn"
    }
}

/// Stops jobs cleanly on SIGTERM and SIGINT.
fn stop_on_signals(context: &Context) -> Result<(), Error> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stop = context.stop.clone();
    actix_web::rt::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

async fn serve(context: Context) -> Result<ExitCode, Error> {
    let listener =
        listen(context.settings.process.bind).map_err(|error| Error::Engine(error.to_string()))?;
    let (running, state) = crate::start(listener, context)?;
    running.wait().await?;
    // Running jobs have been asked to stop, and clean up.
    state.jobs.idle().await;
    log::info!("{} has stopped", crate::settings::NAME);
    Ok(ExitCode::SUCCESS)
}

impl Command {
    async fn run(
        self,
        context: &Context,
        out: &Printer,
        report: &Reporter,
    ) -> Result<ExitCode, Error> {
        match self {
            Self::Serve | Self::Healthcheck => Ok(ExitCode::SUCCESS),
            Self::Run => commands::run(context, out, report).await,
            Self::List => commands::list(context, out).await,
            Self::Verify { backup, copy } => {
                commands::verify(context, &backup, copy, out, report).await
            }
            Self::Drill { backup } => commands::drill(context, &backup, out, report).await,
            Self::Restore(restore) => restore.run(context, out, report).await,
            Self::Swap(swap) => swap.run(context, out, report).await,
            Self::Unswap(unswap) => unswap.run(context, out, report).await,
            Self::Prune { undo: Some(id), .. } => {
                commands::undo_prune(context, &id, out, report).await
            }
            Self::Prune { dry_run, .. } => commands::prune(context, dry_run, out, report).await,
            Self::Accept { backup, why } => commands::accept(context, &backup, &why, out).await,
            Self::Status => commands::status(context, out).await,
            Self::Selftest => selftest::run(context, out, report).await,
        }
    }
}
