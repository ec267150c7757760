//! Proof: the backup before the newest one, rolled forward with the slices in storage, must be the newest one. Every night this shows that the slices of the
//! day have every change, and are understood.
//!
//! A difference is held against the chain, never against the backup.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use log::{error, info};
use serde::Serialize;
use silo_core::units::whole_millis;
use utoipa::ToSchema;

use crate::alerts::Event;
use crate::archive::summary::differences;
use crate::catalog::{Catalog, Destination};
use crate::context::Context;
use crate::continuous::local_copy;
use crate::continuous::stored::Range;
use crate::error::Error;
use crate::oplog::continuity::position;
use crate::repository::manifest::{CollectionFacts, Manifest};
use crate::repository::{Entry, Proof, ProofResult, StoredChain};
use crate::restore::WorkingFolder;
use crate::restore::moment::{Choice, Moment, plan, plan_from_copies};
use silo_cli::progress::Reporter;

/// Time for the slices up to the backup to be stored. They are cut every 20 s, or every 5 minutes while nothing is written.
const PATIENCE: Duration = Duration::from_secs(360);
/// Interval of questions whether they are.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Result of a proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProofOutcome {
    /// Id of the backup that was compared with.
    pub id: String,
    /// Time of its data.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
    /// The result.
    #[serde(flatten)]
    #[schema(inline)]
    pub proof: Proof,
}

/// Proves the newest good backup with the one before it, and records the result beside it; `None` if there is nothing to prove yet.
///
/// # Errors
/// The error of the database or the storage.
pub async fn run(context: &Context, report: &Reporter) -> Result<Option<ProofOutcome>, Error> {
    let proved = context
        .leased(report, async |_| prove(context, report).await)
        .await?;
    if let Some(ProofOutcome { id, proof, .. }) = &proved
        && proof.result == ProofResult::Different
    {
        let what = proof.notes.join("; ");
        let text = format!(
            "the backup {} and the changes after it are not the backup {id}: {what}. Moments between them may be restored wrongly; the backups themselves are good",
            proof.base
        );
        context
            .alerts
            .send(&Event::Alarm("oplog_unproven", text))
            .await;
    }
    Ok(proved)
}

async fn prove(context: &Context, report: &Reporter) -> Result<Option<ProofOutcome>, Error> {
    let catalog = Catalog::read(context, &context.client).await;
    let mut proved = None;
    let mut copies = Vec::new();
    let mut chains = Vec::new();
    for destination in &catalog.destinations {
        chains.extend(destination.repository.chains().await?);
    }
    for destination in &catalog.destinations {
        let Some((base, newest)) = newest_two(destination) else {
            continue;
        };
        copies.extend([&base.manifest.id, &newest.manifest.id]);
        let Some(at) = position(base) else {
            continue;
        };
        // A chain that begins after the backup before, or ended by then, has nothing to prove. One that goes on in another destination is missing in this one.
        let goes_on = |chain: &&StoredChain| {
            let mut slices = chain.slices.iter();
            chain.id <= base.manifest.id && slices.any(|slice| slice.span.through > at)
        };
        let Some(chain) = chains.iter().find(goes_on) else {
            continue;
        };
        let began = Instant::now();
        let mut rolled = chain.id.clone();
        let (result, operations, notes) = match compare(
            context,
            &catalog,
            destination,
            [base, newest],
            &mut rolled,
            report,
        )
        .await
        {
            Ok((operations, differences)) => match differences.is_empty() {
                true => (ProofResult::Equal, Some(operations), differences),
                false => (ProofResult::Different, Some(operations), differences),
            },
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            // Slices that are damaged or do not continue each other, and entries that do not fit.
            Err(error @ Error::Corrupt(_)) => {
                (ProofResult::Different, None, vec![error.to_string()])
            }
            Err(error) => (ProofResult::NotMade, None, vec![error.to_string()]),
        };
        let proof = Proof {
            at: context.clock.now(),
            base: base.manifest.id.clone(),
            chain: rolled,
            result,
            operations,
            duration_ms: whole_millis(began.elapsed()),
            notes,
        };
        let id = newest.manifest.id.clone();
        let key = format!("proofs/{id}.json");
        destination.repository.write_json(&key, &proof).await?;
        match proof.result {
            ProofResult::Equal => {
                info!(id = id.as_str(), operations = operations.unwrap_or_default(), duration_ms = proof.duration_ms; "continuous backup is proven up to the backup")
            }
            _ => {
                error!(id = id.as_str(); "continuous backup is not proven up to the backup: {}", proof.notes.join("; "))
            }
        }
        let outcome = ProofOutcome {
            id,
            as_of: newest.manifest.as_of,
            proof,
        };
        // The worst of all destinations.
        if proved
            .as_ref()
            .is_none_or(|before: &ProofOutcome| before.proof.result < outcome.proof.result)
        {
            proved = Some(outcome);
        }
    }
    if !copies.is_empty() {
        let copies: Vec<&str> = copies.into_iter().map(String::as_str).collect();
        local_copy::remove_except(&context.settings.folder, &copies);
    }
    Ok(proved)
}

/// Stretches of slices in a destination.
async fn ranges(destination: &Destination) -> Result<Vec<Range>, Error> {
    let chains = destination.repository.chains().await?;
    Ok(chains.iter().flat_map(StoredChain::ranges).collect())
}

/// The newest good backup of a destination, and the one before it.
fn newest_two(destination: &Destination) -> Option<(&Entry, &Entry)> {
    let entries = destination.contents.entries.iter().rev();
    let mut good = entries.filter(|entry| position(entry).is_some());
    let newest = good.next()?;
    Some((good.next()?, newest))
}

/// Rolls the base forward to the newest backup: the number of operations, and the differences. `chain` becomes the id of the chain whose slices are read.
async fn compare(
    context: &Context,
    catalog: &Catalog,
    destination: &Destination,
    [base, newest]: [&Entry; 2],
    chain: &mut String,
    report: &Reporter,
) -> Result<(u64, Vec<String>), Error> {
    let at = position(newest).ok_or_else(|| Error::Engine("the backup has no position".into()))?;
    let choice = Choice {
        base: Some(&base.manifest.id),
        copy: destination.repository.name == "copy",
        from_storage: true,
    };
    report.begin("waiting", None, "changes");
    let (from, began) = (position(base).unwrap_or_default(), Instant::now());
    // Also with copies here: what is not stored cannot be restored.
    let covers = |range: &Range| range.after() <= from && range.through() >= at;
    // Slices are stored in their order: what is missing before a later one does not come.
    let is_later = |range: &Range| range.through() >= at;
    loop {
        let ranges = ranges(destination).await?;
        if ranges.iter().any(covers) {
            break;
        }
        if ranges.iter().any(is_later) || began.elapsed() >= PATIENCE {
            return Err(Error::NotFound(format!(
                "{} does not have all changes between the backups; `silo-backup chain` shows what it has",
                destination.repository.name
            )));
        }
        tokio::select! {
            () = context.stop.cancelled() => return Err(Error::Interrupted),
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
    let moment = Moment::After(at);
    let planned = match local_copy::is_needed(&context.settings) {
        true => plan_from_copies(context, destination, base, moment).await?,
        false => plan(context, catalog, moment, choice).await?,
    };
    if let Some(read) = &planned.plan.chain {
        chain.clone_from(read);
    }
    let working = WorkingFolder::new(&context.settings.folder)?;
    let rolled = planned.roll(context, &working, tokio::io::sink(), report);
    let rolled = tokio::select! {
        () = context.stop.cancelled() => return Err(Error::Interrupted),
        rolled = rolled => rolled?,
    };
    let compared = different(&newest.manifest, rolled.collections);
    Ok((rolled.operations, compared))
}

/// Differences of a rolled archive from a backup. The order of documents is the server's own; collections that are in no snapshot are of no moment.
fn different(backup: &Manifest, mut rolled: Vec<CollectionFacts>) -> Vec<String> {
    let is_exact = |facts: &CollectionFacts| !backup.not_in_snapshot.contains(&facts.name);
    let created =
        |facts: &CollectionFacts| !backup.changed_during_read.not_read.contains(&facts.name);
    let compared = |facts: &CollectionFacts| is_exact(facts) && created(facts);
    rolled.retain(compared);
    let wanted: Vec<CollectionFacts> = backup
        .collections
        .iter()
        .filter(|facts| compared(facts))
        .cloned()
        .collect();
    for have in &mut rolled {
        let same = wanted
            .iter()
            .find(|want| want.name == have.name && want.sums.same_documents(&have.sums));
        if let Some(same) = same {
            have.sums = same.sums.clone();
        }
    }
    differences(&wanted, &rolled)
}
