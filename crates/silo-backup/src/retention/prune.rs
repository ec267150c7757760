//! Deletion of expired backups: the manifest first, the archive seven days later.

use jiff::Timestamp;
use log::{info, warn};
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalog::{Catalog, Destination};
use crate::context::Context;
use crate::continuous::merge;
use crate::error::Error;
use crate::repository::orphans::GRACE;
use crate::repository::{ProofResult, RepositoryContents, Tombstone};
use crate::retention::{Backup, Clock, Decision, plan, slices};
use crate::run::lease::Lease;
use silo_cli::progress::Reporter;

/// Slices that are deleted before the lease is confirmed again.
const CONFIRM_AFTER: usize = 100;

/// Decisions of retention for one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// `primary` or `copy`.
    pub destination: &'static str,
    /// Each backup, the newest first.
    pub decisions: Vec<Decision>,
    /// Backups that were pruned at least seven days ago, whose archives are deleted now.
    pub archives: Vec<String>,
    /// Keys of slices of the oplog that are deleted now, because no moment of `BACKUP_PITR_DAYS` needs them, nor one of seven days before.
    pub slices: Vec<String>,
}

/// Decides for one destination. `problem` is an open problem of any destination.
#[must_use]
pub fn decide(
    context: &Context,
    destination: &Destination,
    problem: Option<&str>,
    now: Timestamp,
) -> Plan {
    let clock = Clock {
        now,
        ahead: destination.repository.clock_ahead(),
    };
    let contents = &destination.contents;
    let backups = backups(contents);
    let frozen = problem.is_some() || clock.clock_problem(&backups).is_some();
    let due = |pruned: &&Tombstone| {
        pruned.file.is_some() && !frozen && now.duration_since(pruned.at) >= GRACE
    };
    Plan {
        destination: destination.repository.name,
        decisions: plan(&backups, context.settings.policy, clock, problem),
        archives: contents
            .pruned
            .iter()
            .filter(|(_, pruned)| due(pruned))
            .map(|(id, _)| id.clone())
            .collect(),
        slices: Vec::new(),
    }
}

/// Reason to delete nothing anywhere: a problem, a destination that cannot be read, or a database whose memory cannot be read.
#[must_use]
pub fn open_problem(catalog: &Catalog) -> Option<String> {
    let unreadable = catalog.failed.first();
    let unreadable = unreadable.map(|(_, error)| error.to_string());
    let unknown = catalog.destinations.iter().find_map(|destination| {
        let error = destination.published.as_ref().err();
        error
            .or(destination.ownership.as_ref().err())
            .map(ToString::to_string)
    });
    catalog
        .problems()
        .into_iter()
        .next()
        .or(unreadable)
        .or(unknown)
}

/// Facts about the backups of a repository, as retention needs them.
#[must_use]
pub fn backups(contents: &RepositoryContents) -> Vec<Backup> {
    let backup = |entry: &crate::repository::Entry| Backup {
        id: entry.manifest.id.clone(),
        at: entry.manifest.as_of,
        good: entry.is_good(),
        drilled: entry.is_drilled(),
        pin: entry.pin.as_ref().map(|pin| pin.reason.clone()),
    };
    contents.entries.iter().map(backup).collect()
}

/// Deletes expired backups under the lease in all destinations; with `dry`, only returns the decisions.
///
/// # Errors
/// The error of a deletion. Each backup before it was deleted completely.
pub async fn run(context: &Context, dry: bool, report: &Reporter) -> Result<Vec<Plan>, Error> {
    if dry {
        return plans(context, &Catalog::read(context, &context.client).await).await;
    }
    context
        .leased(report, async |lease| {
            report.begin("cleaning", None, "documents");
            let catalog = Catalog::read(context, &context.client).await;
            let plans = plans(context, &catalog).await?;
            for (destination, plan) in catalog.destinations.iter().zip(&plans) {
                apply(context, lease, destination, plan).await?;
                if context.settings.policy.moments > 0
                    && open_problem(&catalog).is_none()
                    && let Err(error) = merge::run(context, &destination.repository).await
                {
                    // They are all there, and tried again.
                    warn!(destination = destination.repository.name, code = error.code(); "slices were not merged: {error}");
                }
            }
            Ok(plans)
        })
        .await
}

async fn plans(context: &Context, catalog: &Catalog) -> Result<Vec<Plan>, Error> {
    let problem = open_problem(catalog);
    let now = context.clock.now();
    let mut plans = Vec::new();
    for destination in &catalog.destinations {
        let mut plan = decide(context, destination, problem.as_deref(), now);
        if problem.is_none() {
            plan.slices = expired_slices(context, destination, now).await?;
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// Keys of the slices to delete. While one of their nights is not proven, they are kept.
async fn expired_slices(
    context: &Context,
    destination: &Destination,
    now: Timestamp,
) -> Result<Vec<String>, Error> {
    let Destination {
        repository,
        contents,
        ..
    } = destination;
    let backups = backups(contents);
    let clock = Clock {
        now,
        ahead: repository.clock_ahead(),
    };
    let proofs = contents
        .entries
        .iter()
        .filter_map(|entry| entry.proof.as_ref());
    let is_unproven = proofs
        .max_by_key(|proof| proof.at)
        .is_some_and(|last| last.result != ProofResult::Equal);
    if is_unproven || clock.clock_problem(&backups).is_some() {
        return Ok(Vec::new());
    }
    let chains = repository.chains().await?;
    let expired = slices::expired(&chains, &backups, context.settings.policy.moments, clock);
    Ok(expired.into_iter().map(|slice| slice.key.clone()).collect())
}

async fn apply(
    context: &Context,
    lease: &Lease,
    destination: &Destination,
    plan: &Plan,
) -> Result<(), Error> {
    let Destination {
        repository,
        contents,
        ..
    } = destination;
    for decision in plan.decisions.iter().filter(|decision| !decision.keep) {
        let Some(entry) = contents
            .entries
            .iter()
            .find(|entry| entry.manifest.id == decision.id)
        else {
            continue;
        };
        let id = &decision.id;
        // Another process that has taken over the lease decides for itself.
        lease.confirm().await?;
        let pruned = Tombstone {
            at: context.clock.now(),
            reason: decision.reasons.join("; "),
            sha256: entry.sha256.clone(),
            key: entry.manifest.archive.key.clone(),
            file: Some(String::from_utf8_lossy(&entry.file).into_owned()),
        };
        // Write the tombstone before deleting the manifest. After a crash in between both exist, and the next prune completes the deletion.
        repository
            .write_json(&format!("pruned/{id}.json"), &pruned)
            .await?;
        repository.delete(&format!("manifests/{id}.json")).await?;
        info!(id = id.as_str(), destination = repository.name; "a backup was pruned; its archive is deleted in seven days");
    }
    for keys in plan.slices.chunks(CONFIRM_AFTER) {
        lease.confirm().await?;
        for key in keys {
            repository.delete(key).await?;
        }
    }
    if !plan.slices.is_empty() {
        info!(destination = repository.name, slices = plan.slices.len(); "expired slices of the oplog were deleted");
    }
    for id in &plan.archives {
        let Some(pruned) = contents.pruned.get(id).filter(|_| {
            contents
                .entries
                .iter()
                .all(|entry| entry.manifest.id != *id)
        }) else {
            continue;
        };
        lease.confirm().await?;
        repository.delete(&pruned.key).await?;
        repository
            .write_json(
                &format!("pruned/{id}.json"),
                &Tombstone {
                    file: None,
                    ..pruned.clone()
                },
            )
            .await?;
        for folder in ["drills", "checks", "accepted", "pins", "proofs"] {
            repository.delete(&format!("{folder}/{id}.json")).await?;
        }
        info!(id = id.as_str(), destination = repository.name; "the archive of a pruned backup was deleted");
    }
    Ok(())
}

/// Restores the manifest of a pruned backup whose archive still exists. Returns the destinations where it was restored.
///
/// # Errors
/// When there is no such backup, or its manifest could not be written.
pub async fn undo(
    context: &Context,
    id: &str,
    report: &Reporter,
) -> Result<Vec<&'static str>, Error> {
    let back = context
        .leased(report, async |_| {
            let mut back = Vec::new();
            for repository in context.repositories() {
                let contents = repository.contents().await?;
                let Some(pruned) = contents.pruned.get(id) else {
                    continue;
                };
                let Some(file) = &pruned.file else { continue };
                repository
                    .write(&format!("manifests/{id}.json"), file.clone().into_bytes())
                    .await?;
                repository.delete(&format!("pruned/{id}.json")).await?;
                back.push(repository.name);
            }
            Ok(back)
        })
        .await?;
    if back.is_empty() {
        Err(Error::NotFound(format!(
            "there is no pruned backup {id} whose archive is still there"
        )))
    } else {
        Ok(back)
    }
}
