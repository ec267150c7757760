//! Status of backups: contents of the buckets, last good backup, next run, problems.

mod views;

use std::collections::BTreeMap;

use jiff::Timestamp;
use silo_core::units::count_from_usize;
use silo_web::snapshot::{Measured, SourceError};

use crate::context::Context;
use crate::error::Error;
use crate::repository::{Repository, RepositoryContents};
use crate::retention::prune;
use crate::run::last_run::{self, LastRun};
use crate::run::published_index::PublishedIndex;

pub use views::{AlertsView, BackupStatus, BackupView, DestinationView, DrillView, GoodBackupView};

/// Contents of one destination.
pub struct DestinationContents {
    /// The destination.
    pub repository: Repository,
    /// Files of the repository.
    pub contents: RepositoryContents,
    /// Backups that have vanished or were changed.
    pub problems: Vec<String>,
}

/// Reads one destination.
///
/// # Errors
/// The error of the storage or the database.
pub async fn read_destination(
    context: &Context,
    repository: &Repository,
) -> Result<DestinationContents, Error> {
    let contents = repository.contents().await?;
    let id = repository.identity().await?;
    // Without the database, the chain of manifests is still checked.
    let published = PublishedIndex::new(&context.client, &id)
        .published()
        .await
        .unwrap_or_default();
    let problems = contents
        .problems(&published)
        .into_iter()
        .map(|problem| format!("{}: {problem}", repository.name));
    Ok(DestinationContents {
        repository: repository.clone(),
        problems: problems.collect(),
        contents,
    })
}

/// Measures the status.
///
/// # Errors
/// When no destination could be read.
pub async fn measure(context: &Context) -> Result<Measured<BackupStatus>, SourceError> {
    let (mut found, mut errors, mut destinations) = (Vec::new(), Vec::new(), Vec::new());
    for repository in context.repositories() {
        match read_destination(context, repository).await {
            Ok(destination_contents) => {
                destinations.push(destination(&destination_contents));
                found.push(destination_contents);
            }
            Err(error) => {
                errors.push(SourceError::new(
                    repository.name,
                    error.code(),
                    error.to_string(),
                ));
                destinations.push(DestinationView {
                    name: repository.name,
                    backups: None,
                    bytes: None,
                    last_good: None,
                });
            }
        }
    }
    if found.is_empty() {
        return Err(errors.swap_remove(0));
    }
    let last_attempt = match last_run::last(&context.client).await {
        Ok(attempt) => attempt,
        Err(error) => {
            errors.push(SourceError::new("mongod", error.code(), error.to_string()));
            None
        }
    };
    let value = status(
        context,
        &found,
        destinations,
        last_attempt,
        Timestamp::now(),
    );
    Ok(Measured { value, errors })
}

fn status(
    context: &Context,
    found: &[DestinationContents],
    destinations: Vec<DestinationView>,
    last_attempt: Option<LastRun>,
    now: Timestamp,
) -> BackupStatus {
    let entries = || {
        found
            .iter()
            .flat_map(|destination_contents| &destination_contents.contents.entries)
    };
    let newest = entries()
        .filter(|entry| entry.is_good())
        .max_by_key(|entry| entry.manifest.as_of);
    let age = |at: Timestamp| u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0);
    let oldest = u64::try_from(context.settings.oldest.as_secs()).unwrap_or(0);
    let drills = entries().filter_map(|entry| Some((entry, entry.drill.as_ref()?)));
    let drilled = entries()
        .filter(|entry| entry.is_drilled())
        .filter_map(|entry| entry.drill.as_ref())
        .map(|drill| drill.at)
        .max();
    BackupStatus {
        last_good: newest.map(|entry| GoodBackupView {
            id: entry.manifest.id.clone(),
            key: format!("{}{}", context.settings.prefix, entry.manifest.archive.key),
            as_of: entry.manifest.as_of,
            age_seconds: age(entry.manifest.as_of),
            bytes: entry.manifest.archive.bytes,
            documents: entry.manifest.documents(),
        }),
        last_attempt,
        last_drill: drills
            .max_by_key(|(_, drill)| drill.at)
            .map(|(entry, drill)| DrillView::new(&entry.manifest.id, drill)),
        overdue: newest.is_none_or(|entry| age(entry.manifest.as_of) > oldest),
        drill_overdue: context
            .settings
            .drill_every
            .map(|every| drilled.is_none_or(|at| now.duration_since(at) > every * 2)),
        oldest_allowed_seconds: oldest,
        destinations,
        problems: found
            .iter()
            .flat_map(|destination_contents| destination_contents.problems.clone())
            .collect(),
        alerts: AlertsView {
            set_up: context.alerts.are_set_up(),
            failed_delivery: context.alerts.failure(),
        },
        backups: backups(context, found, now),
        last_made: entries().map(|entry| entry.manifest.started_at).max(),
    }
}

fn destination(destination_contents: &DestinationContents) -> DestinationView {
    DestinationView {
        name: destination_contents.repository.name,
        backups: Some(count_from_usize(
            destination_contents.contents.entries.len(),
        )),
        bytes: Some(
            destination_contents
                .contents
                .archives
                .values()
                .map(|(bytes, _)| bytes)
                .sum(),
        ),
        last_good: destination_contents
            .contents
            .newest_good()
            .map(|entry| entry.manifest.as_of),
    }
}

/// Backups of all destinations, the newest first.
#[must_use]
pub fn backups(
    context: &Context,
    found: &[DestinationContents],
    now: Timestamp,
) -> Vec<BackupView> {
    let mut views = BTreeMap::<String, BackupView>::new();
    for destination_contents in found {
        let plan = prune::decide(
            context,
            &destination_contents.repository,
            &destination_contents.contents,
            now,
        );
        for entry in &destination_contents.contents.entries {
            let decision = plan
                .decisions
                .iter()
                .find(|decision| decision.id == entry.manifest.id);
            let view = views
                .entry(entry.manifest.id.clone())
                .or_insert_with(|| BackupView::new(entry));
            view.destinations.push(destination_contents.repository.name);
            view.good |= entry.is_good();
            view.problems.extend(
                entry.archive_problem.iter().map(|problems| {
                    format!("{}: {problems}", destination_contents.repository.name)
                }),
            );
            if let Some(decision) = decision.filter(|_| view.reasons.is_empty()) {
                (view.kept, view.reasons) = (decision.keep, decision.reasons.clone());
            }
        }
    }
    let mut views: Vec<BackupView> = views.into_values().collect();
    views.sort_by_key(|view| std::cmp::Reverse(view.as_of));
    views
}
