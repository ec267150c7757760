//! Checks before the first write of a restore: key, server, names, privileges, free disk, and that the target is empty.

use serde::Serialize;
use silo_mongo::collections::{self, Kind};
use silo_mongo::field;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Bson, Document, doc};

use super::Target;
use super::selection::Selection;
use crate::error::Error;
use crate::repository::manifest::{CollectionFacts, Manifest};
use crate::run::lease::SILO;

/// Databases of the server and of Silo.
const RESERVED: [&str; 4] = ["admin", "local", "config", SILO];
/// Longest name of a database in bytes. Source: MongoDB's limits and thresholds.
const LONGEST_DATABASE: usize = 63;
/// Longest name of a namespace (`database.collection`) in bytes.
const LONGEST_NAMESPACE: usize = 255;
/// Free disk that a server needs beside the data: it does not build indexes with less.
const SPARE_BYTES: u64 = 512 * 1024 * 1024;

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Name of the check.
    pub name: &'static str,
    /// `true` if nothing prevents the restore.
    pub good: bool,
    /// Finding.
    pub detail: String,
}

impl Check {
    fn new(name: &'static str, result: Result<String, String>) -> Self {
        let good = result.is_ok();
        let (Ok(detail) | Err(detail)) = result;
        Self { name, good, detail }
    }
}

/// Runs all checks. Only the first ones are run if the server cannot be reached.
///
/// # Errors
/// [`Error::NotFound`] for a selected collection that the backup does not have, or the error of a command that every account may run.
pub async fn checks(
    manifest: &Manifest,
    selection: &Selection,
    target: &Target,
    has_key: bool,
) -> Result<Vec<Check>, Error> {
    let wanted = selection.of(manifest)?;
    let database = target.database.name();
    let key = match (manifest.archive.recipient.is_some(), has_key) {
        (false, _) => Ok("the archive is not encrypted".into()),
        (true, true) => Ok("BACKUP_AGE_IDENTITY is set".into()),
        (true, false) => {
            Err("the backup is encrypted: set BACKUP_AGE_IDENTITY to its private key".into())
        }
    };
    let mut checks = vec![
        Check::new("key", key),
        Check::new("names", names(database, &wanted)),
    ];
    let admin = target.client.database("admin");
    let info = admin.run_command(doc! { "buildInfo": 1 }).await;
    let info = match info {
        Ok(info) => info,
        Err(error) => {
            let error = Error::database("reaching the target")(&error);
            checks.push(Check::new("server", Err(error.to_string())));
            return Ok(checks);
        }
    };
    let version = field::text(&info, "version").unwrap_or_default();
    checks.push(Check::new("server", versions(manifest, version)));
    checks.push(Check::new("empty", empty(&target.database).await));
    checks.push(Check::new(
        "privileges",
        privileges(&target.database, &wanted).await,
    ));
    let bytes = wanted.iter().map(|wanted| wanted.sums.bytes).sum();
    checks.push(Check::new("disk", free_disk(&target.database, bytes).await));
    Ok(checks)
}

/// [`Error::Refused`] with all checks that failed.
///
/// # Errors
/// As described.
pub fn refuse(checks: &[Check]) -> Result<(), Error> {
    let failed = checks.iter().filter(|check| !check.good);
    let failed: Vec<&str> = failed.map(|check| check.detail.as_str()).collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::Refused(failed.join("; ")))
    }
}

fn names(database: &str, wanted: &[CollectionFacts]) -> Result<String, String> {
    if RESERVED.contains(&database) {
        return Err(format!(
            "{database} is not a database to restore to; choose another name"
        ));
    }
    if database.len() > LONGEST_DATABASE {
        return Err(format!(
            "the database's name has {} bytes; at most {LONGEST_DATABASE} are allowed",
            database.len()
        ));
    }
    let too_long = wanted.iter().find(|collection| {
        let buckets = match Kind::of_word(&collection.kind) {
            Kind::TimeSeries => "system.buckets.".len(),
            _ => 0,
        };
        database.len() + 1 + buckets + collection.name.len() > LONGEST_NAMESPACE
    });
    match too_long {
        Some(collection) => Err(format!(
            "{database}.{} is longer than {LONGEST_NAMESPACE} bytes; choose a shorter name for the database",
            collection.name
        )),
        None => Ok("all names are short enough".into()),
    }
}

fn versions(manifest: &Manifest, target: &str) -> Result<String, String> {
    let source = &manifest.source.server.version;
    let major = |version: &str| -> Option<u32> { version.split('.').next()?.parse().ok() };
    Ok(match (major(source), major(target)) {
        (Some(from), Some(to)) if to < from => format!(
            "the backup is of version {source} and the target of the older {target}: options that it does not know are listed as differences"
        ),
        _ => format!("the backup is of version {source}, the target of {target}"),
    })
}

async fn empty(database: &Database) -> Result<String, String> {
    match collections::is_empty(database).await {
        Ok(true) => Ok(format!("{} is empty", database.name())),
        Ok(false) => Err(format!(
            "{} is not empty; restore to a new name, and `silo-backup swap` then",
            database.name()
        )),
        Err(error) => Err(format!(
            "whether {} is empty is not known: {}",
            database.name(),
            error.detail()
        )),
    }
}

/// Compares the account's privileges with the necessary ones. A server without accounts grants everything.
async fn privileges(database: &Database, wanted: &[CollectionFacts]) -> Result<String, String> {
    let mut actions = vec![
        "find",
        "insert",
        "createCollection",
        "createIndex",
        "listCollections",
        "listIndexes",
        "dropCollection",
    ];
    let option = |name: &str| {
        wanted
            .iter()
            .any(|wanted| wanted.options.get(name).is_some())
    };
    if option("validator") {
        actions.push("bypassDocumentValidation");
    }
    if option("expireAfterSeconds") {
        actions.push("collMod");
    }
    let status = database
        .run_command(doc! { "connectionStatus": 1, "showPrivileges": true })
        .await
        .map_err(|error| Error::database("reading the account's privileges")(&error).to_string())?;
    let users = field::at(&status, "authInfo.authenticatedUsers").and_then(Bson::as_array);
    if users.is_none_or(Vec::is_empty) {
        return Ok("the server does not require a password".into());
    }
    let held = field::at(&status, "authInfo.authenticatedUserPrivileges").and_then(Bson::as_array);
    let held = held.map_or(&[][..], Vec::as_slice);
    let missing: Vec<&str> = actions
        .into_iter()
        .filter(|action| {
            !held
                .iter()
                .filter_map(Bson::as_document)
                .any(|privilege| grants(privilege, database.name(), action))
        })
        .collect();
    if missing.is_empty() {
        Ok("the account has the necessary privileges".into())
    } else {
        Err(format!(
            "the account lacks privileges on {}: {}",
            database.name(),
            missing.join(", ")
        ))
    }
}

fn grants(privilege: &Document, database: &str, action: &str) -> bool {
    let any = field::flag(privilege, "resource.anyResource") == Some(true);
    let of_database = field::text(privilege, "resource.db")
        .is_some_and(|name| name.is_empty() || name == database)
        && field::text(privilege, "resource.collection").is_some_and(str::is_empty);
    let actions = privilege.get_array("actions");
    (any || of_database)
        && actions.is_ok_and(|actions| {
            actions.iter().any(|held| {
                matches!(held.as_str(), Some("anyAction")) || held.as_str() == Some(action)
            })
        })
}

/// Checks that the server's disk has room for this many bytes of documents: a quarter more for indexes, and what a server keeps free. Compression
/// makes the data smaller, so this is an upper bound.
///
/// # Errors
/// The reason why there is not enough room.
pub async fn free_disk(database: &Database, bytes: u64) -> Result<String, String> {
    let free = match free_bytes(database).await {
        Some(free) => Some(free),
        // Of a database that does not exist, a server reports no disk.
        None => free_bytes(&database.client().database("admin")).await,
    };
    enough(free, bytes)
}

fn enough(free: Option<u64>, bytes: u64) -> Result<String, String> {
    let needed = bytes + bytes / 4 + SPARE_BYTES;
    let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
    match free {
        None => Ok("free disk of the server: not known".into()),
        Some(free) if free < needed => Err(format!(
            "the server has {} MiB of free disk; {} MiB are needed",
            mib(free),
            mib(needed)
        )),
        Some(free) => Ok(format!(
            "the server has {} MiB of free disk; {} MiB are needed",
            mib(free),
            mib(needed)
        )),
    }
}

/// Free bytes of the disk that holds a database; `None` if it does not exist or the account may not read it.
async fn free_bytes(database: &Database) -> Option<u64> {
    let stats = database.run_command(doc! { "dbStats": 1 }).await.ok()?;
    let total = field::count(&stats, "fsTotalSize").filter(|total| *total > 0)?;
    Some(total.saturating_sub(field::count(&stats, "fsUsedSize")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_needs_a_quarter_more_than_the_data_and_a_reserve() {
        let data = 400 * 1024 * 1024;
        let needed = 500 * 1024 * 1024 + SPARE_BYTES;
        assert!(enough(Some(needed), data).is_ok());
        let refused = enough(Some(needed - 1024 * 1024), data).unwrap_err();
        assert!(refused.contains("MiB are needed"), "{refused}");
        assert_eq!(
            enough(None, data).unwrap(),
            "free disk of the server: not known"
        );
    }
}
