//! Removal of orphans after a backup was published. It cannot fail a run.

use crate::retention::{Clock, prune};
use crate::run::run_context::{OpenDestination, RunContext};

/// Removes orphans from the destinations that have the new backup. While there is a problem anywhere, nothing is deleted. Returns warnings.
pub(super) async fn remove_orphans(
    run: &RunContext<'_>,
    destinations: &[&OpenDestination],
    problems: &[String],
) -> Vec<String> {
    let mut warnings = Vec::new();
    if !problems.is_empty() {
        return warnings;
    }
    for destination in destinations {
        let repository = &destination.repository;
        let clock = Clock {
            now: run.started,
            ahead: repository.clock_ahead(),
        };
        // The age of an orphan counts by this clock.
        if let Some(problem) = clock.clock_problem(&prune::backups(&destination.contents)) {
            warnings.push(format!("orphans were not removed: {problem}"));
            continue;
        }
        if let Err(error) = run.lease.confirm().await {
            warnings.push(format!("orphans were not removed: {error}"));
            break;
        }
        let removed = repository
            .remove_orphans(
                &destination.contents,
                &destination.published,
                &run.archive_key(),
                run.started,
            )
            .await;
        if let Err(error) = removed {
            log::warn!(destination = repository.name, code = error.code(); "orphans were not removed: {error}");
            warnings.push(format!(
                "{}: orphans were not removed: {error}",
                repository.name
            ));
        }
    }
    warnings
}
