//! One run of mongod, from its start to its end, and how the run before it ended.

use jiff::{SignedDuration, Timestamp};
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, doc};

use super::Gateway;

/// The start time is computed from the server's clock, which may be corrected by this much between two looks. No run is shorter.
const CLOCK_CORRECTION: SignedDuration = SignedDuration::from_millis(500);
/// Log message "Detected unclean shutdown" (mongod's `storage_engine_lock_file` and `service_context_d`).
const UNCLEAN_SHUTDOWN: &str = "\"id\":22271,";
/// Log message "MongoDB starting", which every run begins with.
const STARTING: &str = "\"id\":4615611,";

/// A run of mongod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    host: String,
    started: Timestamp,
}

impl Run {
    /// The run that a `serverStatus` is from.
    pub(super) fn of(status: &Document) -> Option<Self> {
        let uptime = i64::try_from(field::count(status, "uptimeMillis")?).ok()?;
        let now = field::time(status, "localTime")?;
        Some(Self {
            host: field::text(status, "host")?.to_owned(),
            started: now.checked_sub(SignedDuration::from_millis(uptime)).ok()?,
        })
    }

    /// A run on a host, for tests.
    #[cfg(test)]
    pub(crate) fn on(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            started: Timestamp::UNIX_EPOCH,
        }
    }

    /// `true` if the counters of both belong together.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let apart = self.started.duration_since(other.started).abs();
        self.host == other.host && apart <= CLOCK_CORRECTION
    }
}

impl Gateway {
    /// The current run; `None` if the server does not report it.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn run(&self) -> Result<Option<Run>, DatabaseError> {
        let command = doc! { "serverStatus": 1, "metrics": 0, "wiredTiger": 0, "locks": 0, "tcmalloc": 0, "repl": 0, "opLatencies": 0 };
        Ok(Run::of(&self.admin(command).await?))
    }

    /// `true` if the run before this one was not shut down cleanly, from the server's log; `None` when the log, which holds 1024 lines, no longer
    /// goes back to the start.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn started_after_crash(&self) -> Result<Option<bool>, DatabaseError> {
        let answer = self.admin(doc! { "getLog": "global" }).await?;
        let log = answer
            .get_array("log")
            .map_err(|_missing| DatabaseError::Unreadable)?;
        Ok(crash_in_log(log.iter().filter_map(Bson::as_str)))
    }
}

fn crash_in_log<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<bool> {
    let mut started = false;
    let crashed = lines.any(|line| {
        started |= line.contains(STARTING);
        line.contains(UNCLEAN_SHUTDOWN)
    });
    (crashed || started).then_some(crashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_by_its_start() {
        let run = |host: &str, seconds, uptime: i64| {
            let now = Timestamp::from_second(seconds).unwrap();
            let status =
                doc! { "host": host, "localTime": field::date(now), "uptimeMillis": uptime };
            Run::of(&status).unwrap()
        };
        let first = run("a", 1000, 10_000);
        assert!(first.is(&run("a", 1060, 70_000)), "a minute later");
        assert!(!first.is(&run("a", 1060, 30_000)), "restarted meanwhile");
        assert!(!first.is(&run("b", 1060, 70_000)), "another server");
        assert_eq!(Run::of(&doc! { "host": "a" }), None);
    }

    #[test]
    fn a_log_that_does_not_reach_back_to_the_start_tells_nothing() {
        let (start, crash) = (
            r#"{"id":4615611, "msg":"MongoDB starting"}"#,
            r#"{"id":22271,   "msg":"Detected unclean shutdown"}"#,
        );
        assert_eq!(crash_in_log([start].into_iter()), Some(false));
        assert_eq!(crash_in_log([start, crash].into_iter()), Some(true));
        assert_eq!(crash_in_log([r#"{"id":22943}"#].into_iter()), None);
    }
}
