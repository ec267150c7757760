//! Commands with at most one argument.

use std::process::ExitCode;

use jiff::Timestamp;

use super::print::Printer;
use super::show;
use super::target::destination;
use crate::context::Context;
use crate::error::{EXIT_CORRUPT, EXIT_HELD, Error};
use crate::progress::Reporter;
use crate::repository;
use crate::retention::prune;
use crate::verification::{self, drill};
use crate::{run, status};

/// `run`: exit code 0 for a good backup without problems, 1 with problems, 4 if it is held.
pub(super) async fn run(
    context: &Context,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let outcome = run::run(context, report).await?;
    out.result(&outcome, || show::run_outcome(&outcome));
    let has_problems =
        outcome.destinations.iter().any(|at| at.error.is_some()) || !outcome.problems.is_empty();
    Ok(ExitCode::from(if outcome.good {
        u8::from(has_problems)
    } else {
        EXIT_HELD
    }))
}

/// `list`.
pub(super) async fn list(context: &Context, out: &Printer) -> Result<ExitCode, Error> {
    let mut found = Vec::new();
    for repository in context.repositories() {
        found.push(status::read_destination(context, repository).await?);
    }
    let backups = status::backups(context, &found, Timestamp::now());
    out.result(&backups, || show::list(&backups));
    Ok(ExitCode::SUCCESS)
}

/// `verify`.
pub(super) async fn verify(
    context: &Context,
    backup: &str,
    copy: bool,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let repository = destination(context, copy)?;
    let contents = repository.contents().await?;
    let manifest = &contents.find(backup)?.manifest;
    let read = verification::verify(context, repository, manifest, report).await?;
    let verdict = show::Verdict::new(manifest, read.summary.as_ref());
    out.result(&verdict, || verdict.text());
    Ok(ExitCode::SUCCESS)
}

/// `drill`: exit code 2 if the backup is not restored identically.
pub(super) async fn drill(
    context: &Context,
    backup: &str,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let drill = drill::run(context, backup, report).await?;
    out.result(&drill, || show::drill_outcome(&drill));
    Ok(ExitCode::from(if drill.good { 0 } else { EXIT_CORRUPT }))
}

/// `prune`, also with `--dry-run`.
pub(super) async fn prune(
    context: &Context,
    dry_run: bool,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let plans = prune::run(context, dry_run, report).await?;
    out.result(&plans, || show::plans(&plans, dry_run));
    Ok(ExitCode::SUCCESS)
}

/// `prune --undo`.
pub(super) async fn undo_prune(
    context: &Context,
    id: &str,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let restored_in = prune::undo(context, id, report).await?;
    out.result(&restored_in, || {
        format!("{id} is back in {}", restored_in.join(" and "))
    });
    Ok(ExitCode::SUCCESS)
}

/// `accept`.
pub(super) async fn accept(
    context: &Context,
    backup: &str,
    why: &str,
    out: &Printer,
) -> Result<ExitCode, Error> {
    let accepted = repository::accept(context.repositories(), backup, why).await?;
    out.result(&accepted, || {
        format!("{} counts as good from now on", accepted[0])
    });
    Ok(ExitCode::SUCCESS)
}

/// `status`: exit code 1 if a backup is missing, overdue or has problems.
pub(super) async fn status(context: &Context, out: &Printer) -> Result<ExitCode, Error> {
    let measured = status::measure(context)
        .await
        .map_err(|error| Error::Inconclusive(error.detail))?;
    let status = &measured.value;
    out.result(status, || show::status(status, &measured.errors));
    let is_well = status.last_good.is_some()
        && !status.overdue
        && status.problems.is_empty()
        && measured.errors.is_empty();
    Ok(ExitCode::from(u8::from(!is_well)))
}
