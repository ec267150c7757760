//! History of all checks: by minute for 48 hours, by hour for 90 days, and every change of status; in memory, and in a file from which the next
//! process continues.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use silo_alerts::alarms::Alarm;
use silo_web::snapshot::SourceError;

use crate::changes::Change;

pub mod log;
mod minutes;
pub mod record;
pub mod series;
mod tally;

use log::Log;
pub(crate) use minutes::minute_of;
use record::Record;
use series::Series;
pub use tally::Tally;

/// Most changes kept.
const CHANGES: usize = 500;
/// Most service names kept; at most half as many probes are allowed.
const NAMES: usize = 200;

/// History of all services.
pub struct History {
    known: Kept,
    log: Log,
    failure: Option<SourceError>,
}

/// In-memory part of the history.
#[derive(Default)]
struct Kept {
    series: BTreeMap<String, Series>,
    changes: VecDeque<Change>,
    last_change: u64,
    alarms: Vec<Alarm>,
}

impl History {
    /// Opens the history of a folder, which is created if missing.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut known = Kept::default();
        let log = Log::open(folder, |record| known.take(record))?;
        Ok(Self {
            known,
            log,
            failure: None,
        })
    }

    /// Notes what a check came to.
    pub fn note(&mut self, name: &str, at: Timestamp, tally: Tally) {
        let (name, at) = (name.to_owned(), minute_of(at));
        self.keep(Record::Minute { name, at, tally });
    }

    /// Notes a change, and gives it its number.
    pub fn note_change(&mut self, change: Change) -> Change {
        let change = Change {
            id: self.known.last_change + 1,
            ..change
        };
        self.keep(Record::Change(change.clone()));
        change
    }

    /// Keeps the open alarms for the next process.
    pub fn note_alarms(&mut self, alarms: Vec<Alarm>) {
        if alarms != self.known.alarms {
            self.keep(Record::Alarms(alarms));
        }
    }

    /// The open alarms, as they were last kept.
    #[must_use]
    pub fn alarms(&self) -> &[Alarm] {
        &self.known.alarms
    }

    /// History of one service.
    #[must_use]
    pub fn series(&self, name: &str) -> Option<&Series> {
        self.known.series.get(name)
    }

    /// The last changes, the oldest first.
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.known.changes.iter()
    }

    /// Error of the last attempt to write to disk.
    #[must_use]
    pub fn failure(&self) -> Option<&SourceError> {
        self.failure.as_ref()
    }

    fn keep(&mut self, record: Record) {
        let line = record.line();
        self.known.take(record);
        let known = &self.known;
        let written = self.log.append(&line).and_then(|grown| {
            if grown {
                self.log.replace(|out| known.write(out))
            } else {
                Ok(())
            }
        });
        match written {
            Ok(()) => self.failure = None,
            Err(error) if self.failure.is_none() => {
                ::log::error!("the history of checks cannot be written: {error}");
                let detail = "the history of checks cannot be written; the log has the reason";
                self.failure = Some(SourceError::new("history", "not_saved", detail));
            }
            Err(_) => {}
        }
    }
}

impl Kept {
    fn take(&mut self, record: Record) {
        match record {
            Record::Minute { name, at, tally } => {
                self.of(name).add_minute(at, tally);
            }
            Record::Hour { name, at, tally } => {
                self.of(name).add_hour(at, tally);
            }
            Record::Alarms(alarms) => self.alarms = alarms,
            Record::Change(change) => {
                self.last_change = self.last_change.max(change.id);
                self.changes.push_back(change);
                if self.changes.len() > CHANGES {
                    self.changes.pop_front();
                }
            }
        }
    }

    /// The series of a name. Of too many names, such as of services that are not probed any more, the one that was checked the longest
    /// ago goes.
    fn of(&mut self, name: String) -> &mut Series {
        if self.series.len() >= NAMES && !self.series.contains_key(&name) {
            let oldest = self
                .series
                .iter()
                .min_by_key(|(_, series)| series.last_hour());
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| self.series.remove(&name));
        }
        self.series.entry(name).or_default()
    }

    /// Writes the history in as few records as possible.
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for (name, series) in &self.series {
            for (at, tally) in series.hours_without_minutes() {
                let name = name.clone();
                out.write_all(Record::Hour { name, at, tally }.line().as_bytes())?;
            }
            for (at, tally) in series.minutes() {
                let name = name.clone();
                out.write_all(Record::Minute { name, at, tally }.line().as_bytes())?;
            }
        }
        out.write_all(Record::Alarms(self.alarms.clone()).line().as_bytes())?;
        for change in &self.changes {
            out.write_all(Record::Change(change.clone()).line().as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    #[test]
    fn compaction_keeps_the_contents_and_ninety_days_stay_small() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open(folder.path()).unwrap();
        let now = Timestamp::now();
        let tally = Tally {
            up: 1,
            answered_ms: 40,
            ..Tally::default()
        };
        for hour in 0..(90 * 24) {
            history.note("old", now - jiff::SignedDuration::from_hours(hour), tally);
        }
        for minute in 0..(48 * 60) {
            history.note("new", now - jiff::SignedDuration::from_mins(minute), tally);
        }
        let change = Change {
            id: 0,
            at: now,
            name: "new".into(),
            from: Status::Unknown,
            to: Status::Up,
            code: None,
            detail: None,
        };
        assert_eq!(history.note_change(change.clone()).id, 1);
        let summary = |history: &History| {
            ["old", "new"].map(|name| {
                history
                    .series(name)
                    .unwrap()
                    .uptime(90 * 24, minute_of(now), 1)
                    .checks
            })
        };
        let before = summary(&history);
        let known = &history.known;
        history.log.replace(|out| known.write(out)).unwrap();
        drop(history);
        let size = std::fs::metadata(folder.path().join("history.log"))
            .unwrap()
            .len();
        assert!(size < 300_000, "{size} bytes for two services");
        let mut again = History::open(folder.path()).unwrap();
        assert_eq!(summary(&again), before);
        assert_eq!(again.note_change(change).id, 2, "numbers go on");
        // The file is compacted as it grows.
        for _ in 0..60_000 {
            again.note("new", now, tally);
        }
        let size = std::fs::metadata(folder.path().join("history.log"))
            .unwrap()
            .len();
        assert!(size < 2_000_000, "{size} bytes");
    }
}
