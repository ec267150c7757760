//! Drill of a moment: a random second of the last days is restored into the scratch database, from a backup and the slices in storage alone.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use silo_core::units::whole_millis;
use silo_mongo::error::DatabaseError;

use crate::catalog::{Catalog, Destination};
use crate::context::Context;
use crate::error::Error;
use crate::oplog::continuity::position;
use crate::repository::MomentDrill;
use crate::restore::moment::{Choice, Moment, plan};
use crate::restore::{self, Selection, Source, Target, WorkingFolder};
use crate::verification::scratch::{clear, prepare};
use silo_cli::progress::Reporter;

/// Moments of this time are drilled.
const LAST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Restores a random moment, or again the one that was not restored by the last drill; `None` if there is none in storage.
///
/// # Errors
/// When no verdict is possible.
pub(super) async fn run(
    context: &Context,
    catalog: &Catalog,
    destination: &Destination,
    target: &Target,
    report: &Reporter,
) -> Result<Option<MomentDrill>, Error> {
    let Some(moment) = moment(context, destination).await? else {
        return Ok(None);
    };
    let choice = Choice {
        copy: destination.repository.name == "copy",
        from_storage: true,
        ..Choice::default()
    };
    let began = Instant::now();
    let mut planned = plan(context, catalog, Moment::Time(moment), choice).await?;
    let (backup, chain) = (planned.plan.backup.clone(), planned.plan.chain.clone());
    let working = WorkingFolder::new(&context.settings.folder)?;
    let file = working.path().join("archive.gz");
    let restored = async {
        let manifest = planned.write(context, &working, &file, report).await?;
        prepare(context, target, &manifest).await?;
        let source = Source::File(&file);
        let everything = Selection::default();
        let restored = restore::restore(
            source,
            &manifest,
            &everything,
            target,
            None,
            report,
            &context.stop,
        )
        .await;
        clear(target).await?;
        let restored = restored?;
        if !restored.incomplete.is_empty() {
            return Err(Error::NotDrilled(restored.incomplete.join("; ")));
        }
        Ok((manifest.documents(), restored.differences))
    };
    let (documents, notes) = match restored.await {
        Ok(restored) => restored,
        // The slices are damaged, or do not fit the backup.
        Err(
            error @ (Error::Corrupt(_)
            | Error::Database {
                error: DatabaseError::DuplicateKey,
                ..
            }),
        ) => (0, vec![error.to_string()]),
        Err(error) => return Err(error),
    };
    Ok(Some(MomentDrill {
        moment,
        backup,
        chain: chain.unwrap_or_default(),
        good: notes.is_empty(),
        duration_ms: whole_millis(began.elapsed()),
        documents,
        notes,
    }))
}

/// A second of the last days of which storage has all changes since a good backup.
async fn moment(context: &Context, destination: &Destination) -> Result<Option<Timestamp>, Error> {
    let earliest = (context.clock.now() - LAST).as_second();
    let bases: Vec<_> = destination
        .contents
        .entries
        .iter()
        .filter_map(position)
        .collect();
    let chains = destination.repository.chains().await?;
    let ranges = chains.iter().flat_map(|chain| chain.ranges());
    let seconds: Vec<(i64, i64)> = ranges
        .filter_map(|range| {
            let within = |base: &&crate::oplog::Position| {
                range.after() <= **base && **base < range.through()
            };
            let first = bases.iter().filter(within).min()?;
            // The backup's own second is before it.
            let (from, to) = (
                i64::from(first.seconds) + 1,
                i64::from(range.through().seconds),
            );
            let from = from.max(earliest);
            (from <= to).then_some((from, to))
        })
        .collect();
    let total: i64 = seconds.iter().map(|(from, to)| to - from + 1).sum();
    if total == 0 {
        return Ok(None);
    }
    // What was wrong with a moment does not pass by itself.
    let drills = destination.contents.entries.iter();
    let last = drills
        .filter_map(|entry| entry.drill.as_ref())
        .max_by_key(|drill| drill.at);
    let failed = last
        .and_then(|drill| drill.moment.as_ref())
        .filter(|drilled| !drilled.good)
        .map(|drilled| drilled.moment);
    let is_there = |moment: &Timestamp| {
        let mut seconds = seconds.iter();
        seconds.any(|(from, to)| (*from..=*to).contains(&moment.as_second()))
    };
    if let Some(failed) = failed.filter(is_there) {
        return Ok(Some(failed));
    }
    let mut at = rand::random_range(0..total);
    for (from, to) in seconds {
        let length = to - from + 1;
        if at < length {
            return Ok(Timestamp::from_second(from + at).ok());
        }
        at -= length;
    }
    Ok(None)
}
