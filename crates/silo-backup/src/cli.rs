//! Command line: results on standard output, progress and messages on standard error, and an exit code by kind of error.

mod print;
mod restore;
mod selftest;
mod show;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use jiff::Timestamp;
use silo_core::logging;
use silo_core::process::ServerConfig;
use silo_core::settings::SettingsReader;
use silo_web::healthcheck;
use silo_web::process::{listen, refuse_to_start};
use tokio::signal::unix::{SignalKind, signal};

use self::print::Printer;
use self::restore::Restore;
use self::target::{TargetArgs, confirmed, destination};
use crate::context::Context;
use crate::error::{EXIT_HELD, EXIT_USAGE, Error, exit_codes};
use crate::progress::Reporter;
use crate::repository::Approval;
use crate::repository::manifest::State;
use crate::restore::swap;
use crate::retention::prune;
use crate::settings::Settings;
use crate::verification::{self, drill};
use crate::{run, status};

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
        /// Id of the backup, the beginning of it, or latest
        #[arg(default_value = "latest")]
        backup: String,
        /// Read the second copy
        #[arg(long)]
        copy: bool,
    },
    /// Restore a backup into a scratch database, compare, and drop it
    Drill {
        /// Id of the backup, the beginning of it, or latest
        #[arg(default_value = "latest")]
        backup: String,
    },
    /// Restore a backup into a new database
    Restore(Restore),
    /// Put a restored database in the place of the one that is used, which is kept under another name
    Swap {
        /// The database that is used
        #[arg(long)]
        database: String,
        /// The one that was restored
        #[arg(long)]
        restored: String,
        /// The name of the database that is used, once more; asked for at a terminal without
        #[arg(long, value_name = "DATABASE")]
        confirm: Option<String>,
        #[command(flatten)]
        to: TargetArgs,
    },
    /// Undo the last swap
    Unswap {
        /// The database that was swapped
        #[arg(long)]
        database: String,
        /// The database's name, to confirm; without it a terminal asks for it
        #[arg(long, value_name = "DATABASE")]
        confirm: Option<String>,
        #[command(flatten)]
        to: TargetArgs,
    },
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
        /// Id of the backup, or the beginning of it
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

/// Reads the command line and does it.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and the version go to standard output and are no mistake.
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
        end_when_told(&context)?;
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
fn end_when_told(context: &Context) -> Result<(), Error> {
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
            // Answered before.
            Self::Serve | Self::Healthcheck => {}
            Self::Run => {
                let made = run::run(context, report).await?;
                out.result(&made, || show::made(&made));
                let broken = made.destinations.iter().any(|at| at.error.is_some())
                    || !made.problems.is_empty();
                return Ok(ExitCode::from(if !made.good {
                    EXIT_HELD
                } else {
                    u8::from(broken)
                }));
            }
            Self::List => {
                let mut found = Vec::new();
                for repository in context.repositories() {
                    found.push(status::look(context, repository).await?);
                }
                let backups = status::backups(context, &found, Timestamp::now());
                out.result(&backups, || show::list(&backups));
            }
            Self::Verify { backup, copy } => {
                let repository = destination(context, copy)?;
                let contents = repository.contents().await?;
                let manifest = &contents.find(&backup)?.manifest;
                let read = verification::verify(context, repository, manifest, report).await?;
                let verdict = show::Verdict::new(manifest, read.summary.as_ref());
                out.result(&verdict, || verdict.text());
            }
            Self::Drill { backup } => {
                let drilled = drill::run(context, &backup, report).await?;
                out.result(&drilled, || show::drilled(&drilled));
                return Ok(ExitCode::from(if drilled.good {
                    0
                } else {
                    crate::error::EXIT_CORRUPT
                }));
            }
            Self::Restore(order) => return order.run(context, out, report).await,
            Self::Swap {
                database,
                restored,
                confirm,
                to,
            } => {
                confirmed(
                    &database,
                    confirm,
                    &format!(
                        "{restored} takes the place of {database}, which is kept under another name."
                    ),
                )?;
                let swapped =
                    swap::swap(&to.client(context).await?, &database, &restored, report).await?;
                out.result(&swapped, || {
                    format!(
                        "{} is what was {}; what was there before is {}",
                        swapped.database, swapped.restored, swapped.kept
                    )
                });
            }
            Self::Unswap {
                database,
                confirm,
                to,
            } => {
                confirmed(
                    &database,
                    confirm,
                    &format!("what was in {database} before the last swap comes back."),
                )?;
                let back = swap::unswap(&to.client(context).await?, &database, report).await?;
                out.result(&back, || {
                    format!(
                        "{} is what it was before the swap; what was restored is {} again",
                        back.database, back.restored
                    )
                });
            }
            Self::Prune { undo: Some(id), .. } => {
                let back = prune::undo(context, &id, report).await?;
                out.result(&back, || format!("{id} is back in {}", back.join(" and ")));
            }
            Self::Prune {
                dry_run,
                undo: None,
            } => {
                let plans = prune::run(context, dry_run, report).await?;
                out.result(&plans, || show::plans(&plans, dry_run));
            }
            Self::Accept { backup, why } => {
                let mut accepted = Vec::new();
                for repository in context.repositories() {
                    let contents = repository.contents().await?;
                    let Ok(entry) = contents.find(&backup) else {
                        continue;
                    };
                    if entry.manifest.state != State::Held {
                        return Err(Error::Refused(format!("{} is not held", entry.manifest.id)));
                    }
                    let said = Approval {
                        at: Timestamp::now(),
                        why: why.clone(),
                    };
                    repository
                        .write_json(&format!("accepted/{}.json", entry.manifest.id), &said)
                        .await?;
                    accepted.push(entry.manifest.id.clone());
                }
                let Some(id) = accepted.first() else {
                    return Err(Error::NotFound(format!(
                        "there is no backup {backup}; `silo-backup list` tells which there are"
                    )));
                };
                out.result(&accepted, || format!("{id} counts as good from now on"));
            }
            Self::Status => {
                let measured = status::measure(context)
                    .await
                    .map_err(|error| Error::Inconclusive(error.detail))?;
                let standing = &measured.value;
                out.result(standing, || show::standing(standing, &measured.errors));
                let well = standing.last_good.is_some()
                    && !standing.overdue
                    && standing.problems.is_empty()
                    && measured.errors.is_empty();
                return Ok(ExitCode::from(u8::from(!well)));
            }
            Self::Selftest => return selftest::run(context, out, report).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}
