//! Commands with at most one argument.

use std::process::ExitCode;

use log::warn;
use serde::Serialize;
use silo_web::snapshot::SourceError;

use super::chain::Newest;
use super::show;
use crate::audit;
use crate::catalog::Catalog;
use crate::context::Context;
use crate::continuous::proof;
use crate::error::{EXIT_CORRUPT, EXIT_HELD, EXIT_INCONCLUSIVE, Error};
use crate::operations::{accept, acknowledge, adopt, init, pin};
use crate::repository::ProofResult;
use crate::retention::prune;
use crate::run;
use crate::status::{self, BackupStatus};
use crate::verification;
use crate::verification::drill::{self, Choice};
use silo_cli::print::Printer;
use silo_cli::progress::Reporter;

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

/// Reads the backups of all destinations for a list, with the exit code for one that is complete. Logs which destination could not be read: its backups
/// are not in the list, and the exit code is that of its error.
///
/// # Errors
/// When none could be read.
pub(super) async fn read_all(context: &Context, report: &Reporter) -> Result<(Catalog, u8), Error> {
    report.begin("reading the repositories", None, "");
    // Storage is to be listed also when mongod is gone.
    let catalog = Catalog::read(context, &context.status_client).await;
    let mut exit = 0;
    for (repository, error) in &catalog.failed {
        if catalog.destinations.is_empty() {
            return Err(error.clone());
        }
        warn!("{} is not in the list: {error}", repository.name);
        exit = error.exit();
    }
    Ok((catalog, exit))
}

/// `list`.
pub(super) async fn list(
    context: &Context,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let (catalog, exit) = read_all(context, report).await?;
    let backups = status::backups(context, &catalog, context.clock.now());
    out.result(&backups, || show::list(&backups));
    Ok(ExitCode::from(exit))
}

/// `verify`: records the result, so that a damaged backup does not count as good any more.
pub(super) async fn verify(
    context: &Context,
    backup: &str,
    copy: bool,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let catalog = Catalog::read(context, &context.client).await;
    let (destination, entry) = catalog.find(backup, copy)?;
    let manifest = &entry.manifest;
    let read =
        verification::verify_and_record(context, &destination.repository, manifest, report).await?;
    let verdict = show::Verdict::new(manifest, read.summary.as_ref());
    out.result(&verdict, || verdict.text());
    Ok(ExitCode::SUCCESS)
}

/// `drill`: exit code 2 if the backup or the moment is not restored identically, 3 if either could not be drilled.
pub(super) async fn drill(
    context: &Context,
    choice: &Choice,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let drilled = drill::run(context, choice, report).await?;
    out.result(&drilled, || show::drill_outcome(&drilled));
    let verdict = drilled.verdict();
    Ok(verdict.map_or_else(|error| ExitCode::from(error.exit()), |()| ExitCode::SUCCESS))
}

/// `prove`: exit code 2 if the backups and the changes do not fit, 3 if it could not be found out.
pub(super) async fn prove(
    context: &Context,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let proved = proof::run(context, report).await?;
    let proved = proved.ok_or_else(|| {
        Error::NotFound("there is nothing to prove: no chain of slices goes from one good backup towards another".into())
    })?;
    out.result(&proved, || show::proof(&proved));
    Ok(ExitCode::from(match proved.proof.result {
        ProofResult::Equal => 0,
        ProofResult::Different => EXIT_CORRUPT,
        ProofResult::NotMade => EXIT_INCONCLUSIVE,
    }))
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

/// `init`.
pub(super) async fn init(
    context: &Context,
    adopt: bool,
    dry_run: bool,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let results = init::init(context, adopt, dry_run, report).await?;
    out.result(&results, || show::initialised(&results, dry_run));
    Ok(ExitCode::SUCCESS)
}

/// `adopt`.
pub(super) async fn adopt(
    context: &Context,
    key: &str,
    dry_run: bool,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let adopted = adopt::adopt(context, key, dry_run, report).await?;
    out.result(&adopted, || show::adopted(&adopted, dry_run));
    Ok(ExitCode::SUCCESS)
}

/// `accept`.
pub(super) async fn accept(
    context: &Context,
    backup: &str,
    why: &str,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let id = accept::accept(context, backup, why, report).await?;
    out.result(&id, || format!("{id} counts as good from now on"));
    Ok(ExitCode::SUCCESS)
}

/// `acknowledge`.
pub(super) async fn acknowledge(
    context: &Context,
    backup: &str,
    why: &str,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let problems = acknowledge::acknowledge(context, backup, why, report).await?;
    out.result(&problems, || {
        format!("no longer reported:\n  {}", problems.join("\n  "))
    });
    Ok(ExitCode::SUCCESS)
}

/// `pin` and `unpin`.
pub(super) async fn pin(
    context: &Context,
    backup: &str,
    why: Option<&str>,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    let (id, what) = match why {
        Some(why) => (
            pin::pin(context, backup, why, report).await?,
            "is never deleted from now on",
        ),
        None => (
            pin::unpin(context, backup, report).await?,
            "is deleted when no rule keeps it",
        ),
    };
    out.result(&id, || format!("{id} {what}"));
    Ok(ExitCode::SUCCESS)
}

/// `audit`.
pub(super) async fn audit(context: &Context, limit: u32, out: &Printer) -> Result<ExitCode, Error> {
    let entries = audit::newest(&context.client, i64::from(limit)).await?;
    out.result(&entries, || show::audit(&entries));
    Ok(ExitCode::SUCCESS)
}

/// Result of `status`.
#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    backups: BackupStatus,
    /// Each destination; `null` if continuous backup is off.
    continuous: Option<Vec<Newest>>,
    /// Destinations and databases that could not be read.
    errors: Vec<SourceError>,
}

/// `status`: exit code 1 if a backup is missing, overdue or has problems, or continuous backup does not go on up to now.
pub(super) async fn status(
    context: &Context,
    out: &Printer,
    report: &Reporter,
) -> Result<ExitCode, Error> {
    report.begin("reading the repositories", None, "");
    let catalog = Catalog::read(context, &context.status_client).await;
    let measured = status::of(context, &catalog)
        .await
        .map_err(|error| Error::Inconclusive(error.detail))?;
    let (status, errors) = (measured.value, measured.errors);
    let continuous = Newest::measure(context, &catalog).await;
    let is_well = status.last_good.is_some()
        && !status.overdue
        && status.problems.is_empty()
        && continuous.iter().flatten().all(Newest::is_well)
        && errors.is_empty();
    let status = Status {
        backups: status,
        continuous,
        errors,
    };
    out.result(&status, || {
        let continuous = status.continuous.as_deref().unwrap_or_default();
        show::status(&status.backups, continuous, &status.errors)
    });
    Ok(ExitCode::from(u8::from(!is_well)))
}
