//! Deletion of expired backups: the manifest first, the archive seven days later.

use jiff::{SignedDuration, Timestamp};
use log::info;
use serde::Serialize;
use utoipa::ToSchema;

use crate::context::Context;
use crate::error::Error;
use crate::progress::Reporter;
use crate::repository::{Repository, RepositoryContents, Tombstone};
use crate::retention::{Backup, Clock, Decision, plan};

/// So long after its manifest an archive goes too; until then `prune --undo` brings a backup back.
const GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Decisions of retention for one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// `primary` or `copy`.
    pub destination: &'static str,
    /// Each backup, the newest first.
    pub decisions: Vec<Decision>,
    /// Backups that were pruned, whose archives go now.
    pub archives: Vec<String>,
}

/// Decides for one destination.
#[must_use]
pub fn decide(
    context: &Context,
    repository: &Repository,
    contents: &RepositoryContents,
    now: Timestamp,
) -> Plan {
    let clock = Clock {
        now,
        ahead: repository.clock_ahead(),
    };
    let backups = backups(contents);
    let clock_problem = clock.clock_problem(&backups).is_some();
    let due = |pruned: &&Tombstone| {
        pruned.file.is_some() && !clock_problem && now.duration_since(pruned.at) >= GRACE
    };
    Plan {
        destination: repository.name,
        decisions: plan(&backups, context.settings.policy, clock),
        archives: contents
            .pruned
            .iter()
            .filter(|(_, pruned)| due(pruned))
            .map(|(id, _)| id.clone())
            .collect(),
    }
}

/// Facts about the backups of a repository, as retention needs them.
#[must_use]
pub fn backups(contents: &RepositoryContents) -> Vec<Backup> {
    let backup = |entry: &crate::repository::Entry| Backup {
        id: entry.manifest.id.clone(),
        at: entry.manifest.as_of,
        good: entry.is_good(),
        drilled: entry.is_drilled(),
    };
    contents.entries.iter().map(backup).collect()
}

/// Deletes expired backups under the lease in all destinations; with `dry`, only returns the decisions.
///
/// # Errors
/// The error of a deletion. Each backup before it was deleted completely.
pub async fn run(context: &Context, dry: bool, report: &Reporter) -> Result<Vec<Plan>, Error> {
    if dry {
        let mut plans = Vec::new();
        for repository in context.repositories() {
            plans.push(decide(
                context,
                repository,
                &repository.contents().await?,
                Timestamp::now(),
            ));
        }
        return Ok(plans);
    }
    context
        .leased(report, async |_| {
            report.begin("cleaning", None, "documents");
            let mut plans = Vec::new();
            for repository in context.repositories() {
                let contents = repository.contents().await?;
                let plan = decide(context, repository, &contents, Timestamp::now());
                apply(repository, &contents, &plan).await?;
                plans.push(plan);
            }
            Ok(plans)
        })
        .await
}

async fn apply(
    repository: &Repository,
    contents: &RepositoryContents,
    plan: &Plan,
) -> Result<(), Error> {
    for decision in plan.decisions.iter().filter(|decision| !decision.keep) {
        let Some(entry) = contents
            .entries
            .iter()
            .find(|entry| entry.manifest.id == decision.id)
        else {
            continue;
        };
        let id = &decision.id;
        let pruned = Tombstone {
            at: Timestamp::now(),
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
    for id in &plan.archives {
        let Some(pruned) = contents.pruned.get(id).filter(|_| {
            contents
                .entries
                .iter()
                .all(|entry| entry.manifest.id != *id)
        }) else {
            continue;
        };
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
        for folder in ["drills", "accepted"] {
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
