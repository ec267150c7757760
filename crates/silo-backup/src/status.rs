//! Status of backups: contents of the buckets, last good backup, next run, problems.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use silo_core::units::count_from_usize;
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::alerts::FailedDelivery;
use crate::archive::encoding::Compression;
use crate::context::Context;
use crate::error::Error;
use crate::repository::manifest::{Consistency, State};
use crate::repository::{Drill, Entry, Repository, RepositoryContents};
use crate::retention::prune;
use crate::run::last_run::{self, LastRun};
use crate::run::published_index::PublishedIndex;

/// All of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// The newest backup that counts.
    pub last_good: Option<GoodBackupView>,
    /// Result of the last run; `null` if there was none.
    pub last_attempt: Option<LastRun>,
    /// The last restore to see.
    pub last_drill: Option<DrillView>,
    /// `true` if the newest good backup is older than allowed, or there is none.
    pub overdue: bool,
    /// `true` if the newest drilled backup is older than twice the interval; `null` if drills are off.
    pub drill_overdue: Option<bool>,
    /// Largest allowed age in seconds.
    pub oldest_allowed_seconds: u64,
    /// Each destination.
    pub destinations: Vec<DestinationView>,
    /// Backups that have vanished or were changed.
    pub problems: Vec<String>,
    /// Receivers of alerts.
    pub alerts: AlertsView,
    /// Backups of all destinations, the newest first.
    #[serde(skip)]
    pub backups: Vec<BackupView>,
    /// The moment that the newest backup's run began, whether it counts or not.
    #[serde(skip)]
    pub last_made: Option<Timestamp>,
}

/// The newest backup that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoodBackupView {
    /// Id of the backup.
    pub id: String,
    /// The key of its archive.
    pub key: String,
    /// The moment it is of.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
    /// Age in seconds, at the time of measurement.
    pub age_seconds: u64,
    /// Stored size in bytes.
    pub bytes: u64,
    /// Number of documents.
    pub documents: u64,
}

/// The last restore to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillView {
    /// The backup.
    pub id: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `true` if everything was restored identically.
    pub good: bool,
    /// Duration in milliseconds.
    pub took_ms: u64,
    /// Differences, and parts that were not compared.
    pub notes: Vec<String>,
}

impl DrillView {
    fn new(id: &str, drill: &Drill) -> Self {
        Self {
            id: id.to_owned(),
            at: drill.at,
            good: drill.good,
            took_ms: drill.took_ms,
            notes: drill.notes.clone(),
        }
    }
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationView {
    /// `primary` or `copy`.
    pub name: &'static str,
    /// Number of backups; `null` if the destination cannot be listed.
    pub backups: Option<u64>,
    /// The bytes of all archives in it.
    pub bytes: Option<u64>,
    /// The newest that counts.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_good: Option<Timestamp>,
}

/// Receivers of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertsView {
    /// `true` if there is any receiver.
    pub set_up: bool,
    /// Last delivery, if it failed.
    pub failed_delivery: Option<FailedDelivery>,
}

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupView {
    /// Id of the backup.
    pub id: String,
    /// The moment it is of.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
    /// `verified`, `held` or `accepted`.
    pub state: &'static str,
    /// `true` if the backup counts as good.
    pub good: bool,
    /// Reasons for holding the backup.
    pub held: Vec<String>,
    /// When it was read back whole.
    #[schema(value_type = String, format = DateTime)]
    pub verified_at: Timestamp,
    /// `decoded`: read back as a restore would. `bytes`: read back byte for byte, because the private key is not here.
    pub verification: String,
    /// The last restore to see.
    pub drill: Option<DrillView>,
    /// Stored size in bytes.
    pub bytes: u64,
    /// The bytes of its documents.
    pub data_bytes: u64,
    /// Number of collections.
    pub collections: u64,
    /// Number of documents.
    pub documents: u64,
    /// SHA-256 of its archive, in hexadecimal.
    pub sha256: String,
    /// `gzip` or `zstd`.
    pub compression: &'static str,
    /// `true` if the archive is encrypted.
    pub encrypted: bool,
    /// `native` or `mongodump`.
    pub engine: String,
    /// `snapshot` or `fuzzy`.
    pub consistency: &'static str,
    /// The destinations that have it.
    pub destinations: Vec<&'static str>,
    /// `true` if the next prune keeps the backup.
    pub kept: bool,
    /// The rules that keep it, or the one that lets it go.
    pub why: Vec<String>,
    /// Problems with the backup, by destination.
    pub trouble: Vec<String>,
}

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
pub async fn look(
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
        match look(context, repository).await {
            Ok(place) => {
                destinations.push(destination(&place));
                found.push(place);
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
    let value = standing(
        context,
        &found,
        destinations,
        last_attempt,
        Timestamp::now(),
    );
    Ok(Measured { value, errors })
}

fn standing(
    context: &Context,
    found: &[DestinationContents],
    destinations: Vec<DestinationView>,
    last_attempt: Option<LastRun>,
    now: Timestamp,
) -> BackupStatus {
    let entries = || found.iter().flat_map(|place| &place.contents.entries);
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
            .flat_map(|place| place.problems.clone())
            .collect(),
        alerts: AlertsView {
            set_up: context.alerts.are_set_up(),
            failed_delivery: context.alerts.failure(),
        },
        backups: backups(context, found, now),
        last_made: entries().map(|entry| entry.manifest.started_at).max(),
    }
}

fn destination(place: &DestinationContents) -> DestinationView {
    DestinationView {
        name: place.repository.name,
        backups: Some(count_from_usize(place.contents.entries.len())),
        bytes: Some(
            place
                .contents
                .archives
                .values()
                .map(|(bytes, _)| bytes)
                .sum(),
        ),
        last_good: place
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
    for place in found {
        let plan = prune::decide(context, &place.repository, &place.contents, now);
        for entry in &place.contents.entries {
            let decision = plan
                .decisions
                .iter()
                .find(|decision| decision.id == entry.manifest.id);
            let view = views
                .entry(entry.manifest.id.clone())
                .or_insert_with(|| view(entry));
            view.destinations.push(place.repository.name);
            view.good |= entry.is_good();
            view.trouble.extend(
                entry
                    .trouble
                    .iter()
                    .map(|trouble| format!("{}: {trouble}", place.repository.name)),
            );
            if let Some(decision) = decision.filter(|_| view.why.is_empty()) {
                (view.kept, view.why) = (decision.keep, decision.why.clone());
            }
        }
    }
    let mut views: Vec<BackupView> = views.into_values().collect();
    views.sort_by_key(|view| std::cmp::Reverse(view.as_of));
    views
}

fn view(entry: &Entry) -> BackupView {
    let manifest = &entry.manifest;
    BackupView {
        id: manifest.id.clone(),
        as_of: manifest.as_of,
        state: match (manifest.state, &entry.accepted) {
            (State::Verified, _) => "verified",
            (State::Held, Some(_)) => "accepted",
            (State::Held, None) => "held",
        },
        good: entry.is_good(),
        held: manifest.held.clone(),
        verified_at: manifest.verified_at,
        verification: manifest.verification.how.clone(),
        drill: entry
            .drill
            .as_ref()
            .map(|drill| DrillView::new(&manifest.id, drill)),
        bytes: manifest.archive.bytes,
        data_bytes: manifest.bytes(),
        collections: count_from_usize(manifest.collections.len()),
        documents: manifest.documents(),
        sha256: manifest.archive.sha256.clone(),
        compression: match manifest.archive.compression {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        },
        encrypted: manifest.archive.recipient.is_some(),
        engine: manifest.engine.clone(),
        consistency: match manifest.consistency {
            Consistency::Snapshot => "snapshot",
            Consistency::Fuzzy => "fuzzy",
        },
        destinations: Vec::new(),
        kept: true,
        why: Vec::new(),
        trouble: Vec::new(),
    }
}
