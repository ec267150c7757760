//! Catalog: backups in all destinations, compared with what the database remembers.

use futures_util::future::join_all;
use silo_mongo::mongodb::Client;

use crate::context::Context;
use crate::error::Error;
use crate::repository::{Entry, Repository, RepositoryContents};
use crate::run::published_index::{PublishedBackup, PublishedIndex};
use crate::run::source_memory::{Ownership, SourceMemory};

/// One destination that could be read.
#[derive(Clone)]
pub struct Destination {
    /// The destination.
    pub repository: Repository,
    /// Files of the repository.
    pub contents: RepositoryContents,
    /// Whether the repository belongs to this database; the error if the database could not be read.
    pub ownership: Result<Ownership, Error>,
    /// Backups that the database knows; the error if it could not be read.
    pub published: Result<Vec<PublishedBackup>, Error>,
}

/// Backups in all destinations.
pub struct Catalog {
    /// Destinations that could be read: the primary, then the second copy.
    pub destinations: Vec<Destination>,
    /// Destinations that could not be read.
    pub failed: Vec<(Repository, Error)>,
}

impl Destination {
    /// Vanished, damaged, changed or unknown backups, and a repository that is not ours.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let name = self.repository.name;
        if let Ok(Ownership::Foreign(reason)) = &self.ownership {
            return vec![format!("{name}: {reason}")];
        }
        let published = self.published.as_deref().unwrap_or_default();
        let problems = self.contents.problems(published).into_iter();
        problems
            .map(|problem| format!("{name}: {problem}"))
            .collect()
    }

    /// Id of the repository; `None` if it is not ours.
    #[must_use]
    pub fn repository_id(&self) -> Option<&str> {
        match &self.ownership {
            Ok(Ownership::Ours(identity)) => Some(&identity.id),
            _ => None,
        }
    }
}

impl Catalog {
    /// Reads all destinations. Nothing is written.
    pub async fn read(context: &Context, client: &Client) -> Self {
        let memory = SourceMemory::read(client, &context.settings.database, false).await;
        let mut catalog = Self {
            destinations: Vec::new(),
            failed: Vec::new(),
        };
        // At the same time: each that does not answer takes half a minute.
        let read = context.repositories().map(async |repository| {
            let destination = read(client, &memory, repository).await;
            (repository, destination)
        });
        for (repository, destination) in join_all(read).await {
            match destination {
                Ok(destination) => catalog.destinations.push(destination),
                Err(error) => catalog.failed.push((repository.clone(), error)),
            }
        }
        catalog.share_failed_drills();
        catalog
    }

    /// A drill of an intact copy is a statement about the archive's content, which all destinations share.
    fn share_failed_drills(&mut self) {
        let failed: Vec<(String, String)> = self
            .entries()
            .filter(|entry| entry.check.as_ref().is_none_or(|check| check.good))
            .filter(|entry| entry.drill.as_ref().is_some_and(|drill| !drill.good))
            .map(key_of)
            .collect();
        for destination in &mut self.destinations {
            for entry in &mut destination.contents.entries {
                let failed_here = entry.drill.as_ref().is_some_and(|drill| !drill.good);
                entry.failed_elsewhere = !failed_here && failed.contains(&key_of(entry));
            }
        }
    }

    /// Backups of all destinations; one that is in two occurs twice.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.destinations
            .iter()
            .flat_map(|destination| &destination.contents.entries)
    }

    /// Problems of all destinations.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.destinations
            .iter()
            .flat_map(Destination::problems)
            .collect()
    }

    /// Newest good backup of all destinations.
    #[must_use]
    pub fn newest_good(&self) -> Option<&Entry> {
        self.entries()
            .filter(|entry| entry.is_good())
            .max_by_key(|entry| entry.manifest.as_of)
    }

    /// The destination with this name.
    ///
    /// # Errors
    /// The error of reading it, or [`Error::Refused`] if it is not configured.
    pub fn destination(&self, name: &str) -> Result<&Destination, Error> {
        if let Some(found) = self
            .destinations
            .iter()
            .find(|destination| destination.repository.name == name)
        {
            return Ok(found);
        }
        match self.failed.iter().find(|(failed, _)| failed.name == name) {
            Some((_, error)) => Err(error.clone()),
            None => Err(Error::Refused(
                "there is no second copy: BACKUP_COPY_* are not set".into(),
            )),
        }
    }

    /// Finds a backup by its id, its beginning, or `latest` (the newest good one) in the first destination that has it; with `copy`, in the second.
    ///
    /// # Errors
    /// When no destination has it, or none could be read.
    pub fn find(&self, name: &str, copy: bool) -> Result<(&Destination, &Entry), Error> {
        if copy {
            let destination = self.destination("copy")?;
            return Ok((destination, destination.contents.find(name)?));
        }
        let mut first_error = None;
        for destination in &self.destinations {
            match destination.contents.find(name) {
                Ok(entry) => return Ok((destination, entry)),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        match (self.failed.first(), first_error) {
            (Some((_, error)), _) => Err(error.clone()),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::NotFound("no destination is configured".into())),
        }
    }
}

async fn read(
    client: &Client,
    memory: &Result<SourceMemory, Error>,
    repository: &Repository,
) -> Result<Destination, Error> {
    let mut contents = repository.contents().await?;
    let ownership = match memory {
        Ok(memory) => memory.ownership(client, repository, &contents).await,
        Err(error) => Err(error.clone()),
    };
    let published = match &contents.identity {
        Some(identity) => PublishedIndex::new(client, &identity.id).entries().await,
        None => Ok(Vec::new()),
    };
    // Before an operator has adopted a repository, the database knows none of its backups.
    if let (Ok(published), Ok(Ownership::Ours(_))) = (&published, &ownership) {
        contents.mark_unknown(published);
    }
    Ok(Destination {
        repository: repository.clone(),
        contents,
        ownership,
        published,
    })
}

fn key_of(entry: &Entry) -> (String, String) {
    (
        entry.manifest.id.clone(),
        entry.manifest.archive.sha256.clone(),
    )
}
