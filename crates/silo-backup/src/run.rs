//! One run, step by step. Nothing is published that was not read back.

pub mod last_run;
pub mod lease;
pub mod outcome;
mod publish;
pub mod published_index;
mod run_context;
mod upload;

use std::time::Instant;

use jiff::Timestamp;
use log::info;
use silo_core::units::whole_millis;

use crate::alerts::Event;
use crate::context::Context;
use crate::engine;
use crate::error::Error;
use crate::progress::Reporter;
use crate::repository::Repository;
use crate::repository::manifest::{Consistency, Manifest, new_id};
use crate::verification::expectations::evaluate;

use lease::Lease;
use outcome::{DestinationOutcome, RunOutcome};
use publish::publish;
use published_index::PublishedIndex;
use run_context::{OpenDestination, RunContext};
use upload::dump;

/// Makes a backup and sends the alerts about it.
///
/// # Errors
/// The error that prevented the backup.
pub async fn run(context: &Context, report: &Reporter) -> Result<RunOutcome, Error> {
    context.alerts.send(&Event::Started).await;
    let outcome = leased(context, report).await;
    context.wait_for_cleanup().await;
    let event = match &outcome {
        Ok(outcome) => verdict(outcome),
        Err(error) => Event::Alarm(error.code(), format!("the backup failed: {error}")),
    };
    last_run::remember(&context.client, &outcome).await;
    context.alerts.send(&event).await;
    outcome
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
    Event::Succeeded(format!(
        "{}: {} documents, {} bytes",
        outcome.id, outcome.documents, outcome.stored_bytes
    ))
}

async fn leased(context: &Context, report: &Reporter) -> Result<RunOutcome, Error> {
    context
        .leased(report, async |lease| make(context, lease, report).await)
        .await
}

async fn make(context: &Context, lease: &Lease, report: &Reporter) -> Result<RunOutcome, Error> {
    let (started, began) = (Timestamp::now(), Instant::now());
    let run = RunContext {
        context,
        lease,
        report,
        id: new_id(started),
        started,
    };
    let source = engine::identify(&context.dump_request(report)).await?;
    let mut destinations = Vec::new();
    let (mut opened, mut problems) = (Vec::new(), Vec::new());
    for repository in context.repositories() {
        match open(&run, repository).await {
            Ok((destination, found)) => {
                problems.extend(found);
                opened.push(destination);
            }
            Err(error) => destinations.push(run.failed(repository, &error)?),
        }
    }
    let dump = dump(&run, opened, &mut destinations).await?;
    let documents = dump.summary.collections.iter();
    let documents = documents.map(|collection| collection.sums.documents).sum();
    report.begin("verifying", Some(documents), "documents");
    let held = evaluate(
        &context.settings.expectations,
        &dump.summary.collections,
        last_good(&dump.stored_in),
    );
    let (mut published, mut first_error) = (None, None);
    for destination in &dump.stored_in {
        match publish(&run, destination, &dump, &source, &held).await {
            Ok(manifest) => {
                published = Some(manifest);
                destinations.push(DestinationOutcome {
                    name: destination.repository.name,
                    error: None,
                });
            }
            Err(error) => {
                destinations.push(run.failed(&destination.repository, &error)?);
                first_error.get_or_insert(error);
            }
        }
    }
    // A backup that is stored nowhere does not exist.
    if let Some(error) = first_error
        && published.is_none()
    {
        return Err(error);
    }
    let outcome = RunOutcome {
        id: run.id,
        good: held.is_empty(),
        held,
        consistency: match dump.outcome.consistency {
            Consistency::Snapshot => "snapshot",
            Consistency::Fuzzy => "fuzzy",
        },
        documents: published.as_ref().map_or(0, Manifest::documents),
        bytes: published.as_ref().map_or(0, Manifest::bytes),
        stored_bytes: dump.outcome.stored.bytes,
        duration_ms: whole_millis(began.elapsed()),
        destinations,
        problems,
    };
    info!(id = outcome.id.as_str(), documents = outcome.documents, bytes = outcome.stored_bytes, duration_ms = outcome.duration_ms, good = outcome.good; "a backup was made");
    Ok(outcome)
}

/// Reads a destination, removes orphans of interrupted runs, and finds vanished backups.
async fn open(
    run: &RunContext<'_>,
    repository: &Repository,
) -> Result<(OpenDestination, Vec<String>), Error> {
    let id = repository.identity().await?;
    let contents = repository.contents().await?;
    let index = PublishedIndex::new(&run.context.client, &id);
    index.reconcile(&contents).await?;
    let published = index.published().await?;
    let problems = contents.problems(&published).into_iter();
    let problems = problems.map(|problem| format!("{}: {problem}", repository.name));
    repository
        .remove_orphans(&contents, &published, run.started)
        .await?;
    let destination = OpenDestination {
        repository: repository.clone(),
        id,
        contents,
    };
    Ok((destination, problems.collect()))
}

fn last_good(destinations: &[OpenDestination]) -> Option<&Manifest> {
    let newest = destinations
        .iter()
        .filter_map(|destination| destination.contents.newest_good());
    newest
        .map(|entry| &entry.manifest)
        .max_by_key(|manifest| manifest.as_of)
}
