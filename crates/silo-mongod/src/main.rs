//! The silo-mongod process: `init`, `certificate`, and the health check of the latter.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use silo_core::logging;
use silo_core::settings::SettingsReader;
use silo_mongod::init::{Outcome, Step};
use silo_mongod::settings::{Certificate, Init};
use silo_mongod::{NAME, certificate, init};
use silo_web::process::refuse_to_start;
use tokio::signal::unix::{SignalKind, signal};

/// Configures mongod on the droplet: accounts, roles, replica set, and its TLS certificate.
#[derive(Parser)]
#[command(name = "silo-mongod", version)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Create or update the replica set, the roles and the accounts of `MONGO_ACCOUNTS`; safe to run again
    Init {
        /// Only list the changes
        #[arg(long)]
        dry_run: bool,
        /// Print one JSON object per step
        #[arg(long)]
        json: bool,
    },
    /// Give mongod the certificate that Caddy has obtained, now and whenever it is renewed; runs until it is stopped
    Certificate,
    /// Check that mongod has a certificate to start with
    Healthcheck,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Arguments::parse().command {
        Verb::Init { dry_run, json } => {
            let settings = match Init::read(SettingsReader::from_environment()) {
                Ok(settings) => settings,
                Err(error) => return refuse_to_start(NAME, &error),
            };
            logging::start(settings.common.log_format, &settings.common.log_filter);
            ended(init::init(&settings, dry_run, |step| report(step, json)).await)
        }
        Verb::Certificate => {
            let settings = match Certificate::read(SettingsReader::from_environment()) {
                Ok(settings) => settings,
                Err(error) => return refuse_to_start(NAME, &error),
            };
            logging::start(settings.common.log_format, &settings.common.log_filter);
            let (Ok(mut terminate), Ok(mut interrupt)) = (
                signal(SignalKind::terminate()),
                signal(SignalKind::interrupt()),
            ) else {
                return ExitCode::FAILURE;
            };
            let stop = async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            ended(certificate::run(&settings, stop).await)
        }
        Verb::Healthcheck => match Certificate::read(SettingsReader::from_environment()) {
            Ok(settings) if certificate::is_healthy(&settings) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
    }
}

fn ended(outcome: Result<(), silo_mongod::error::Error>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn report(step: &Step, json: bool) {
    let line = if json {
        serde_json::to_string(step).unwrap_or_default()
    } else {
        let done = match step.done {
            Outcome::Created => "created  ",
            Outcome::Changed => "changed  ",
            Outcome::Unchanged => "unchanged",
            Outcome::NeedsReview => "REVIEW   ",
        };
        let detail = if step.detail.is_empty() {
            String::new()
        } else {
            format!(": {}", step.detail)
        };
        format!("{done} {}{detail}", step.what)
    };
    // A closed standard output is ignored.
    drop(writeln!(std::io::stdout(), "{line}"));
}
