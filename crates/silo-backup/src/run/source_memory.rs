//! Memory of the database: the id of its own data, and the repository of each destination. Both are in the database `silo`.
//!
//! A repository belongs to one database on one server. When the bucket has another identity than the one that the database remembers, or none, its
//! backups were deleted, the settings name the wrong bucket, or another server writes there. Nothing is written or deleted then, until an operator
//! runs `silo-backup init --adopt`.

use silo_mongo::field;
use silo_mongo::mongodb::Client;
use silo_mongo::mongodb::bson::{DateTime, Document, doc};

use crate::error::Error;
use crate::repository::{Identity, Repository, RepositoryContents};
use crate::run::lease::SILO;

/// Collection of sources, in the database `silo`: an id for each database name.
const SOURCES: &str = "backup_sources";
/// Collection of remembered repositories, in the database `silo`.
const REPOSITORIES: &str = "backup_repositories";

/// What the database remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceMemory {
    id: String,
    database: String,
}

/// State of a destination, compared with the database's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Never used: nothing is stored and nothing is remembered.
    New,
    /// The repository that the database remembers.
    Ours(Identity),
    /// Something else, with the reason.
    Foreign(String),
}

impl SourceMemory {
    /// Reads the id of the database's data, and creates it if `create` is set. Without it, a database without an id has an empty one.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn read(client: &Client, database: &str, create: bool) -> Result<Self, Error> {
        let sources = client.database(SILO).collection::<Document>(SOURCES);
        let action =
            "reading the id of the database (the account has to write in the database `silo`)";
        let filter = doc! { "_id": database };
        if create {
            let id = format!("{:032x}", rand::random::<u128>());
            // Only the first writer's id is stored.
            sources
                .update_one(
                    filter.clone(),
                    doc! { "$setOnInsert": { "source": id, "at": DateTime::now() } },
                )
                .upsert(true)
                .await
                .map_err(|error| Error::database(action)(&error))?;
        }
        let found = sources
            .find_one(filter)
            .await
            .map_err(|error| Error::database(action)(&error))?;
        let id = found
            .as_ref()
            .and_then(|found| field::text(found, "source"));
        Ok(Self {
            id: id.unwrap_or_default().to_owned(),
            database: database.to_owned(),
        })
    }

    /// Id of the database's data.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Id of the repository that the database remembers for a destination.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn remembered(
        &self,
        client: &Client,
        destination: &str,
    ) -> Result<Option<String>, Error> {
        let found = client
            .database(SILO)
            .collection::<Document>(REPOSITORIES)
            .find_one(doc! { "_id": self.name_of(destination) })
            .await
            .map_err(|error| Error::database("reading the remembered repository")(&error))?;
        Ok(found
            .as_ref()
            .and_then(|found| field::text(found, "repository").map(str::to_owned)))
    }

    /// Remembers the repository of a destination.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn remember(
        &self,
        client: &Client,
        destination: &str,
        repository: &str,
    ) -> Result<(), Error> {
        client
            .database(SILO)
            .collection::<Document>(REPOSITORIES)
            .update_one(
                doc! { "_id": self.name_of(destination) },
                doc! { "$set": { "repository": repository } },
            )
            .upsert(true)
            .await
            .map(drop)
            .map_err(|error| Error::database("remembering the repository")(&error))
    }

    /// Compares a destination with the memory.
    ///
    /// # Errors
    /// The error of the database or the storage.
    pub async fn ownership(
        &self,
        client: &Client,
        repository: &Repository,
        contents: &RepositoryContents,
    ) -> Result<Ownership, Error> {
        let remembered = self.remembered(client, repository.name).await?;
        Ok(self.compare(remembered.as_deref(), contents))
    }

    /// Compares what is stored with what is remembered.
    #[must_use]
    pub fn compare(&self, remembered: Option<&str>, contents: &RepositoryContents) -> Ownership {
        let adopt = "`silo-backup init --adopt` accepts it";
        let foreign = |reason: String| Ownership::Foreign(format!("{reason}; {adopt}"));
        match (&contents.identity, remembered) {
            (None, None) if contents.is_empty() => Ownership::New,
            (None, None) => foreign("the bucket has backups and no identity file (silo-repo.json)".into()),
            (None, Some(_)) if contents.is_empty() => {
                foreign("the repository is gone: all of its backups and its identity were deleted, or the settings name another bucket or prefix".into())
            }
            (None, Some(_)) => foreign("the repository's identity file (silo-repo.json) is gone".into()),
            (Some(identity), remembered) => {
                let owner = identity.owner();
                let ours = owner.is_some_and(|owner| {
                    owner.database == self.database && owner.source == self.id
                });
                match owner {
                    Some(owner) if owner.database != self.database => Ownership::Foreign(format!(
                        "the repository belongs to the database {}; choose another BACKUP_PREFIX",
                        owner.database
                    )),
                    _ if !ours => foreign("the repository belongs to another server".into()),
                    // Only this database knows its id, so a repository of that owner is ours even if a run was killed before it was remembered.
                    _ if remembered.is_none_or(|remembered| remembered == identity.id) => Ownership::Ours(identity.clone()),
                    _ => foreign("the repository is not the one that the database remembers".into()),
                }
            }
        }
    }

    fn name_of(&self, destination: &str) -> String {
        format!("{}/{destination}", self.database)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::repository::Owner;

    fn memory() -> SourceMemory {
        SourceMemory {
            id: "s1".into(),
            database: "aesthetic".into(),
        }
    }

    fn stored(database: &str, source: &str) -> RepositoryContents {
        RepositoryContents {
            identity: Some(Identity {
                id: "r1".into(),
                ..Identity::new(Owner {
                    database: database.into(),
                    source: source.into(),
                    since: Timestamp::UNIX_EPOCH,
                })
            }),
            ..RepositoryContents::default()
        }
    }

    #[test]
    fn only_the_remembered_repository_of_this_server_is_ours() {
        let ours = stored("aesthetic", "s1");
        assert!(matches!(
            memory().compare(Some("r1"), &ours),
            Ownership::Ours(_)
        ));
        let empty = RepositoryContents::default();
        assert_eq!(memory().compare(None, &empty), Ownership::New);
        assert!(matches!(memory().compare(None, &ours), Ownership::Ours(_)));
        for (remembered, contents, reason) in [
            (Some("r1"), &empty, "gone"),
            (Some("r2"), &ours, "not the one"),
            (Some("r1"), &stored("aesthetic", "s2"), "another server"),
            (Some("r1"), &stored("staging", "s1"), "the database staging"),
        ] {
            match memory().compare(remembered, contents) {
                Ownership::Foreign(text) => assert!(text.contains(reason), "{text}"),
                other => panic!("{reason}: {other:?}"),
            }
        }
    }
}
