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
pub(super) struct Observer {
    first: Arc<Mutex<Option<FirstLook>>>,
    streams: Arc<Mutex<Option<StreamLook>>>,
}

/// Change streams at a look at a run of mongod.
#[derive(Clone)]
struct StreamLook {
    run: Run,
    /// Opened in this run before the first look at it, by others or by an earlier process of this service.
    before: u64,
    /// Opened until the first look, by all and by this process.
    first: (u64, u64),
    /// Opened by this process until the last look.
    own: u64,
}

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
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let first = match &mut *first {
            Some(first) if first.run.is(&look.run) => first,
            other => other.insert(look.clone()),
        };
        since_first(first, &look)
    }
}

impl Observer {
    /// Number of change streams that others have opened in this run of mongod. `None` when some were opened before this process first looked, which may
    /// have been those of an earlier process, and none since.
    #[must_use]
    pub(super) fn change_streams(&self, counters: &Counters, own: u64) -> Option<u64> {
        let (opened, run) = (counters.change_streams?, counters.run.clone()?);
        let mut last = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let look = match last.take() {
            Some(look) if look.run.is(&run) => StreamLook { own, ..look },
            earlier => StreamLook {
                // What this process has opened since the last look, it has opened in this run.
                before: opened.saturating_sub(own - earlier.map_or(0, |look| look.own)),
                first: (opened, own),
                run,
                own,
            },
        };
        let (first, first_own) = look.first;
        let since = opened.saturating_sub(first).saturating_sub(own - first_own);
        let before = look.before;
        *last = Some(look);
        (since > 0 || before == 0).then_some(before + since)
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
    fn change_streams_of_others_are_told_from_own_ones_or_unknown() {
        let run = |host: &str| Run::on(host);
        let counters = |host: &str, opened| Counters {
            run: Some(run(host)),
            change_streams: Some(opened),
            ..Counters::default()
        };
        let observer = Observer::default();
        assert_eq!(observer.change_streams(&counters("a", 1), 1), Some(0));
        assert_eq!(observer.change_streams(&counters("a", 4), 2), Some(2));
        // mongod was started again: own streams of the run before are not subtracted.
        assert_eq!(observer.change_streams(&counters("b", 2), 3), None);
        assert_eq!(observer.change_streams(&counters("b", 3), 3), Some(2));
        // An earlier process of this service may have opened the first.
        let later = Observer::default();
        assert_eq!(later.change_streams(&counters("b", 5), 1), None);
    }

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
