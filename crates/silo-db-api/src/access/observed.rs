//! Reads and writes since this service first looked, with Silo's own apart.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use silo_core::units::share;
use utoipa::ToSchema;

use crate::gateway::{Counters, Run};

/// Reads and writes since this service first looked at this run of mongod.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// When it first looked.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Read operations of all clients.
    pub reads: u64,
    /// Write operations of all clients.
    pub writes: u64,
    /// Reads that this service sent. Not among them: those of the comparison with the old cluster, and of silo-backup.
    pub silo_reads: u64,
    /// Reads as a share of reads and writes, without `siloReads`, 0 to 1; `null` before the first.
    pub share_of_reads: Option<f64>,
}

/// Remembers the counters of the first look at a run of mongod; clones share them.
#[derive(Clone, Default)]
pub(super) struct Observer(Arc<Mutex<Option<FirstLook>>>);

/// Counters of the first look at a run of mongod.
#[derive(Clone)]
struct FirstLook {
    run: Run,
    at: Timestamp,
    reads: u64,
    writes: u64,
    own_reads: u64,
}

impl Observer {
    /// What has happened since the first look; `None` when the server does not report it. `own_reads` are those of this process so far.
    #[must_use]
    pub(super) fn observe(
        &self,
        counters: &Counters,
        own_reads: u64,
        now: Timestamp,
    ) -> Option<Observed> {
        let (reads, writes) = counters.reads.zip(counters.writes)?;
        let look = FirstLook {
            run: counters.run.clone()?,
            at: now,
            reads,
            writes,
            own_reads,
        };
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = match &mut *first {
            Some(first) if first.run.is(&look.run) => first,
            other => other.insert(look.clone()),
        };
        since_first(first, &look)
    }
}

fn since_first(first: &FirstLook, look: &FirstLook) -> Option<Observed> {
    let reads = look.reads.checked_sub(first.reads)?;
    let writes = look.writes.checked_sub(first.writes)?;
    let silo_reads = look.own_reads - first.own_reads;
    let others = reads.saturating_sub(silo_reads);
    Some(Observed {
        since: first.at,
        reads,
        writes,
        silo_reads,
        share_of_reads: share(others, others + writes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silo_s_own_reads_are_apart() {
        let look = |reads, writes, own_reads| FirstLook {
            run: Run::default(),
            at: Timestamp::UNIX_EPOCH,
            reads,
            writes,
            own_reads,
        };
        let observed = since_first(&look(100, 10, 90), &look(160, 30, 130)).unwrap();
        assert_eq!((observed.reads, observed.silo_reads), (60, 40));
        assert_eq!(observed.share_of_reads, Some(0.5));
    }
}
