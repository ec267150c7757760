//! Takes a sample each quarter of an hour from the last measurements.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use log::{error, info};
use silo_core::units::{double, round};
use silo_web::snapshot::{Freshness, Snapshot};

use super::{Contents, History, SAMPLE_SECONDS, Sample, quarter_of};
use crate::access::Access;
use crate::collections::Collections;
use crate::disk::Disk;
use crate::server::Server;
use crate::users::Users;

/// Pause between two looks whether a sample is due.
const EVERY: Duration = Duration::from_secs(2);
/// Time into a quarter after which a sample is taken although not everything is known: then the rest will not be known soon either.
const WAIT_SECONDS: i64 = 300;
/// Time after the start in which the first measurements may still be under way, however late in a quarter that is.
const STARTING: Duration = Duration::from_secs(60);

/// Takes the samples.
pub struct Sampler {
    /// The samples on disk.
    pub history: Arc<History>,
    /// Collections.
    pub collections: Arc<Snapshot<Collections>>,
    /// Users.
    pub users: Arc<Snapshot<Users>>,
    /// State of mongod.
    pub server: Arc<Snapshot<Server>>,
    /// Use of the database.
    pub access: Arc<Snapshot<Access>>,
    /// Free disk.
    pub disk: Arc<Snapshot<Disk>>,
}

/// Reads and writes by others since this service first looked at this run of mongod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operations {
    since: Timestamp,
    at: Timestamp,
    reads: u64,
    writes: u64,
}

impl Sampler {
    /// Takes samples until the runtime ends.
    pub async fn run(self) {
        let mut taken = self.history.newest(Timestamp::now()).ok().flatten();
        let mut before = None;
        let mut failed = false;
        let started = Instant::now();
        loop {
            let now = Timestamp::now();
            let quarter = quarter_of(now);
            let late = now.as_second().rem_euclid(SAMPLE_SECONDS) >= WAIT_SECONDS
                && started.elapsed() >= STARTING;
            if taken != Some(quarter)
                && let Some((sample, operations)) = self.sample(quarter, before, late)
            {
                match self.history.add(&sample) {
                    Ok(()) if failed => info!("the history is written again"),
                    Ok(()) => {}
                    Err(error) if !failed => {
                        error!("a sample of the history was not written: {error}")
                    }
                    Err(_) => {}
                }
                let written = self.history.newest(now).ok().flatten();
                failed = written != Some(quarter);
                // What could not be written is tried again until the quarter is over.
                if !failed {
                    (taken, before) = (Some(quarter), operations);
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// A sample of what is known now; `None` while something is missing that may still come, or nothing is known.
    fn sample(
        &self,
        quarter: i64,
        before: Option<Operations>,
        late: bool,
    ) -> Option<(Sample, Option<Operations>)> {
        let collections = current(&self.collections);
        let users = current(&self.users);
        let server = current(&self.server);
        let access = current(&self.access);
        let disk = current(&self.disk);
        let known = [
            collections.is_some(),
            users.is_some(),
            server.is_some(),
            access.is_some(),
            disk.is_some(),
        ];
        let enough = if late {
            known.contains(&true)
        } else {
            !known.contains(&false)
        };
        if !enough {
            return None;
        }
        let operations = access.and_then(|(access, at)| operations(&access, at));
        let rates = before
            .zip(operations)
            .and_then(|(before, now)| rates(before, now));
        let sample = Sample {
            quarter,
            users: users.map(|(users, _)| users.users),
            connections: server.and_then(|(server, _)| server.connections.current),
            reads_per_second: rates.map(|(reads, _)| reads),
            writes_per_second: rates.map(|(_, writes)| writes),
            disk_used_bytes: disk.as_ref().map(|(disk, _)| disk.used_bytes),
            disk_total_bytes: disk.as_ref().map(|(disk, _)| disk.total_bytes),
            collections: collections.map(|(collections, _)| contents(&collections)),
        };
        Some((sample, operations))
    }
}

/// The value of a measurement, and when it was measured; `None` if it is missing or stale.
fn current<T>(snapshot: &Snapshot<T>) -> Option<(Arc<T>, Timestamp)>
where
    T: serde::Serialize + Send + Sync + 'static,
{
    let reading = snapshot.current().ok()?;
    let good = matches!(reading.state, Freshness::Fresh | Freshness::Partial);
    good.then_some((reading.value, reading.as_of))
}

fn contents(collections: &Collections) -> Vec<Contents> {
    let rows = collections.collections.iter();
    rows.map(|row| Contents {
        collection: row.name.clone(),
        documents: row.documents,
        data_bytes: row.data_bytes,
    })
    .collect()
}

fn operations(access: &Access, at: Timestamp) -> Option<Operations> {
    let observed = access.observed.as_ref()?;
    Some(Operations {
        since: observed.since,
        at,
        reads: observed.reads.saturating_sub(observed.silo_reads),
        writes: observed.writes,
    })
}

/// Reads and writes a second between two looks at the same run of mongod.
fn rates(before: Operations, now: Operations) -> Option<(f64, f64)> {
    let seconds = now.at.duration_since(before.at).as_secs_f64();
    if before.since != now.since || seconds <= 0.0 {
        return None;
    }
    let rate = |before: u64, now: u64| round(double(now.saturating_sub(before)) / seconds, 2);
    Some((
        rate(before.reads, now.reads),
        rate(before.writes, now.writes),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_need_two_looks_at_the_same_run_of_mongod() {
        let second = |second| Timestamp::from_second(second).unwrap();
        let look = |since, at, reads, writes| Operations {
            since: second(since),
            at: second(at),
            reads,
            writes,
        };
        let first = look(0, 100, 10, 10);
        assert_eq!(rates(first, look(0, 1000, 910, 10)), Some((1.0, 0.0)));
        assert_eq!(rates(first, look(500, 1000, 910, 10)), None);
        assert_eq!(rates(first, first), None);
    }
}
