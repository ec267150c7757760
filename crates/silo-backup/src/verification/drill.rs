//! Drill: a backup is restored into a scratch database, compared, and dropped. Its duration is that of a real restore.
//!
//! Only a difference in data is a verdict on the backup. Everything else (a full disk, an election, a missing privilege) means that it was not drilled.

use std::time::Instant;

use jiff::Timestamp;
use log::info;
use serde::Serialize;
use silo_core::units::whole_millis;
use silo_mongo::error::DatabaseError;
use utoipa::ToSchema;

use crate::alerts::Event;
use crate::catalog::{Catalog, Destination};
use crate::context::Context;
use crate::error::Error;
use crate::repository::manifest::Manifest;
use crate::repository::{Drill, Entry, MomentDrill};
use crate::restore::{self, Selection, Target};
use crate::run::attempts::{AttemptEnd, Kind};
use crate::verification;
use crate::verification::scratch::{clear, mark, open, prepare};
use crate::verification::{moment_drill, mongorestore};
use silo_cli::progress::Reporter;

/// Backup to drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The newest good backup, of the destination that was drilled longest ago.
    Scheduled,
    /// A backup by its id, its beginning, or `latest`; with `copy`, in the second copy.
    Named {
        /// Id of the backup.
        backup: String,
        /// `true` for the second copy.
        copy: bool,
        /// `true` to restore it with mongorestore, too.
        with_mongorestore: bool,
    },
}

/// Result of a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillOutcome {
    /// Id of the backup.
    pub id: String,
    /// `primary` or `copy`.
    pub destination: &'static str,
    /// `true` if everything was restored identically.
    pub good: bool,
    /// Duration of the restore in milliseconds, including verification and comparison.
    pub duration_ms: u64,
    /// Number of restored documents.
    pub documents: u64,
    /// Differences, and parts that were not checked.
    pub notes: Vec<String>,
    /// Drill of a moment, with continuous backup; `null` without one.
    pub moment: Option<MomentDrill>,
    /// Reason why there was none although there should have been.
    #[serde(skip)]
    pub moment_error: Option<String>,
}

impl DrillOutcome {
    /// `Ok` if everything was restored identically, that of the moment included.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the differences; [`Error::NotDrilled`] if no moment was drilled that should have been.
    pub fn verdict(&self) -> Result<(), Error> {
        if !self.good {
            return Err(Error::Corrupt(self.notes.join("; ")));
        }
        let problem = self.moment.as_ref().and_then(MomentDrill::problem);
        match (problem, &self.moment_error) {
            (Some(problem), _) => Err(Error::Corrupt(problem)),
            (None, Some(error)) => Err(Error::NotDrilled(format!(
                "the drill of a moment could not run: {error}"
            ))),
            _ => Ok(()),
        }
    }
}

/// Restores a backup into the scratch database, and records the result.
///
/// # Errors
/// [`Error::NotDrilled`] or another error that prevented a verdict. A backup that is not restored identically is not an error here, but a drill that is
/// not good.
pub async fn run(
    context: &Context,
    choice: &Choice,
    report: &Reporter,
) -> Result<DrillOutcome, Error> {
    let outcome = context
        .leased(report, async |_| {
            Kind::Drill
                .begin(&context.client, context.clock.now())
                .await?;
            drill(context, choice, report).await
        })
        .await;
    if matches!(outcome, Err(Error::Busy(_))) {
        return outcome;
    }
    let end = match &outcome {
        Ok(drilled) => AttemptEnd::good(&drilled.id),
        Err(error) => AttemptEnd::failed(error),
    };
    Kind::Drill
        .end(&context.client, end, context.clock.now())
        .await;
    let event = match &outcome {
        Ok(drilled) => Some(match drilled.verdict() {
            Ok(()) => Event::DrillSucceeded(format!(
                "{} of {}: {} documents restored",
                drilled.id, drilled.destination, drilled.documents
            )),
            Err(error) if drilled.good => {
                let code = match error {
                    Error::Corrupt(_) => "moment_drill_failed",
                    _ => "moment_not_drilled",
                };
                Event::DrillFailed(code, error.to_string())
            }
            Err(error) => {
                let what = format!("{} is not restored identically: {error}", drilled.id);
                Event::DrillFailed("drill_failed", what)
            }
        }),
        Err(Error::Interrupted) => None,
        Err(error) => Some(Event::DrillFailed(
            error.code(),
            format!("the drill could not run: {error}"),
        )),
    };
    if let Some(event) = event {
        context.alerts.send(&event).await;
    }
    outcome
}

async fn drill(
    context: &Context,
    choice: &Choice,
    report: &Reporter,
) -> Result<DrillOutcome, Error> {
    let catalog = Catalog::read(context, &context.client).await;
    let (destination, entry) = match choice {
        Choice::Scheduled => longest_ago(&catalog)?,
        Choice::Named { backup, copy, .. } => catalog.find(backup, *copy)?,
    };
    let manifest = &entry.manifest;
    if manifest.archive.recipient.is_some() && context.settings.identity.is_none() {
        return Err(Error::Refused("the backup is encrypted and BACKUP_AGE_IDENTITY is not set here; drill where the private key is".into()));
    }
    let target = open(context).await?;
    let mut notes = prepare(context, &target, manifest).await?;
    let began = Instant::now();
    let stock_tool = matches!(
        choice,
        Choice::Named {
            with_mongorestore: true,
            ..
        }
    );
    let restored = scratch(context, destination, manifest, &target, stock_tool, report).await;
    let elapsed = began.elapsed();
    report.begin("cleaning", None, "documents");
    if let Err(error) = clear(&target).await {
        // The next drill drops it.
        notes.push(format!("the scratch database was not dropped: {error}"));
    }
    let good = match restored {
        Ok(Restored {
            differences,
            notes: more,
        }) => {
            let good = differences.is_empty();
            notes.extend(differences);
            notes.extend(more);
            good
        }
        Err(
            error @ (Error::Corrupt(_)
            | Error::Database {
                error: DatabaseError::DuplicateKey,
                ..
            }),
        ) => {
            notes.push(error.to_string());
            false
        }
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(error) => return Err(Error::NotDrilled(error.to_string())),
    };
    let (mut moment, mut moment_error) = (None, None);
    if good && context.settings.policy.moments > 0 {
        match moment_drill::run(context, &catalog, destination, &target, report).await {
            Ok(drilled) => moment = drilled,
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                notes.push(format!("no moment was drilled: {error}"));
                moment_error = Some(error.to_string());
            }
        }
    }
    let documents = if good { manifest.documents() } else { 0 };
    let record = Drill {
        at: context.clock.now(),
        good,
        duration_ms: whole_millis(elapsed),
        documents,
        notes: notes.clone(),
        moment: moment.clone(),
    };
    destination
        .repository
        .write_json(&format!("drills/{}.json", manifest.id), &record)
        .await?;
    info!(id = manifest.id.as_str(), destination = destination.repository.name, good, duration_ms = record.duration_ms; "the drill is complete");
    Ok(DrillOutcome {
        id: manifest.id.clone(),
        destination: destination.repository.name,
        good,
        duration_ms: record.duration_ms,
        documents,
        notes,
        moment,
        moment_error,
    })
}

/// The newest good backup of the destination whose last drill is the oldest.
fn longest_ago(catalog: &Catalog) -> Result<(&Destination, &Entry), Error> {
    let last_drill = |destination: &Destination| {
        let drills = destination.contents.entries.iter();
        drills
            .filter_map(|entry| entry.drill.as_ref())
            .map(|drill| drill.at)
            .max()
            .unwrap_or(Timestamp::MIN)
    };
    let candidates = catalog.destinations.iter().filter_map(|destination| {
        let newest = destination.contents.newest_good()?;
        Some((destination, newest))
    });
    candidates
        .min_by_key(|(destination, _)| last_drill(destination))
        .ok_or_else(|| match catalog.failed.first() {
            Some((_, error)) => error.clone(),
            None => Error::NotFound("there is no good backup yet".into()),
        })
}

/// What a drill found after everything was restored.
struct Restored {
    differences: Vec<String>,
    notes: Vec<String>,
}

/// Verifies, restores and compares; with mongorestore too if requested.
async fn scratch(
    context: &Context,
    destination: &Destination,
    manifest: &Manifest,
    target: &Target,
    stock_tool: bool,
    report: &Reporter,
) -> Result<Restored, Error> {
    let repository = &destination.repository;
    verification::verify_and_record(context, repository, manifest, report).await?;
    let outcome = restore::restore(
        restore::Source::Stored(repository),
        manifest,
        &Selection::default(),
        target,
        context.settings.identity.as_ref(),
        report,
        &context.stop,
    )
    .await?;
    if context.stop.is_cancelled() {
        return Err(Error::Interrupted);
    }
    if !outcome.incomplete.is_empty() {
        return Err(Error::NotDrilled(outcome.incomplete.join("; ")));
    }
    let mut restored = Restored {
        differences: outcome.differences,
        notes: Vec::new(),
    };
    if stock_tool && restored.differences.is_empty() {
        clear(target).await?;
        mark(target).await?;
        report.begin("inserting", Some(manifest.documents()), "documents");
        mongorestore::restore(context, repository, manifest, target).await?;
        let compared = restore::compare_all(manifest, &target.database, report).await?;
        let differences = compared.differences.into_iter();
        restored
            .differences
            .extend(differences.map(|text| format!("restored by mongorestore: {text}")));
        restored.notes.extend(
            compared
                .not_compared
                .into_iter()
                .map(|text| format!("restored by mongorestore, not compared: {text}")),
        );
    }
    Ok(restored)
}
