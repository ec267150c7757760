//! Command line: results on standard output, progress and messages on standard error, and an exit code by kind of error.

mod chain;
mod commands;
mod export;
mod history;
mod restore;
mod selftest;
mod show;
mod swap;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use silo_cli::print::{self, Printer};
use silo_core::logging;
use silo_core::process::ServerConfig;
use silo_core::settings::SettingsReader;
use silo_web::healthcheck;
use silo_web::process::{listen, refuse_to_start};
use tokio::signal::unix::{SignalKind, signal};

use self::chain::Chain;
use self::export::Export;
use self::history::History;
use self::restore::Restore;
use self::swap::{Swap, Unswap};
use crate::audit::{self, AuditEntry};
use crate::context::Context;
use crate::continuous::local_copy;
use crate::error::{EXIT_USAGE, Error, exit_codes};
use crate::restore::WorkingFolder;
use crate::settings::Settings;
use crate::verification::drill::Choice;
use silo_cli::progress::Reporter;

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
    /// Restore a backup into the scratch database `silo_drill`, compare, and drop it; with continuous backup a random moment of the last week, too
    Drill {
        /// Id of the backup, its beginning, or latest (the newest good backup)
        #[arg(default_value = "latest")]
        backup: String,
        /// Read the second copy
        #[arg(long)]
        copy: bool,
        /// Restore it with this stock tool, too
        #[arg(long, value_name = "TOOL", value_parser = ["mongorestore"])]
        with: Option<String>,
    },
    /// Initialise the repositories; with --adopt, take over repositories that are not those of this database
    Init {
        /// Take over repositories of an earlier server, or accept that one is gone
        #[arg(long)]
        adopt: bool,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Rebuild the manifest of a backup from its archive
    Adopt {
        /// Key of the archive (data/ID...), or id of the backup
        key: String,
        /// Only read the archive
        #[arg(long)]
        dry_run: bool,
    },
    /// Acknowledge that a backup is missing or damaged, which ends its alarm
    Acknowledge {
        /// Full id of the backup, as `status` shows it
        backup: String,
        /// Reason, which is recorded
        #[arg(long)]
        why: String,
    },
    /// Pin a backup, so that it is never deleted
    Pin {
        /// Id of the backup, its beginning, or latest (the newest good backup)
        backup: String,
        /// Reason, which is recorded
        #[arg(long)]
        why: String,
    },
    /// Remove the pin of a backup
    Unpin {
        /// Id of the backup, or its beginning
        backup: String,
    },
    /// List recorded commands that changed something: who, what, and with which result
    Audit {
        /// Number of commands, the newest first
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Restore a backup, or a moment after one, into a new database
    Restore(Restore),
    /// Write the archive of a moment after a backup into a file, for mongorestore
    Export(Export),
    /// Show which moments can be restored from storage: the chains of continuous backup
    Chain(Chain),
    /// Prove continuous backup: the backup before the newest one and the changes in storage must give the newest one
    Prove,
    /// List changes of the database, to find the moment before a mistake; names of fields only, never values
    History(History),
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
    /// Self-test: run, verify, drill, and a dry run of prune, with a report
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
        program: crate::settings::NAME,
        json: arguments.json,
    };
    let done = actix_web::rt::System::new().block_on(async {
        let context = Context::new(settings).await?;
        stop_on_signals(&context)?;
        match arguments.command.unwrap_or(Command::Serve) {
            Command::Serve => serve(context).await,
            command => {
                let report = Reporter::default();
                let bar = print::follow(&report, crate::settings::NAME, arguments.quiet);
                let changes = command.changes();
                let done = command.run(&context, &out, &report).await;
                bar.end().await;
                if changes {
                    record(&context, done.as_ref().err()).await;
                }
                done
            }
        }
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            out.error(error.code(), &error.to_string());
            ExitCode::from(error.exit())
        }
    }
}

/// Records a command that may have changed something, with the user who ran it.
async fn record(context: &Context, error: Option<&Error>) {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let entry = AuditEntry {
        at: context.clock.now(),
        operator: user.unwrap_or_else(|| "command line".into()),
        command: arguments.join(" "),
        result: error.map_or_else(|| "ok".to_owned(), ToString::to_string),
    };
    audit::record(&context.status_client, &entry).await;
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
    WorkingFolder::remove_left_behind(&context.settings.folder);
    if !local_copy::is_needed(&context.settings) {
        local_copy::remove_except(&context.settings.folder, &[]);
    }
    let (running, state) = crate::start(listener, context)?;
    running.wait().await?;
    // Running jobs have been asked to stop, and clean up.
    state.jobs.idle().await;
    if let Some((continuous, _)) = &state.continuous {
        continuous.ended().await;
    }
    log::info!("{} has stopped", crate::settings::NAME);
    Ok(ExitCode::SUCCESS)
}

impl Command {
    /// `true` if the command may change a repository or a database.
    fn changes(&self) -> bool {
        match self {
            Self::Serve
            | Self::Healthcheck
            | Self::List
            | Self::Verify { .. }
            | Self::Status
            | Self::History(_)
            | Self::Chain(_)
            | Self::Audit { .. }
            | Self::Prune { dry_run: true, .. }
            | Self::Init { dry_run: true, .. }
            | Self::Adopt { dry_run: true, .. } => false,
            Self::Restore(restore) => !restore.dry_run,
            Self::Export(export) => !export.dry_run,
            _ => true,
        }
    }

    async fn run(
        self,
        context: &Context,
        out: &Printer,
        report: &Reporter,
    ) -> Result<ExitCode, Error> {
        match self {
            Self::Serve | Self::Healthcheck => Ok(ExitCode::SUCCESS),
            Self::Run => commands::run(context, out, report).await,
            Self::List => commands::list(context, out, report).await,
            Self::Verify { backup, copy } => {
                commands::verify(context, &backup, copy, out, report).await
            }
            Self::Drill { backup, copy, with } => {
                let choice = Choice::Named {
                    backup,
                    copy,
                    with_mongorestore: with.is_some(),
                };
                commands::drill(context, &choice, out, report).await
            }
            Self::Init { adopt, dry_run } => {
                commands::init(context, adopt, dry_run, out, report).await
            }
            Self::Adopt { key, dry_run } => {
                commands::adopt(context, &key, dry_run, out, report).await
            }
            Self::Acknowledge { backup, why } => {
                commands::acknowledge(context, &backup, &why, out, report).await
            }
            Self::Pin { backup, why } => {
                commands::pin(context, &backup, Some(&why), out, report).await
            }
            Self::Unpin { backup } => commands::pin(context, &backup, None, out, report).await,
            Self::Audit { limit } => commands::audit(context, limit, out).await,
            Self::Restore(restore) => restore.run(context, out, report).await,
            Self::Export(export) => export.run(context, out, report).await,
            Self::Prove => commands::prove(context, out, report).await,
            Self::Chain(chain) => chain.run(context, out, report).await,
            Self::History(history) => history.run(context, out, report).await,
            Self::Swap(swap) => swap.run(context, out, report).await,
            Self::Unswap(unswap) => unswap.run(context, out, report).await,
            Self::Prune { undo: Some(id), .. } => {
                commands::undo_prune(context, &id, out, report).await
            }
            Self::Prune { dry_run, .. } => commands::prune(context, dry_run, out, report).await,
            Self::Accept { backup, why } => {
                commands::accept(context, &backup, &why, out, report).await
            }
            Self::Status => commands::status(context, out, report).await,
            Self::Selftest => selftest::run(context, out, report).await,
        }
    }
}
