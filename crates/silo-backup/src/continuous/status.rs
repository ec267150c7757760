//! Status of continuous backup. Whether everything is stored is asked of mongod anew each time: the tail may be wrong about itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_web::snapshot::{Measured, RefreshPolicy, SourceError};
use utoipa::ToSchema;

use super::spool::Chain;
use super::{Continuous, TailState};
use crate::context::Context;
use crate::oplog::Position;
use crate::oplog::server::{Edge, ServerOplog, Until};

/// Interval of measurements.
pub const REFRESH: RefreshPolicy = RefreshPolicy {
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(15),
    initial_wait: Duration::from_millis(2500),
};

/// Age of the oldest change in no destination, in seconds, up to which all is well: slices are cut every 20 s.
pub const UNSAFE_FOR: u64 = 120;

/// Status of continuous backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContinuousStatus {
    /// `off`, `starting`, `needs_base` (it waits for a backup), `standby` (another process does it), `running`, `failing`, or `full` (the disk's share is used).
    pub state: &'static str,
    /// Reason for the state.
    pub detail: Option<String>,
    /// Number of days of which every moment is kept; 0 if it is off.
    pub days: i64,
    /// Id of the chain, which is that of the backup at which it begins; `null` if there is none.
    pub chain: Option<String>,
    /// Time from which on the chain has every moment.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Age in seconds of the oldest change that no destination has; 0 if all are stored, `null` without a chain.
    pub unsafe_seconds: Option<u64>,
    /// Seconds that the server's oplog goes back: as long, nothing is lost while it is not stored.
    pub oplog_seconds: Option<u64>,
    /// `true` if the server has deleted entries after the beginning of the chain: its oplog goes back no longer than it has room for. `null` without a
    /// chain.
    pub oplog_is_cut: Option<bool>,
    /// Seconds by which the server's clock is behind the positions that it gives to changes: it was set back, and positions never go back.
    pub clock_behind_seconds: Option<u64>,
    /// Bytes of slices on this machine.
    pub spool_bytes: u64,
    /// Each destination.
    pub destinations: Vec<StoredView>,
    /// Mass deletions that were noticed within the last 24 hours, since the service started.
    pub losses: Vec<LossView>,
}

/// A collection that lost many documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LossView {
    /// Collection, number of documents, and the command that restores them.
    pub detail: String,
    /// When it was noticed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

impl LossView {
    /// `true` within 24 hours.
    #[must_use]
    pub fn is_shown(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) < SignedDuration::from_hours(24)
    }
}

/// Slices of the chain in one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredView {
    /// `primary` or `copy`.
    pub name: &'static str,
    /// End of the last slice that it has; `null` if it has none yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub through: Option<Timestamp>,
    /// Bytes that wait.
    pub waiting_bytes: u64,
    /// Error of the last attempt, or that it misses slices; `null` if it has all.
    pub error: Option<String>,
}

/// Error of a destination that misses slices of the chain.
const LEFT_OUT: &str = "slices were left out while it took none, because there was no more room for them on this disk: moments in them are restored from the other destination";

impl ContinuousStatus {
    /// Status while continuous backup is switched off.
    #[must_use]
    pub fn off() -> Self {
        Self {
            state: "off",
            detail: Some("BACKUP_PITR_DAYS is 0".into()),
            days: 0,
            chain: None,
            since: None,
            unsafe_seconds: None,
            oplog_seconds: None,
            oplog_is_cut: None,
            clock_behind_seconds: None,
            spool_bytes: 0,
            destinations: Vec::new(),
            losses: Vec::new(),
        }
    }
}

/// Measures the status.
///
/// # Errors
/// When mongod does not answer.
pub async fn measure(
    context: &Context,
    continuous: &Continuous,
) -> Result<Measured<ContinuousStatus>, SourceError> {
    let oplog = ServerOplog::new(&context.status_client, &context.settings.database);
    let (state, detail) = described(&continuous.tail.borrow());
    // While another process has the lease, the spool here is an old one.
    let chain = continuous.spool.current().filter(|_| state != "standby");
    let failed =
        |error: crate::error::Error| SourceError::new("mongod", error.code(), error.to_string());
    let oldest = oplog.oldest().await.map_err(failed)?;
    let newest = oplog.newest().await.map_err(failed)?;
    let now = context.clock.now();
    let unsafe_seconds = match &chain {
        None => None,
        Some(chain) => {
            let left_out = oplog
                .first_left_out(Until::Through(safe(continuous, chain)))
                .await
                .map_err(failed)?;
            Some(left_out.map_or(0, |edge| age_of_change(&edge, now)))
        }
    };
    let destinations = continuous
        .failures
        .iter()
        .map(|(name, failure)| StoredView {
            name,
            through: chain
                .as_ref()
                .and_then(|chain| time(*chain.stored.get(*name)?)),
            waiting_bytes: continuous.spool.unstored_bytes(name),
            error: failure.borrow().clone().or_else(|| {
                let is_incomplete = chain.as_ref()?.incomplete.contains(*name);
                is_incomplete.then(|| LEFT_OUT.to_owned())
            }),
        });
    let value = ContinuousStatus {
        state,
        detail,
        days: context.settings.policy.moments,
        since: chain.as_ref().and_then(|chain| time(chain.base)),
        unsafe_seconds,
        oplog_seconds: oldest.and_then(time).map(|at| age(at, now)),
        oplog_is_cut: chain.as_ref().and_then(|chain| Some(oldest? > chain.base)),
        clock_behind_seconds: newest.and_then(|newest| {
            let behind = newest.at?.duration_since(newest.wall?);
            Some(u64::try_from(behind.as_secs()).unwrap_or(0))
        }),
        spool_bytes: continuous.spool.bytes(),
        destinations: destinations.collect(),
        losses: {
            let losses = continuous.losses.borrow();
            let shown = losses.iter().filter(|loss| loss.is_shown(now));
            shown.cloned().collect()
        },
        chain: chain.map(|chain| chain.id),
    };
    Ok(Measured {
        value,
        errors: Vec::new(),
    })
}

/// Age in whole seconds; 0 if it is in the future.
fn age(at: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0)
}

/// Age in seconds of a change that is stored nowhere, at least 1. After a clock was set back, positions are ahead of it.
fn age_of_change(edge: &Edge, now: Timestamp) -> u64 {
    let at = edge.at.into_iter().chain(edge.wall).min();
    at.map_or(1, |at| age(at, now).max(1))
}

/// Position up to which one destination misses no change: at least the backup's. What comes after it is asked of mongod; the tail says only that nothing
/// of the database was in a stretch that it has read, which may be a long one of other databases, such as that of a drill.
fn safe(continuous: &Continuous, chain: &Chain) -> Position {
    let names = continuous.failures.iter().map(|(name, _)| *name);
    let whole = names.filter(|name| !chain.incomplete.contains(*name));
    let ends = whole.clone().filter_map(|name| chain.stored.get(name));
    let stored = ends.max().copied().unwrap_or(chain.base);
    let is_all_stored = whole
        .map(|name| continuous.spool.unstored_bytes(name))
        .any(|bytes| bytes == 0);
    let cut_up_to = *continuous.cut_up_to.borrow();
    if is_all_stored {
        stored.max(cut_up_to)
    } else {
        stored
    }
}

fn time(at: Position) -> Option<Timestamp> {
    Timestamp::from_second(at.seconds.into()).ok()
}

fn described(state: &TailState) -> (&'static str, Option<String>) {
    match state {
        TailState::Starting => ("starting", None),
        TailState::NeedsBase(reason) => ("needs_base", Some(reason.clone())),
        TailState::Standby => ("standby", None),
        TailState::Running => ("running", None),
        TailState::Failing(reason) => ("failing", Some(reason.clone())),
        TailState::Full => ("full", Some("storage has been down for so long that the slices on disk take 512 MiB; reading goes on when it is back".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn a_change_has_the_age_of_its_position_or_of_the_clock_that_was_set_back() {
        let age = |position: u32, wall: i64, now: i64| {
            let position = Position {
                seconds: 1_700_000_000 + position,
                increment: 1,
            };
            age_of_change(&Edge::new(position, Some(at(wall))), at(now))
        };
        assert_eq!(age(0, 0, 0), 1);
        assert_eq!(age(0, 0, 90), 90);
        // Set back by 700 s: the position goes on from before.
        assert_eq!(age(1000, 300, 420), 120);
    }
}
