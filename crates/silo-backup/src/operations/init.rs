//! Initialisation and adoption of repositories.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::catalog::{Catalog, Destination};
use crate::context::Context;
use crate::error::Error;
use crate::repository::{Identity, Owner};
use crate::run::published_index::PublishedIndex;
use crate::run::source_memory::{Ownership, SourceMemory};
use silo_cli::progress::Reporter;

/// Result for one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Initialised {
    /// `primary` or `copy`.
    pub destination: &'static str,
    /// `created`, `unchanged` or `adopted`; with `--dry-run`, what would be done.
    pub action: &'static str,
    /// Reason why it was not ours before an adoption.
    pub reason: Option<String>,
    /// Number of backups in the repository that are ours.
    pub backups: usize,
}

/// Initialises every destination: creates the identity of a new repository, and with `adopt` takes over one that is not ours. A repository of a database
/// with another name is never taken over.
///
/// # Errors
/// [`Error::Repository`] for a repository that is not ours and not to be adopted; nothing was changed in any destination.
pub async fn init(
    context: &Context,
    adopt: bool,
    dry_run: bool,
    report: &Reporter,
) -> Result<Vec<Initialised>, Error> {
    context
        .leased(report, async |_| {
            let client = &context.client;
            let memory = SourceMemory::read(client, &context.settings.database, !dry_run).await?;
            let catalog = Catalog::read(context, client).await;
            if let Some((_, error)) = catalog.failed.first() {
                return Err(error.clone());
            }
            for destination in &catalog.destinations {
                refuse(context, destination, adopt)?;
            }
            let mut results = Vec::new();
            for destination in &catalog.destinations {
                results.push(one(context, &memory, destination, dry_run).await?);
            }
            Ok(results)
        })
        .await
}

/// An error if a destination may not be changed.
fn refuse(context: &Context, destination: &Destination, adopt: bool) -> Result<(), Error> {
    let name = destination.repository.name;
    if let Some(owner) = destination
        .contents
        .identity
        .as_ref()
        .and_then(Identity::owner)
        && owner.database != context.settings.database
    {
        return Err(Error::Repository(format!(
            "{name}: the repository belongs to the database {}; choose another BACKUP_PREFIX",
            owner.database
        )));
    }
    match destination.ownership.clone()? {
        Ownership::Foreign(reason) if !adopt => Err(Error::Repository(format!("{name}: {reason}"))),
        _ => Ok(()),
    }
}

async fn one(
    context: &Context,
    memory: &SourceMemory,
    destination: &Destination,
    dry_run: bool,
) -> Result<Initialised, Error> {
    let client = &context.client;
    let repository = &destination.repository;
    let owner = Owner {
        database: context.settings.database.clone(),
        source: memory.id().to_owned(),
        since: context.clock.now(),
    };
    let result = |action, reason, backups| Initialised {
        destination: repository.name,
        action,
        reason,
        backups,
    };
    match destination.ownership.clone()? {
        Ownership::Ours(identity) => {
            if !dry_run {
                memory
                    .remember(client, repository.name, &identity.id)
                    .await?;
            }
            let backups = destination.contents.entries.len();
            Ok(result("unchanged", None, backups))
        }
        Ownership::New => {
            if !dry_run {
                let identity = Identity::new(owner);
                repository.write_identity(&identity).await?;
                memory
                    .remember(client, repository.name, &identity.id)
                    .await?;
            }
            Ok(result("created", None, 0))
        }
        Ownership::Foreign(reason) => {
            let identity = adopted(destination, owner);
            let ours = |database: &str, id: &str| {
                let mut owners = identity.owners.iter();
                owners.any(|owner| owner.database == database && owner.source == id)
            };
            let adopted: Vec<_> = destination
                .contents
                .entries
                .iter()
                .filter(|entry| {
                    let source = &entry.manifest.source;
                    entry.manifest.repository == identity.id && ours(&source.database, &source.id)
                })
                .collect();
            if !dry_run {
                let index = PublishedIndex::new(client, &identity.id);
                let known: BTreeSet<String> = index
                    .entries()
                    .await?
                    .into_iter()
                    .map(|known| known.id)
                    .collect();
                for entry in &adopted {
                    if !known.contains(&entry.manifest.id) {
                        index.remember(&entry.manifest, &entry.sha256, true).await?;
                    }
                }
                repository.write_identity(&identity).await?;
                memory
                    .remember(client, repository.name, &identity.id)
                    .await?;
            }
            Ok(result("adopted", Some(reason), adopted.len()))
        }
    }
}

/// Identity with a new owner. Without an identity file, the id is that of the newest manifest, whose sources become earlier owners.
fn adopted(destination: &Destination, owner: Owner) -> Identity {
    let entries = &destination.contents.entries;
    let mut identity = match (&destination.contents.identity, entries.last()) {
        (Some(identity), _) => identity.clone(),
        (None, Some(newest)) => {
            let mut owners: Vec<Owner> = Vec::new();
            for entry in entries {
                let source = &entry.manifest.source;
                let same_database = source.database == owner.database;
                if same_database && owners.iter().all(|known| known.source != source.id) {
                    owners.push(Owner {
                        database: source.database.clone(),
                        source: source.id.clone(),
                        since: entry.manifest.started_at,
                    });
                }
            }
            Identity {
                id: newest.manifest.repository.clone(),
                created_at: entries[0].manifest.started_at,
                owners,
            }
        }
        (None, None) => return Identity::new(owner),
    };
    identity.owners.retain(|known| known.source != owner.source);
    identity.owners.push(owner);
    identity
}
