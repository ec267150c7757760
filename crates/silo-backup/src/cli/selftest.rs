//! `silo-backup selftest`: all steps with a report, to test a new droplet.

use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;
use silo_core::units::whole_millis;

use crate::catalog::Catalog;
use crate::context::Context;
use crate::error::Error;
use crate::retention::prune;
use crate::run;
use crate::verification;
use crate::verification::drill::{self, Choice};
use silo_cli::print::Printer;
use silo_cli::progress::Reporter;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    good: bool,
    steps: Vec<Step>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    name: &'static str,
    good: bool,
    detail: String,
    duration_ms: u64,
}

/// Makes a backup, verifies it, drills it, and previews pruning. Stops at the first failed step.
pub(super) async fn run(
    context: &Context,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let mut steps = Vec::new();
    let mut last = None;
    for name in ["backup", "verify", "drill", "prune"] {
        let began = Instant::now();
        let outcome = match name {
            "backup" => backup(context, report).await,
            "verify" => verified(context, report).await,
            "drill" => drill(context, report).await,
            _ => pruned(context, report).await,
        };
        let (good, detail) = match outcome {
            Ok(detail) => (true, detail),
            Err(error) => {
                let detail = error.to_string();
                last = Some(error);
                (false, detail)
            }
        };
        steps.push(Step {
            name,
            good,
            detail,
            duration_ms: whole_millis(began.elapsed()),
        });
        if !good {
            break;
        }
    }
    let result = Report {
        good: last.is_none(),
        steps,
    };
    out.result(&result, || {
        let line = |step: &Step| {
            format!(
                "{} {:<7} {:>7} ms  {}",
                if step.good { "good  " } else { "FAILED" },
                step.name,
                step.duration_ms,
                step.detail
            )
        };
        result.steps.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::from(last.map_or(0, |error| error.exit())))
}

async fn backup(context: &Context, report: &Reporter) -> Result<String, Error> {
    let outcome = run::run(context, report).await?;
    if !outcome.good {
        return Err(Error::Refused(format!(
            "{} is held: {}",
            outcome.id,
            outcome.held.join("; ")
        )));
    }
    match outcome.destinations.iter().find_map(|at| at.error.as_ref()) {
        Some(error) => Err(Error::Engine(error.clone())),
        None => Ok(format!(
            "{}, {} documents, {}",
            outcome.id, outcome.documents, outcome.consistency
        )),
    }
}

async fn verified(context: &Context, report: &Reporter) -> Result<String, Error> {
    let mut read_from = Vec::new();
    let catalog = Catalog::read(context, &context.client).await;
    if let Some((_, error)) = catalog.failed.first() {
        return Err(error.clone());
    }
    for destination in &catalog.destinations {
        let manifest = &destination.contents.find("latest")?.manifest;
        let repository = &destination.repository;
        verification::verify_and_record(context, repository, manifest, report).await?;
        read_from.push(repository.name);
    }
    Ok(format!("read back from {}", read_from.join(" and ")))
}

async fn drill(context: &Context, report: &Reporter) -> Result<String, Error> {
    let drill = drill::run(context, &Choice::Scheduled, report).await?;
    drill.verdict()?;
    Ok(format!("{} documents restored", drill.documents))
}

async fn pruned(context: &Context, report: &Reporter) -> Result<String, Error> {
    let plans = prune::run(context, true, report).await?;
    let decisions = || plans.iter().flat_map(|plan| &plan.decisions);
    let go = decisions().filter(|decision| !decision.keep).count();
    Ok(format!(
        "{} would be kept, {go} deleted",
        decisions().count() - go
    ))
}
