//! Status of backups: contents of the buckets, last good backup, readiness for a recovery, next run, problems.

mod views;

use std::collections::BTreeMap;

use jiff::Timestamp;
use silo_core::units::count_from_usize;
use silo_web::snapshot::{Measured, SourceError};

use crate::catalog::{Catalog, Destination};
use crate::context::Context;
use crate::continuous::proof::ProofOutcome;
use crate::repository::Entry;
use crate::retention::prune;
use crate::run::attempts::{Kind, LastAttempt};

pub use views::{
    AlarmsView, AlertsView, BackupStatus, BackupView, DestinationView, DrillView, GoodBackupView,
    RecoveryView,
};

/// Measures the status.
///
/// # Errors
/// When no destination could be read.
pub async fn measure(context: &Context) -> Result<Measured<BackupStatus>, SourceError> {
    let catalog = Catalog::read(context, &context.status_client).await;
    of(context, &catalog).await
}

/// Determines the status from a catalogue that was just read.
///
/// # Errors
/// When no destination could be read.
pub async fn of(
    context: &Context,
    catalog: &Catalog,
) -> Result<Measured<BackupStatus>, SourceError> {
    let client = &context.status_client;
    let mut errors: Vec<SourceError> = catalog
        .failed
        .iter()
        .map(|(failed, error)| SourceError::new(failed.name, error.code(), error.to_string()))
        .collect();
    if catalog.destinations.is_empty() {
        return Err(errors.swap_remove(0));
    }
    // Without the database, vanished backups are not noticed, which is reported.
    let unknown = catalog.destinations.iter().find_map(|destination| {
        let ownership = destination.ownership.as_ref().err();
        ownership.or(destination.published.as_ref().err())
    });
    let last_attempt = match Kind::Run.last(client).await {
        Ok(attempt) => attempt,
        Err(error) => {
            errors.push(SourceError::new("mongod", error.code(), error.to_string()));
            None
        }
    };
    if let Some(error) = unknown
        && errors.iter().all(|known| known.source != "mongod")
    {
        errors.push(SourceError::new("mongod", error.code(), error.to_string()));
    }
    let value = status(context, catalog, last_attempt, context.clock.now());
    Ok(Measured { value, errors })
}

fn status(
    context: &Context,
    catalog: &Catalog,
    last_attempt: Option<LastAttempt>,
    now: Timestamp,
) -> BackupStatus {
    let settings = &context.settings;
    let newest = catalog.newest_good();
    let age = |at: Timestamp| u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0);
    let oldest = u64::try_from(settings.oldest.as_secs()).unwrap_or(0);
    let drills = catalog
        .entries()
        .filter_map(|entry| Some((entry, entry.drill.as_ref()?)));
    let drilled = catalog
        .entries()
        .filter(|entry| entry.is_drilled())
        .filter_map(|entry| entry.drill.as_ref())
        .map(|drill| drill.at)
        .max();
    let owned_since = catalog
        .destinations
        .iter()
        .filter_map(|destination| destination.contents.identity.as_ref()?.owner())
        .map(|owner| owner.since)
        .min();
    let mut destinations: Vec<DestinationView> =
        catalog.destinations.iter().map(destination).collect();
    destinations.extend(catalog.failed.iter().map(|(failed, _)| DestinationView {
        name: failed.name,
        backups: None,
        bytes: None,
        last_good: None,
    }));
    BackupStatus {
        database: settings.database.clone(),
        last_good: newest.map(|entry| GoodBackupView {
            id: entry.manifest.id.clone(),
            key: format!("{}{}", settings.prefix, entry.manifest.archive.key),
            as_of: entry.manifest.as_of,
            age_seconds: age(entry.manifest.as_of),
            bytes: entry.manifest.archive.bytes,
            documents: entry.manifest.documents(),
        }),
        last_attempt,
        last_drill: drills
            .max_by_key(|(_, drill)| drill.at)
            .map(|(entry, drill)| DrillView::new(&entry.manifest.id, drill)),
        last_proof: last_proof(catalog),
        overdue: newest.is_none_or(|entry| age(entry.manifest.as_of) > oldest),
        // Two scheduled times have passed since the last drill, or without one since backups of this database are made.
        drill_overdue: settings.drill_schedule.as_ref().map(|schedule| {
            let before = |time| schedule.before(time);
            let last = before(now);
            let second = last.and_then(|last| before(last - jiff::SignedDuration::from_secs(1)));
            let since = drilled.or(owned_since);
            second.is_some_and(|second| since.is_none_or(|at| at < second)) && newest.is_some()
        }),
        oldest_allowed_seconds: oldest,
        recovery: recovery(context, catalog),
        destinations,
        problems: catalog.problems(),
        alerts: AlertsView::of(&context.alerts),
        backups: backups(context, catalog, now),
        last_made: catalog
            .entries()
            .map(|entry| entry.manifest.started_at)
            .max(),
    }
}

/// The newest proof; of two destinations, the worse one.
fn last_proof(catalog: &Catalog) -> Option<ProofOutcome> {
    let proofs = catalog
        .entries()
        .filter_map(|entry| Some((entry, entry.proof.as_ref()?)));
    let newest = proofs.max_by_key(|(entry, proof)| (entry.manifest.started_at, proof.result));
    newest.map(|(entry, proof)| ProofOutcome {
        id: entry.manifest.id.clone(),
        as_of: entry.manifest.as_of,
        proof: proof.clone(),
    })
}

/// Readiness for a recovery from the newest backups.
fn recovery(context: &Context, catalog: &Catalog) -> RecoveryView {
    let newest = |is_wanted: &dyn Fn(&&Entry) -> bool| {
        catalog
            .entries()
            .filter(|entry| entry.is_good())
            .filter(|entry| is_wanted(entry))
            .max_by_key(|entry| entry.manifest.as_of)
    };
    let last_good = newest(&|_| true);
    let drill = newest(&|entry| entry.is_drilled());
    // Restores take time in proportion to the bytes of the documents.
    let estimate = last_good.zip(drill).and_then(|(good, drilled)| {
        let took = drilled.drill.as_ref()?.duration_ms;
        let bytes = drilled.manifest.bytes().max(1);
        Some(took.saturating_mul(good.manifest.bytes()) / bytes / 1000)
    });
    let encrypted = last_good.is_some_and(|entry| entry.manifest.archive.recipient.is_some());
    let read_again = newest(&|entry| entry.check.is_some() || entry.drill.is_some());
    RecoveryView {
        last_drilled: drill.map(|entry| entry.manifest.as_of),
        last_verified_again: read_again.map(Entry::last_read),
        estimated_restore_seconds: estimate,
        key_available: encrypted.then_some(context.settings.identity.is_some()),
    }
}

fn destination(destination: &Destination) -> DestinationView {
    let contents = &destination.contents;
    DestinationView {
        name: destination.repository.name,
        backups: Some(count_from_usize(contents.entries.len())),
        bytes: Some(contents.archives.values().map(|(bytes, _)| bytes).sum()),
        last_good: contents.newest_good().map(|entry| entry.manifest.as_of),
    }
}

/// Backups of all destinations, the newest first.
#[must_use]
pub fn backups(context: &Context, catalog: &Catalog, now: Timestamp) -> Vec<BackupView> {
    let problem = prune::open_problem(catalog);
    let mut views = BTreeMap::<String, BackupView>::new();
    for destination in &catalog.destinations {
        let name = destination.repository.name;
        let plan = prune::decide(context, destination, problem.as_deref(), now);
        for entry in &destination.contents.entries {
            let decision = plan
                .decisions
                .iter()
                .find(|decision| decision.id == entry.manifest.id);
            let view = views
                .entry(entry.manifest.id.clone())
                .or_insert_with(|| BackupView::new(entry));
            view.destinations.push(name);
            view.good |= entry.is_good();
            let check = entry
                .check
                .as_ref()
                .and_then(|check| check.problem.as_ref());
            let problems = entry.archive_problem.iter().chain(check);
            view.problems
                .extend(problems.map(|problem| format!("{name}: {problem}")));
            if let Some(drill) = &entry.drill {
                let newer = view.drill.as_ref().is_none_or(|known| known.at < drill.at);
                if newer {
                    view.drill = Some(DrillView::new(&entry.manifest.id, drill));
                }
            }
            if let Some(decision) = decision.filter(|_| view.reasons.is_empty()) {
                (view.kept, view.reasons) = (decision.keep, decision.reasons.clone());
            }
        }
    }
    let mut views: Vec<BackupView> = views.into_values().collect();
    views.sort_by_key(|view| std::cmp::Reverse(view.as_of));
    views
}
