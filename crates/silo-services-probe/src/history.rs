//! History of all checks: by minute for 48 hours, by hour for 90 days, every change of status, and the open alarms; in memory, and in a file from which
//! the next process goes on.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use jiff::Timestamp;
use silo_alerts::alarms::Alarm;
use silo_store::rusqlite::{self, Transaction};
use silo_store::{Store, StoreError};
use silo_web::snapshot::SourceError;

use crate::changes::Change;

mod minutes;
pub mod series;
mod tables;
mod tally;

use minutes::PER_HOUR;
pub(crate) use minutes::minute_of;
use series::Series;
pub use tally::Tally;

/// Most changes kept.
const CHANGES: usize = 500;
/// Most service names kept; at most half as many probes are allowed.
const NAMES: usize = 200;

/// History of all services.
pub struct History {
    series: BTreeMap<String, Series>,
    changes: VecDeque<Change>,
    last_change: u64,
    alarms: Vec<Alarm>,
    store: Store,
    failure: Option<SourceError>,
}

impl History {
    /// Opens the history of a folder, which is created if missing.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut store = Store::open(folder, tables::SCHEMA).map_err(io::Error::other)?;
        if !store.take_lock()? {
            log::warn!("another process writes the history of checks; this one waits for the lock");
        }
        let mut series = BTreeMap::<String, Series>::new();
        let read = store.read(|connection| {
            tables::read(connection, |kept| {
                let series = series.entry(kept.name).or_default();
                if kept.minutes == PER_HOUR {
                    series.add_hour(kept.at, kept.tally);
                } else {
                    series.restore_minute(kept.at, kept.tally);
                }
            })?;
            let changes = VecDeque::from(tables::read_changes(connection)?);
            Ok((changes, tables::read_alarms(connection)?))
        });
        let (changes, alarms) = read.map_err(io::Error::other)?;
        Ok(Self {
            series,
            last_change: changes.back().map_or(0, |change| change.id),
            changes,
            alarms,
            store,
            failure: None,
        })
    }

    /// Notes what a check came to.
    pub fn note(&mut self, name: &str, at: Timestamp, tally: Tally) {
        self.note_minute(name, minute_of(at), tally);
    }

    fn note_minute(&mut self, name: &str, minute: u32, tally: Tally) {
        let forgotten = self.make_room(name);
        let series = self.series.entry(name.to_owned()).or_default();
        let begins_an_hour = series.last_hour() != Some(minute / PER_HOUR);
        series.add_minute(minute, tally);
        self.write(|tx| {
            if let Some(forgotten) = &forgotten {
                tables::forget(tx, forgotten)?;
            }
            tables::add(tx, name, minute, tally)?;
            if begins_an_hour {
                tables::prune(tx, name)?;
            }
            Ok(())
        });
    }

    /// Notes a change, and gives it its number.
    pub fn note_change(&mut self, change: Change) -> Change {
        self.last_change += 1;
        let change = Change {
            id: self.last_change,
            ..change
        };
        self.changes.push_back(change.clone());
        if self.changes.len() > CHANGES {
            self.changes.pop_front();
        }
        self.write(|tx| tables::add_change(tx, &change, CHANGES));
        change
    }

    /// Keeps the open alarms for the next process. What cannot be written is tried again the next time.
    pub fn note_alarms(&mut self, alarms: Vec<Alarm>) {
        if alarms != self.alarms && self.write(|tx| tables::replace_alarms(tx, &alarms)) {
            self.alarms = alarms;
        }
    }

    /// The open alarms, as they were last written.
    #[must_use]
    pub fn alarms(&self) -> &[Alarm] {
        &self.alarms
    }

    /// History of one service.
    #[must_use]
    pub fn series(&self, name: &str) -> Option<&Series> {
        self.series.get(name)
    }

    /// The last changes, the oldest first.
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.changes.iter()
    }

    /// Error of the last attempt to write to disk.
    #[must_use]
    pub fn failure(&self) -> Option<&SourceError> {
        self.failure.as_ref()
    }

    /// Of too many names, such as of services that are not probed any more, the one that was checked the longest ago goes. Returns it.
    fn make_room(&mut self, name: &str) -> Option<String> {
        if self.series.len() < NAMES || self.series.contains_key(name) {
            return None;
        }
        let oldest = self
            .series
            .iter()
            .min_by_key(|(_, series)| series.last_hour());
        let oldest = oldest.map(|(name, _)| name.clone())?;
        self.series.remove(&oldest);
        Some(oldest)
    }

    /// Returns whether it was written.
    fn write(&mut self, statements: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) -> bool {
        let written = self.store.write(statements);
        let is_written = written.is_ok();
        match written {
            Ok(()) => self.failure = None,
            Err(error) if self.failure.is_none() => {
                log::error!("the history of checks cannot be written: {error}");
                let detail = match error {
                    StoreError::Locked => {
                        "another silo-services-probe writes the history of checks"
                    }
                    _ => "the history of checks cannot be written; the log has the reason",
                };
                self.failure = Some(SourceError::new("history", "not_saved", detail));
            }
            Err(_) => {}
        }
        is_written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    const ONCE: Tally = Tally {
        up: 1,
        degraded: 0,
        failed: 0,
        down: 0,
        answered_ms: 40,
    };

    fn change() -> Change {
        Change {
            id: 0,
            at: "2026-01-01T00:00:00.123Z".parse().unwrap(),
            name: "new".into(),
            from: Status::Unknown,
            to: Status::Down,
            code: Some("reset".into()),
            detail: Some("it cut the connection".into()),
        }
    }

    #[test]
    fn the_next_process_has_the_same_history_to_the_check() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let now = minute_of(Timestamp::now());
        // 52 hours, at no whole hour: the oldest minutes are not kept, their hours are.
        for minute in 0..(52 * 60 + 7) {
            history.note_minute("new", now - minute, ONCE);
        }
        for hour in 0..(80 * 24) {
            history.note_minute("old", now - 60 * hour, ONCE);
        }
        let noted = history.note_change(change());
        assert_eq!(noted.id, 1);
        let summary = |history: &History| {
            let uptime = |name: &str, hours| {
                let series = history.series(name).unwrap();
                let uptime = series.uptime(hours, now, 1);
                (uptime.checks, uptime.percent)
            };
            ["old", "new"].map(|name| [24, 48, 90 * 24].map(|hours| uptime(name, hours)))
        };
        let before = summary(&history);
        assert_eq!(before[1][2].0, 52 * 60 + 7);
        drop(history);
        let mut again = History::open(folder.path()).unwrap();
        assert_eq!(summary(&again), before);
        assert_eq!(again.changes().cloned().collect::<Vec<_>>(), [noted]);
        assert_eq!(again.note_change(change()).id, 2, "numbers go on");
        let size = std::fs::metadata(folder.path().join("history.db")).unwrap();
        assert!(
            size.len() < 600_000,
            "{} bytes for two services",
            size.len()
        );
    }

    #[test]
    fn what_is_kept_is_bounded_on_disk_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        for minute in 0..(50 * 60) {
            history.note_minute("a", minute, ONCE);
        }
        for number in 0..(CHANGES + 20) {
            history.note_change(change());
            history.note_minute(&format!("service-{number}"), 60 * 60, ONCE);
        }
        drop(history);
        let again = History::open(folder.path()).unwrap();
        assert_eq!(again.changes().count(), CHANGES);
        assert_eq!(again.changes().next().unwrap().id, 21);
        assert_eq!(again.series.len(), NAMES);
        let services = again.store.read(tables::services).unwrap();
        assert_eq!(services, i64::try_from(NAMES).unwrap());
    }

    #[test]
    fn a_second_process_reads_and_says_that_it_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = History::open(folder.path()).unwrap();
        first.note_change(change());
        let mut second = History::open(folder.path()).unwrap();
        assert_eq!(second.changes().count(), 1);
        second.note("a", Timestamp::now(), ONCE);
        let failure = second.failure().unwrap();
        assert_eq!(failure.code, "not_saved");
        let mut alarms = silo_alerts::alarms::Alarms::default();
        let mut findings = silo_alerts::alarms::Findings::default();
        findings.problem("service_down.a", "a is down");
        alarms.update(findings, Timestamp::now());
        let open: Vec<Alarm> = alarms.open().cloned().collect();
        second.note_alarms(open.clone());
        drop(first);
        second.note_alarms(open.clone());
        assert_eq!(second.failure(), None);
        drop(second);
        assert_eq!(History::open(folder.path()).unwrap().alarms(), open);
    }
}
