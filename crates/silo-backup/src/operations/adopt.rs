//! Reconstruction of a backup's manifest from its archive.

use serde::Serialize;

use crate::archive::encoding::Compression;
use crate::catalog::{Catalog, Destination};
use crate::context::Context;
use crate::error::Error;
use crate::repository::manifest::{
    ArchiveFacts, ChangedDuringRead, Consistency, FORMAT, Manifest, Previous, Server,
    SourceIdentity, State, Tool, Verification, is_id, not_included, sha256, time_of_id,
};
use crate::repository::orphans::id_of;
use crate::run::lease::Lease;
use crate::run::published_index::PublishedIndex;
use crate::run::source_memory::SourceMemory;
use crate::verification::{Survey, survey};
use silo_cli::progress::Reporter;

/// Result of an adoption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adopted {
    /// Id of the backup.
    pub id: String,
    /// Destinations where the manifest was written.
    pub destinations: Vec<&'static str>,
    /// Number of documents.
    pub documents: u64,
    /// `true` if the database remembers this archive, so that the backup counts as good as before; `false` if it is held.
    pub remembered: bool,
}

/// Reads an archive without a manifest, given by its key (`data/ID...`) or its id, and writes a manifest for it. With `dry_run`, only reads it.
///
/// # Errors
/// When there is no such archive, it has a manifest, it is damaged, or it is of another database.
pub async fn adopt(
    context: &Context,
    key: &str,
    dry_run: bool,
    report: &Reporter,
) -> Result<Adopted, Error> {
    context
        .leased(report, async |lease| {
            let catalog = Catalog::read(context, &context.client).await;
            let id = id_of(key);
            if !is_id(id) {
                return Err(Error::NotFound(format!(
                    "{key} is not the key of an archive"
                )));
            }
            let mut adopted = Adopted {
                id: id.to_owned(),
                destinations: Vec::new(),
                documents: 0,
                remembered: false,
            };
            for destination in &catalog.destinations {
                let contents = &destination.contents;
                let archive = contents.archives.iter().find(|(key, _)| id_of(key) == id);
                let has_manifest = contents.entries.iter().any(|entry| entry.manifest.id == id);
                let (Some((key, (bytes, _))), false) = (archive, has_manifest) else {
                    continue;
                };
                let manifest = read(context, lease, destination, id, key, *bytes, report).await?;
                adopted.documents = manifest.documents();
                adopted.remembered = manifest.state == State::Verified;
                if !dry_run {
                    publish(context, destination, &manifest).await?;
                }
                adopted.destinations.push(destination.repository.name);
            }
            if adopted.destinations.is_empty() {
                return Err(Error::NotFound(format!(
                    "there is no archive {id} without a manifest"
                )));
            }
            Ok(adopted)
        })
        .await
}

async fn read(
    context: &Context,
    lease: &Lease,
    destination: &Destination,
    id: &str,
    key: &str,
    bytes: u64,
    report: &Reporter,
) -> Result<Manifest, Error> {
    let settings = &context.settings;
    let repository = destination.repository_id().ok_or_else(|| {
        Error::Repository(format!(
            "{}: the repository is not ours; run `silo-backup init --adopt` first",
            destination.repository.name
        ))
    })?;
    let encrypted = key.ends_with(".age");
    if encrypted && settings.identity.is_none() {
        return Err(Error::Refused(
            "the archive is encrypted: set BACKUP_AGE_IDENTITY to its private key".into(),
        ));
    }
    let compression = if key.trim_end_matches(".age").ends_with(".zst") {
        Compression::Zstd
    } else {
        Compression::Gzip
    };
    report.begin("verifying", None, "documents");
    let Survey {
        summary,
        sha256,
        archive_bytes,
    } = survey(
        &destination.repository,
        key,
        bytes,
        compression,
        settings.identity.as_ref().filter(|_| encrypted),
        &settings.folder,
        report,
    )
    .await?;
    if summary.database != settings.database {
        return Err(Error::Refused(format!(
            "the archive is of the database `{}`",
            summary.database
        )));
    }
    if let Some(name) = &summary.duplicate {
        return Err(Error::Corrupt(format!(
            "two documents of {name} have the same _id"
        )));
    }
    let published = destination.published.clone()?;
    let remembered = published
        .iter()
        .find(|known| known.id == id && known.archive_sha256 == sha256);
    let started_at = time_of_id(id).unwrap_or_default();
    let held = match remembered {
        Some(known) if known.good => Vec::new(),
        Some(_) => vec!["it was held when it was made".into()],
        None => vec!["its manifest was rebuilt from the archive, and the database does not remember the archive".into()],
    };
    let memory = SourceMemory::read(&context.client, &settings.database, false).await?;
    Ok(Manifest {
        format: FORMAT,
        id: id.to_owned(),
        repository: repository.to_owned(),
        started_at,
        as_of: remembered
            .and_then(|known| known.as_of)
            .unwrap_or(started_at),
        verified_at: context.clock.now(),
        state: if held.is_empty() {
            State::Verified
        } else {
            State::Held
        },
        held,
        source: SourceIdentity {
            database: summary.database.clone(),
            id: memory.id().to_owned(),
            server: Server {
                version: summary.server_version.clone(),
                feature_compatibility_version: None,
                replica_set: None,
                replica_set_id: None,
                term: None,
            },
        },
        // An archive does not tell how it was read.
        consistency: Consistency::Fuzzy,
        cluster_time: None,
        not_in_snapshot: Vec::new(),
        changed_during_read: ChangedDuringRead::default(),
        not_included: not_included(),
        archive: ArchiveFacts {
            key: key.to_owned(),
            bytes,
            sha256,
            archive_bytes,
            compression,
            recipient: encrypted.then(|| settings.encoding.recipient.clone().unwrap_or_default()),
        },
        collections: summary.collections,
        verification: Verification {
            how: "decoded".into(),
            invalid_strings: summary.invalid_strings,
        },
        tool: Tool::of(&settings.process.build),
        lease: lease.fencing_token(),
        previous: destination.contents.newest().map(|newest| Previous {
            id: newest.manifest.id.clone(),
            sha256: newest.sha256.clone(),
        }),
    })
}

async fn publish(
    context: &Context,
    destination: &Destination,
    manifest: &Manifest,
) -> Result<(), Error> {
    let file = manifest
        .to_file()
        .map_err(|error| Error::Engine(error.to_string()))?;
    let (index, digest) = (
        PublishedIndex::new(&context.client, &manifest.repository),
        sha256(&file),
    );
    let repository = &destination.repository;
    index.remember(manifest, &digest, false).await?;
    repository
        .write(&format!("manifests/{}.json", manifest.id), file)
        .await?;
    index.remember(manifest, &digest, true).await?;
    repository
        .delete(&format!("orphans/{}.json", manifest.id))
        .await
}
