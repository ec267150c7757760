//! One run, step by step. Nothing is published that was not read back, and nothing is deleted before a backup is published.

pub mod attempts;
mod housekeeping;
pub mod lease;
pub mod outcome;
mod publish;
pub mod published_index;
mod run_context;
pub mod source_memory;
mod upload;

use std::time::Instant;

use log::info;
use silo_core::units::whole_millis;

use crate::alerts::Event;
use crate::catalog::{Catalog, Destination};
use crate::context::Context;
use crate::continuous::local_copy;
use crate::dump::identify;
use crate::error::Error;
use crate::repository::manifest::{Consistency, SourceIdentity, new_id};
use crate::repository::{Identity, Owner};
use crate::verification::expectations::evaluate;
use silo_cli::progress::Reporter;

use attempts::{AttemptEnd, Kind, LastAttempt};
use lease::Lease;
use outcome::{DestinationOutcome, RunOutcome};
use publish::publish;
use published_index::PublishedIndex;
use run_context::{OpenDestination, RunContext};
use source_memory::{Ownership, SourceMemory};
use upload::dump;

/// Makes a backup and sends the alerts about it.
///
/// # Errors
/// The error that prevented the backup.
pub async fn run(context: &Context, report: &Reporter) -> Result<RunOutcome, Error> {
    let outcome = context
        .leased(report, async |lease| {
            begin_attempt(context).await?;
            context.alerts.send(&Event::RunStarted).await;
            make(context, lease, report).await
        })
        .await;
    // The run that holds the lease records its own result.
    if !matches!(outcome, Err(Error::Busy(_))) {
        let end = AttemptEnd::of_run(&outcome);
        Kind::Run
            .end(&context.client, end, context.clock.now())
            .await;
    }
    let event = match &outcome {
        Ok(outcome) => Some(verdict(outcome)),
        // Neither another run nor a shutdown is a failure.
        Err(Error::Busy(_) | Error::Interrupted) => None,
        Err(error) => Some(Event::Alarm(
            error.code(),
            format!("the backup failed: {error}"),
        )),
    };
    if let Some(event) = event {
        context.alerts.send(&event).await;
    }
    outcome
}

/// Records the attempt, and sends an alert if the one before it did not end.
async fn begin_attempt(context: &Context) -> Result<(), Error> {
    let before = Kind::Run
        .begin(&context.client, context.clock.now())
        .await?;
    if let Some(LastAttempt {
        at,
        outcome,
        failures,
        ..
    }) = before
        && outcome == "unfinished"
    {
        let text = format!(
            "the backup begun at {at} did not end: its process was killed (out of memory, power loss); this is attempt {}",
            failures + 1
        );
        context.alerts.send(&Event::Alarm("killed", text)).await;
    }
    Ok(())
}

fn verdict(outcome: &RunOutcome) -> Event {
    let failed = outcome
        .destinations
        .iter()
        .find_map(|at| Some((at.name, at.error.as_ref()?)));
    if !outcome.good {
        return Event::Alarm(
            "held",
            format!("{} is held: {}", outcome.id, outcome.held.join("; ")),
        );
    }
    if let Some((name, error)) = failed {
        return Event::Alarm(
            "destination_failed",
            format!("{} is not in {name}: {error}", outcome.id),
        );
    }
    if !outcome.problems.is_empty() {
        return Event::Alarm("vanished", outcome.problems.join("; "));
    }
    Event::RunSucceeded(format!(
        "{}: {} documents, {} bytes",
        outcome.id, outcome.documents, outcome.stored_bytes
    ))
}

async fn make(context: &Context, lease: &Lease, report: &Reporter) -> Result<RunOutcome, Error> {
    let (started, began) = (context.clock.now(), Instant::now());
    let server = identify(&context.client).await?;
    let database = &context.settings.database;
    let memory = SourceMemory::read(&context.client, database, true).await?;
    let run = RunContext {
        context,
        lease,
        report,
        id: new_id(started),
        started,
        source: SourceIdentity {
            database: database.clone(),
            id: memory.id().to_owned(),
            server,
        },
    };
    let catalog = Catalog::read(context, &context.client).await;
    let problems = catalog.problems();
    let before = catalog.newest_good().map(|entry| entry.manifest.clone());
    if local_copy::is_needed(&context.settings) {
        let newest = before.as_ref().map(|before| before.id.as_str());
        local_copy::remove_except(&context.settings.folder, newest.as_slice());
    }
    let mut failed = Vec::new();
    let mut opened = Vec::new();
    for (repository, error) in catalog.failed {
        failed.push((repository.name, error));
    }
    for destination in catalog.destinations {
        let name = destination.repository.name;
        match open(&run, &memory, destination).await {
            Ok(destination) => opened.push(destination),
            Err(error) => failed.push((name, error)),
        }
    }
    if opened.is_empty() {
        let (_, error) = failed.swap_remove(0);
        return Err(error);
    }
    let dump = dump(&run, opened, &mut failed).await?;
    let summary = &dump.summary;
    let documents = summary.collections.iter();
    let documents = documents.map(|collection| collection.sums.documents).sum();
    report.begin("verifying", Some(documents), "documents");
    let mut held = evaluate(
        &context.settings.expectations,
        &summary.collections,
        before.as_ref(),
    );
    held.extend(dump.outcome.changed.reasons_to_hold());
    let (mut published, mut published_in) = (None, Vec::new());
    for destination in &dump.stored_in {
        match publish(&run, destination, &dump, &held).await {
            Ok(manifest) => {
                published = Some(manifest);
                published_in.push(destination);
            }
            Err(error) => failed.push((destination.repository.name, error)),
        }
    }
    // A backup that is stored nowhere does not exist.
    let Some(manifest) = published else {
        let (_, error) = failed.swap_remove(0);
        return Err(error);
    };
    let warnings = housekeeping::remove_orphans(&run, &published_in, &problems).await;
    let mut destinations: Vec<DestinationOutcome> = published_in
        .iter()
        .map(|destination| DestinationOutcome {
            name: destination.repository.name,
            error: None,
        })
        .collect();
    destinations.extend(failed.iter().map(|(name, error)| run.failed(name, error)));
    let outcome = RunOutcome {
        id: run.id,
        good: held.is_empty(),
        held,
        consistency: match dump.outcome.consistency {
            Consistency::Snapshot => "snapshot",
            Consistency::Fuzzy => "fuzzy",
        },
        documents: manifest.documents(),
        bytes: manifest.bytes(),
        stored_bytes: dump.outcome.stored.bytes,
        duration_ms: whole_millis(began.elapsed()),
        destinations,
        problems,
        notes: manifest
            .notes()
            .into_iter()
            .chain(dump.outcome.slow)
            .chain(warnings)
            .collect(),
    };
    info!(id = outcome.id.as_str(), documents = outcome.documents, bytes = outcome.stored_bytes, duration_ms = outcome.duration_ms, good = outcome.good; "a backup was made");
    Ok(outcome)
}

/// Opens a destination for writing. A new repository gets an identity; one that is not ours is refused.
async fn open(
    run: &RunContext<'_>,
    memory: &SourceMemory,
    destination: Destination,
) -> Result<OpenDestination, Error> {
    let client = &run.context.client;
    let Destination {
        repository,
        contents,
        ownership,
        published,
    } = destination;
    let identity = match ownership? {
        Ownership::Ours(identity) => identity,
        Ownership::Foreign(reason) => {
            return Err(Error::Repository(format!("{}: {reason}", repository.name)));
        }
        Ownership::New => {
            let identity = Identity::new(Owner {
                database: run.source.database.clone(),
                source: run.source.id.clone(),
                since: run.started,
            });
            repository.write_identity(&identity).await?;
            info!(destination = repository.name, repository = identity.id.as_str(); "a repository was created");
            identity
        }
    };
    memory
        .remember(client, repository.name, &identity.id)
        .await?;
    PublishedIndex::new(client, &identity.id)
        .reconcile(&contents)
        .await?;
    Ok(OpenDestination {
        repository,
        id: identity.id,
        contents,
        published: published?,
    })
}
