//! When a backup is proven by continuous backup.

use jiff::{SignedDuration, Timestamp};

use crate::oplog::Position;
use crate::repository::ProofResult;
use crate::status::BackupView;

/// Time within which the changes up to a backup are stored, if they are stored at all: while nothing is written, the next slice takes minutes.
const STORED_WITHIN: SignedDuration = SignedDuration::from_mins(15);
/// Time after which a proof that could not be made is tried again.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// The newest good backup.
pub(super) struct Newest<'a> {
    id: &'a str,
    as_of: Timestamp,
    /// Position up to which changes are in it.
    position: Option<Position>,
    /// Time and result of its proof.
    proof: Option<(Timestamp, ProofResult)>,
}

impl<'a> From<&'a BackupView> for Newest<'a> {
    fn from(backup: &'a BackupView) -> Self {
        Self {
            id: &backup.id,
            as_of: backup.as_of,
            position: backup.position,
            proof: backup.proof.as_ref().map(|proof| (proof.at, proof.result)),
        }
    }
}

/// The last attempt of this process.
pub(super) struct ProofAttempt {
    /// Id of the backup that was to be proven.
    pub(super) id: String,
    /// End of the attempt.
    pub(super) at: Timestamp,
    /// `false` if the job failed.
    pub(super) is_done: bool,
}

/// `true` if the newest good backup is to be proven now: once all changes up to it are in a slice, of which the last in storage ends at `stored`; and
/// again after a proof that could not be made.
pub(super) fn is_due(
    newest: &Newest<'_>,
    stored: Option<Position>,
    last: Option<&ProofAttempt>,
    now: Timestamp,
) -> bool {
    let is_over = |since: Timestamp, time| now.duration_since(since) >= time;
    let of_newest = last.filter(|last| last.id == newest.id);
    if of_newest.is_some_and(|last| !last.is_done && !is_over(last.at, AGAIN)) {
        return false;
    }
    if let Some((at, result)) = newest.proof {
        return result == ProofResult::NotMade && is_over(at, AGAIN);
    }
    let is_stored = newest
        .position
        .is_some_and(|position| stored >= Some(position));
    let was_nothing_to_prove = of_newest.is_some_and(|last| last.is_done);
    !was_nothing_to_prove && (is_stored || is_over(newest.as_of, STORED_WITHIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-01-10T{time}Z").parse().unwrap()
    }

    fn position(seconds: u32) -> Position {
        Position {
            seconds,
            increment: 1,
        }
    }

    /// A backup of 04:00.
    fn backup(proof: Option<(Timestamp, ProofResult)>) -> Newest<'static> {
        Newest {
            id: "newest",
            as_of: at("04:00:00"),
            position: Some(position(100)),
            proof,
        }
    }

    #[test]
    fn a_backup_is_proven_once_its_changes_are_stored_or_should_be() {
        let is_due =
            |stored: u32, now| is_due(&backup(None), Some(position(stored)), None, at(now));
        assert!(is_due(100, "04:01:00"));
        assert!(!is_due(99, "04:14:59"));
        assert!(is_due(99, "04:15:00"));
    }

    #[test]
    fn a_proof_that_was_not_made_is_tried_again_after_an_hour() {
        let stored = Some(position(100));
        let after = |is_done, now| {
            let last = ProofAttempt {
                id: "newest".into(),
                at: at("04:01:00"),
                is_done,
            };
            is_due(&backup(None), stored, Some(&last), at(now))
        };
        assert!(!after(false, "05:00:59"), "its job has just failed");
        assert!(after(false, "05:01:00"));
        assert!(!after(true, "09:00:00"), "there was nothing to prove");
        let older = ProofAttempt {
            id: "older".into(),
            at: at("04:01:00"),
            is_done: false,
        };
        assert!(is_due(&backup(None), stored, Some(&older), at("04:02:00")));
        let proven = |result, last: Option<&ProofAttempt>, now| {
            let backup = backup(Some((at("04:01:00"), result)));
            is_due(&backup, stored, last, at(now))
        };
        assert!(!proven(ProofResult::NotMade, None, "05:00:59"));
        assert!(proven(ProofResult::NotMade, None, "05:01:00"));
        let failed = ProofAttempt {
            id: "newest".into(),
            at: at("05:02:00"),
            is_done: false,
        };
        let again = |now| proven(ProofResult::NotMade, Some(&failed), now);
        assert!(!again("05:03:00"), "the record is as old as before");
        assert!(again("06:02:00"));
        for result in [ProofResult::Equal, ProofResult::Different] {
            assert!(!proven(result, None, "09:00:00"));
        }
    }
}
