//! One run, in the order in which it happens. Nothing is published that was not read back.

pub mod last_run;
pub mod lease;
pub mod outcome;
pub mod published_index;

use std::time::Instant;

use jiff::Timestamp;
use log::info;
use silo_core::units::whole_millis;
use tokio::sync::mpsc;

use crate::alerts::Event;
use crate::archive::encoding::Chunk;
use crate::archive::summary::ArchiveSummary;
use crate::context::Context;
use crate::engine::{self, DumpOutcome};
use crate::error::Error;
use crate::progress::Reporter;
use crate::repository::manifest::{
    ArchiveFacts, Manifest, Previous, SourceIdentity, State, Tool, Verification, new_id, sha256,
};
use crate::repository::{Repository, RepositoryContents};
use crate::run::lease::Lease;
use crate::run::outcome::{DestinationOutcome, RunOutcome};
use crate::run::published_index::PublishedIndex;
use crate::verification::expectations::judge;
use crate::verification::{as_written, read_back, verify_while_writing};

/// Chunks buffered between the pipeline and the destinations.
const AHEAD: usize = 4;

/// A destination as this run found it.
struct OpenDestination {
    repository: Repository,
    id: String,
    contents: RepositoryContents,
}

/// Makes a backup and sends the alerts about it.
///
/// # Errors
/// The error that prevented the backup.
pub async fn run(context: &Context, report: &Reporter) -> Result<RunOutcome, Error> {
    context.alerts.tell(&Event::Started).await;
    let outcome = leased(context, report).await;
    context.cleaned_up().await;
    let event = match &outcome {
        Ok(made) => verdict(made),
        Err(error) => Event::MustLook(error.code(), format!("the backup failed: {error}")),
    };
    last_run::remember(&context.client, &outcome).await;
    context.alerts.tell(&event).await;
    outcome
}

fn verdict(made: &RunOutcome) -> Event {
    let failed = made
        .destinations
        .iter()
        .find_map(|at| Some((at.name, at.error.as_ref()?)));
    if !made.good {
        return Event::MustLook(
            "held",
            format!("{} is held: {}", made.id, made.held.join("; ")),
        );
    }
    if let Some((name, why)) = failed {
        return Event::MustLook(
            "destination_failed",
            format!("{} is not in {name}: {why}", made.id),
        );
    }
    if !made.problems.is_empty() {
        return Event::MustLook("vanished", made.problems.join("; "));
    }
    Event::Succeeded(format!(
        "{}: {} documents, {} bytes",
        made.id, made.documents, made.stored_bytes
    ))
}

async fn leased(context: &Context, report: &Reporter) -> Result<RunOutcome, Error> {
    context
        .leased(report, async |lease| make(context, lease, report).await)
        .await
}

async fn make(context: &Context, lease: &Lease, report: &Reporter) -> Result<RunOutcome, Error> {
    let (started, began) = (Timestamp::now(), Instant::now());
    let id = new_id(started);
    let source = engine::identify(&context.order(report)).await?;
    let mut destinations = Vec::new();
    let (mut places, mut problems) = (Vec::new(), Vec::new());
    for repository in context.repositories() {
        match prepare(context, repository, started).await {
            Ok((place, found)) => {
                problems.extend(found);
                places.push(place);
            }
            Err(error) => destinations.push(failed(repository, &error, context)?),
        }
    }
    let (outcome, places) = write(context, &id, places, &mut destinations, report).await?;
    report.begin(
        "verifying",
        Some(
            outcome
                .1
                .collections
                .iter()
                .map(|found| found.sums.documents)
                .sum(),
        ),
        "documents",
    );
    let held = judge(
        &context.settings.expectations,
        &outcome.1.collections,
        last_good(&places),
    );
    let mut made = RunOutcome {
        id,
        good: held.is_empty(),
        held,
        consistency: match outcome.0.consistency {
            crate::repository::manifest::Consistency::Snapshot => "snapshot",
            crate::repository::manifest::Consistency::Fuzzy => "fuzzy",
        },
        documents: 0,
        bytes: 0,
        stored_bytes: outcome.0.stored.bytes,
        took_ms: 0,
        destinations,
        problems,
    };
    let mut first_error = None;
    for place in &places {
        let published = publish(
            context, lease, place, &made, &outcome, &source, started, report,
        )
        .await;
        match published {
            Ok(manifest) => {
                (made.documents, made.bytes) = (manifest.documents(), manifest.bytes());
                made.destinations.push(DestinationOutcome {
                    name: place.repository.name,
                    error: None,
                });
            }
            Err(error) => {
                made.destinations
                    .push(failed(&place.repository, &error, context)?);
                first_error.get_or_insert(error);
            }
        }
    }
    // A backup that is nowhere is none, whatever else went well.
    if let Some(error) = first_error
        && made.destinations.iter().all(|at| at.error.is_some())
    {
        return Err(error);
    }
    made.took_ms = whole_millis(began.elapsed());
    info!(id = made.id.as_str(), documents = made.documents, bytes = made.stored_bytes, took_ms = made.took_ms, good = made.good; "a backup was made");
    Ok(made)
}

/// Result for a failed destination. If it is the only one, the run fails.
fn failed(
    repository: &Repository,
    error: &Error,
    context: &Context,
) -> Result<DestinationOutcome, Error> {
    log::error!(destination = repository.name, code = error.code(); "a destination failed: {error}");
    match &context.copy {
        None => Err(error.clone()),
        Some(_) => Ok(DestinationOutcome {
            name: repository.name,
            error: Some(error.to_string()),
        }),
    }
}

/// Reads a destination, removes orphans of interrupted runs, and finds vanished backups.
async fn prepare(
    context: &Context,
    repository: &Repository,
    now: Timestamp,
) -> Result<(OpenDestination, Vec<String>), Error> {
    let id = repository.identity().await?;
    let contents = repository.contents().await?;
    let journal = PublishedIndex::new(&context.client, &id);
    journal.reconcile(&contents).await?;
    let published = journal.published().await?;
    let problems = contents.problems(&published);
    let problems = problems
        .into_iter()
        .map(|problem| format!("{}: {problem}", repository.name))
        .collect();
    repository
        .remove_orphans(&contents, &published, now)
        .await?;
    Ok((
        OpenDestination {
            repository: repository.clone(),
            id,
            contents,
        },
        problems,
    ))
}

fn last_good(places: &[OpenDestination]) -> Option<&Manifest> {
    let newest = places
        .iter()
        .filter_map(|place| place.contents.newest_good());
    newest
        .map(|entry| &entry.manifest)
        .max_by_key(|manifest| manifest.as_of)
}

/// Reads the database and writes the archive to every destination at once; those that took it go on.
async fn write(
    context: &Context,
    id: &str,
    places: Vec<OpenDestination>,
    destinations: &mut Vec<DestinationOutcome>,
    report: &Reporter,
) -> Result<((DumpOutcome, ArchiveSummary), Vec<OpenDestination>), Error> {
    let settings = &context.settings;
    let key = key(context, id);
    let (out, chunks) = mpsc::channel(AHEAD);
    let mut uploads = Vec::new();
    let mut ways = Vec::new();
    for place in places {
        let (way, taken) = mpsc::channel(AHEAD);
        let (repository, key) = (place.repository.clone(), key.clone());
        uploads.push((
            place,
            context
                .uploads
                .spawn(async move { repository.store(&key, taken).await }),
        ));
        ways.push(way);
    }
    if uploads.is_empty() {
        return Err(Error::Engine("no destination can be written to".into()));
    }
    let sharing = tokio::spawn(share(chunks, ways));
    // An encrypted archive cannot be verified in storage without the private key, so it is verified while it is written, before encryption.
    let encrypted_without_identity =
        settings.encoding.recipient.is_some() && settings.identity.is_none();
    let (along, reading) = encrypted_without_identity
        .then(|| verify_while_writing(settings.encoding.compression, &settings.folder))
        .unzip();
    let order = context.order(report);
    let outcome = engine::run(settings.engine, &order, out, along).await;
    drop(sharing.await);
    let mut written = Vec::new();
    let mut last = None;
    for (place, upload) in uploads {
        let stored = upload
            .await
            .map_err(|_panic| Error::Engine("an upload broke off".into()))?;
        match (&outcome, stored) {
            (Ok(outcome), Ok(bytes)) if bytes == outcome.stored.bytes => written.push(place),
            (Ok(_), Ok(_)) => destinations.push(failed(
                &place.repository,
                &Error::Engine("not all of the archive was written".into()),
                context,
            )?),
            (_, Err(error)) => {
                // The upload's own error explains more than "no destination took the archive".
                last = Some(error.clone());
                destinations.push(DestinationOutcome {
                    name: place.repository.name,
                    error: Some(error.to_string()),
                });
            }
            (Err(_), Ok(_)) => {}
        }
    }
    let outcome = match (outcome, last) {
        (Ok(outcome), _) if !written.is_empty() => outcome,
        (Err(error @ Error::Database { .. }), _) => return Err(error),
        (_, Some(Error::Storage { doing, fault }))
            if fault.kind != silo_spaces::error::Kind::Source =>
        {
            return Err(Error::Storage { doing, fault });
        }
        (Err(error), _) => return Err(error),
        (Ok(_), last) => {
            return Err(
                last.unwrap_or_else(|| Error::Engine("no destination took the archive".into()))
            );
        }
    };
    let summary = match reading {
        None => outcome.written.clone(),
        Some(reading) => {
            let summary = reading
                .await
                .map_err(|_panic| Error::Engine("reading along broke off".into()))??;
            as_written(&outcome.written.collections, &summary)?;
            summary
        }
    };
    Ok(((outcome, summary), written))
}

fn key(context: &Context, id: &str) -> String {
    let encoding = &context.settings.encoding;
    let encrypted = if encoding.recipient.is_some() {
        ".age"
    } else {
        ""
    };
    format!(
        "data/{id}.archive.{}{encrypted}",
        encoding.compression.extension()
    )
}

/// Sends every chunk to every destination. A failed destination is dropped; without any left, reading stops.
async fn share(mut chunks: mpsc::Receiver<Chunk>, mut ways: Vec<mpsc::Sender<Chunk>>) {
    while let Some(chunk) = chunks.recv().await {
        let mut left = Vec::with_capacity(ways.len());
        for way in ways {
            if way.send(chunk.clone()).await.is_ok() {
                left.push(way);
            }
        }
        ways = left;
        if ways.is_empty() {
            return;
        }
    }
}

/// Reads back what a destination has, and publishes the manifest, last.
#[expect(clippy::too_many_arguments, reason = "what a manifest is made of")]
async fn publish(
    context: &Context,
    lease: &Lease,
    place: &OpenDestination,
    made: &RunOutcome,
    (outcome, summary): &(DumpOutcome, ArchiveSummary),
    source: &SourceIdentity,
    started_at: Timestamp,
    report: &Reporter,
) -> Result<Manifest, Error> {
    let settings = &context.settings;
    let archive = ArchiveFacts {
        key: key(context, &made.id),
        bytes: outcome.stored.bytes,
        sha256: outcome.stored.sha256.clone(),
        archive_bytes: outcome.stored.archive_bytes,
        compression: settings.encoding.compression,
        recipient: settings.encoding.recipient.clone(),
    };
    let read = read_back(
        &place.repository,
        &archive,
        settings.identity.as_ref(),
        &settings.folder,
        report,
    )
    .await?;
    let how = if read.summary.is_some() {
        "decoded"
    } else {
        "bytes"
    };
    let summary = read.summary.as_ref().unwrap_or(summary);
    as_written(&outcome.written.collections, summary)?;
    let manifest = Manifest {
        format: crate::repository::manifest::FORMAT,
        id: made.id.clone(),
        repository: place.id.clone(),
        started_at,
        as_of: outcome.as_of,
        verified_at: Timestamp::now(),
        state: if made.good {
            State::Verified
        } else {
            State::Held
        },
        held: made.held.clone(),
        source: source.clone(),
        engine: settings.engine.word().into(),
        consistency: outcome.consistency,
        not_in_snapshot: outcome.not_in_snapshot.clone(),
        archive,
        collections: summary.collections.clone(),
        verification: Verification {
            how: how.into(),
            unique_indexes: summary.unique_indexes,
            not_looked_at: summary.not_looked_at.clone(),
        },
        tool: Tool {
            version: settings.process.build.version.into(),
            sha: settings.process.build.sha.clone(),
            dirty: settings.process.build.dirty,
        },
        lease: lease.number(),
        previous: place.contents.newest().map(|newest| Previous {
            id: newest.manifest.id.clone(),
            sha256: newest.sha256.clone(),
        }),
    };
    let file = manifest
        .to_file()
        .map_err(|error| Error::Engine(error.to_string()))?;
    let (journal, digest) = (
        PublishedIndex::new(&context.client, &place.id),
        sha256(&file),
    );
    lease.confirm().await?;
    journal
        .remember(&made.id, &digest, lease.number(), false)
        .await?;
    // A holder that was held up here publishes nothing that its successor does not know of.
    lease.confirm().await?;
    place
        .repository
        .write(&format!("manifests/{}.json", made.id), file)
        .await?;
    journal
        .remember(&made.id, &digest, lease.number(), true)
        .await?;
    Ok(manifest)
}
