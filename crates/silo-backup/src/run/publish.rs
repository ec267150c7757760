//! Verification in storage, and publication of the manifest, which comes last.

use crate::error::Error;
use crate::repository::manifest::{
    ArchiveFacts, FORMAT, Manifest, Previous, State, Tool, Verification, not_included, sha256,
};
use crate::run::published_index::PublishedIndex;
use crate::run::run_context::{OpenDestination, RunContext};
use crate::run::upload::Dump;
use crate::verification::{as_written, read_back};

/// Reads the archive back from a destination, compares it with what was written, and writes the manifest.
pub(super) async fn publish(
    run: &RunContext<'_>,
    destination: &OpenDestination,
    dump: &Dump,
    held: &[String],
) -> Result<Manifest, Error> {
    let settings = &run.context.settings;
    let outcome = &dump.outcome;
    let archive = ArchiveFacts {
        key: run.archive_key(),
        bytes: outcome.stored.bytes,
        sha256: outcome.stored.sha256.clone(),
        archive_bytes: outcome.stored.archive_bytes,
        compression: settings.encoding.compression,
        recipient: settings.encoding.recipient.clone(),
    };
    let read = read_back(
        &destination.repository,
        &archive,
        settings.identity.as_ref(),
        run.ids_folder(),
        run.report,
    )
    .await?;
    let how = if read.summary.is_some() {
        "decoded"
    } else {
        "bytes"
    };
    let summary = read.summary.as_ref().unwrap_or(&dump.summary);
    as_written(&outcome.written, summary)?;
    let manifest = Manifest {
        format: FORMAT,
        id: run.id.clone(),
        repository: destination.id.clone(),
        started_at: run.started,
        as_of: outcome.as_of,
        verified_at: run.context.clock.now(),
        state: if held.is_empty() {
            State::Verified
        } else {
            State::Held
        },
        held: held.to_vec(),
        source: run.source.clone(),
        consistency: outcome.consistency,
        cluster_time: outcome.cluster_time,
        not_in_snapshot: outcome.not_in_snapshot.clone(),
        changed_during_read: outcome.changed.clone(),
        not_included: not_included(),
        archive,
        collections: summary.collections.clone(),
        verification: Verification {
            how: how.into(),
            invalid_strings: summary.invalid_strings,
        },
        tool: Tool::of(&settings.process.build),
        lease: run.lease.fencing_token(),
        previous: destination.contents.newest().map(|newest| Previous {
            id: newest.manifest.id.clone(),
            sha256: newest.sha256.clone(),
        }),
    };
    let file = manifest
        .to_file()
        .map_err(|error| Error::Engine(error.to_string()))?;
    let (index, digest) = (
        PublishedIndex::new(&run.context.client, &destination.id),
        sha256(&file),
    );
    run.lease.confirm().await?;
    index.remember(&manifest, &digest, false).await?;
    // If the lease was lost meanwhile, its new holder knows of the entry, and nothing is published here.
    run.lease.confirm().await?;
    destination
        .repository
        .write(&format!("manifests/{}.json", run.id), file)
        .await?;
    index.remember(&manifest, &digest, true).await?;
    Ok(manifest)
}
