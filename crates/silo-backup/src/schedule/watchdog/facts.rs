//! Facts that the watchdog decides on: from the buckets if they can be read, else from the database.

use jiff::Timestamp;
use silo_web::snapshot::{Freshness, Snapshot};

use super::{ContinuousFacts, DRILL_CODES};
use crate::context::Context;
use crate::repository::ProofResult;
use crate::run::attempts::{Kind, LastAttempt};
use crate::run::published_index;
use crate::status::{BackupStatus, DrillView};

/// Facts that the watchdog decides on.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Time of the newest good backup, by the buckets or by the database's index; `None` if there is none, or it is not known.
    pub last_good: Option<Timestamp>,
    /// Since when neither buckets nor database could be read; `None` if one of them could.
    pub unknown_since: Option<Timestamp>,
    /// The last run; `None` if there was none, or it is not known.
    pub last_run: Option<LastAttempt>,
    /// What is known from the buckets; `None` if they cannot be read.
    pub buckets: Option<BucketFacts>,
    /// `true` if a part of the status could not be read: what it does not list may be there.
    pub incomplete: bool,
    /// Continuous backup, if it is on.
    pub continuous: Option<ContinuousFacts>,
}

/// Facts from the buckets.
#[derive(Clone, Debug, Default)]
pub struct BucketFacts {
    /// Problems with stored backups.
    pub problems: Vec<String>,
    /// `true` if drills are scheduled and none has succeeded for two intervals.
    pub drill_overdue: bool,
    /// Reason why continuous backup is not proven up to the newest backup, and the time of that proof if an alarm was sent then.
    pub unproven: Option<(String, Option<Timestamp>)>,
    /// The newest two good backups, the newer first, if that one has no proof.
    pub not_proven: Option<[Timestamp; 2]>,
    /// Code, reason and time of the last drill, if it or that of its moment failed.
    pub failed_drill: Option<(&'static str, String, Timestamp)>,
}

impl Facts {
    /// Facts of a status.
    #[must_use]
    pub fn of(status: &BackupStatus) -> Self {
        let drill = status.last_drill.as_ref();
        Self {
            last_good: status.last_good.as_ref().map(|good| good.as_of),
            unknown_since: None,
            last_run: status.last_attempt.clone(),
            buckets: Some(BucketFacts {
                problems: status.problems.clone(),
                drill_overdue: status.drill_overdue == Some(true),
                unproven: status
                    .last_proof
                    .as_ref()
                    .filter(|last| last.proof.result != ProofResult::Equal)
                    .map(|last| {
                        let detail = format!(
                            "continuous backup is not proven up to the backup {}: {}",
                            last.id,
                            last.proof.notes.join("; ")
                        );
                        let is_sent = last.proof.result == ProofResult::Different;
                        (detail, is_sent.then_some(last.proof.at))
                    }),
                not_proven: not_proven(status),
                failed_drill: drill.and_then(failed_drill),
            }),
            incomplete: false,
            continuous: None,
        }
    }

    /// Reads the facts: from the buckets if their last measurement succeeded, else from the database.
    pub(super) async fn read(
        context: &Context,
        status: &Snapshot<BackupStatus>,
        unknown_since: &mut Option<Timestamp>,
    ) -> Self {
        let measured = status.current().ok();
        let measured = measured
            .filter(|reading| matches!(reading.state, Freshness::Fresh | Freshness::Partial));
        if let Some(status) = measured {
            *unknown_since = None;
            return Self {
                incomplete: status.state == Freshness::Partial,
                ..Self::of(&status.value)
            };
        }
        let client = &context.status_client;
        let known = tokio::try_join!(published_index::newest_good(client), Kind::Run.last(client));
        match known {
            Ok((last_good, last_run)) => {
                *unknown_since = None;
                Self {
                    last_good,
                    last_run,
                    ..Self::default()
                }
            }
            Err(_) => Self {
                unknown_since: Some(*unknown_since.get_or_insert(context.clock.now())),
                ..Self::default()
            },
        }
    }
}

/// The newest two good backups, the newer first, if that one has no proof.
fn not_proven(status: &BackupStatus) -> Option<[Timestamp; 2]> {
    let backups = status.backups.iter();
    let mut good = backups.filter(|backup| backup.good && backup.position.is_some());
    let (newest, before) = (good.next()?, good.next()?);
    newest
        .proof
        .is_none()
        .then_some([newest.as_of, before.as_of])
}

/// Code, reason and time of a drill, if it or that of a moment failed.
fn failed_drill(drill: &DrillView) -> Option<(&'static str, String, Timestamp)> {
    let [code, of_moment] = DRILL_CODES;
    if drill.good {
        let problem = drill.moment.as_ref()?.problem()?;
        return Some((of_moment, problem, drill.at));
    }
    let why = drill.notes.join("; ");
    let problem = format!("{} is not restored identically: {why}", drill.id);
    Some((code, problem, drill.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::MomentDrill;

    #[test]
    fn a_drill_has_failed_if_that_of_its_moment_has() {
        let at: Timestamp = "2026-01-10T05:30:00Z".parse().unwrap();
        let failed = |good, moment: Option<bool>| {
            let moment = moment.map(|good| MomentDrill {
                moment: at,
                backup: "base".into(),
                chain: "chain".into(),
                good,
                duration_ms: 1,
                documents: 1,
                notes: vec!["its slices are damaged".into()],
            });
            failed_drill(&DrillView {
                id: "newest".into(),
                at,
                good,
                duration_ms: 1,
                notes: vec!["not identical".into()],
                moment,
            })
        };
        assert_eq!(failed(true, None), None);
        assert_eq!(failed(true, Some(true)), None);
        let (code, detail, when) = failed(true, Some(false)).unwrap();
        assert!(detail.contains("its slices are damaged"), "{detail}");
        assert_eq!((code, when), ("moment_drill_failed", at));
        let (code, detail, _) = failed(false, None).unwrap();
        assert!(detail.contains("not identical"), "{detail}");
        assert_eq!(code, "drill_failed");
    }
}
