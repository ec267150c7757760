//! What came of all checks: by minute for 48 hours, by hour for 90 days, and every change of state; in memory, and in a file that
//! the next process begins with.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use jiff::Timestamp;
use silo_web::snapshot::SourceError;

use crate::changes::Change;

pub mod log;
pub mod record;
pub mod series;

use log::Log;
use record::Record;
use series::{HOUR, MINUTE, Series, Tally};

/// How many changes are kept.
const CHANGES: usize = 500;

/// All of it.
pub struct History {
    series: BTreeMap<String, Series>,
    changes: VecDeque<Change>,
    next_change: u64,
    log: Log,
    failure: Option<SourceError>,
}

impl History {
    /// What processes before this one left in a folder, which is made when it is not there.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        let (log, records) = Log::open(folder)?;
        let mut history = Self {
            series: BTreeMap::new(),
            changes: VecDeque::new(),
            next_change: 1,
            log,
            failure: None,
        };
        for record in records {
            history.take(record);
        }
        history.trim(Timestamp::now());
        Ok(history)
    }

    /// Notes what a check came to.
    pub fn note(&mut self, name: &str, at: Timestamp, tally: Tally) {
        let (name, at) = (name.to_owned(), minute_of(at));
        self.keep(Record::Minute { name, at, tally });
    }

    /// Notes a change, and gives it its number.
    pub fn note_change(&mut self, change: Change) -> Change {
        let change = Change {
            id: self.next_change,
            ..change
        };
        self.keep(Record::Change(change.clone()));
        change
    }

    /// What is known of a service.
    #[must_use]
    pub fn series(&self, name: &str) -> Option<&Series> {
        self.series.get(name)
    }

    /// The last changes, the oldest first.
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.changes.iter()
    }

    /// Why results are not kept on disk at present.
    #[must_use]
    pub fn failure(&self) -> Option<&SourceError> {
        self.failure.as_ref()
    }

    fn keep(&mut self, record: Record) {
        let line = record.line();
        self.take(record);
        self.trim(Timestamp::now());
        let written = self.log.append(&line).and_then(|grown| {
            if grown {
                let lines: Vec<String> = self.records().map(|record| record.line()).collect();
                self.log.replace(&lines)
            } else {
                Ok(())
            }
        });
        match written {
            Ok(()) => self.failure = None,
            Err(error) if self.failure.is_none() => {
                ::log::error!("results of probes are not kept on disk: {error}");
                let detail = "results are not kept on disk at present; the log says why";
                self.failure = Some(SourceError::new("history", "not_kept", detail));
            }
            Err(_) => {}
        }
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Minute { name, at, tally } => {
                self.series.entry(name).or_default().add_minute(at, tally);
            }
            Record::Hour { name, at, tally } => {
                self.series.entry(name).or_default().add_hour(at, tally);
            }
            Record::Change(change) => {
                self.next_change = self.next_change.max(change.id + 1);
                self.changes.push_back(change);
                if self.changes.len() > CHANGES {
                    self.changes.pop_front();
                }
            }
        }
    }

    fn trim(&mut self, now: Timestamp) {
        for series in self.series.values_mut() {
            series.trim(minute_of(now));
        }
        self.series.retain(|_, series| !series.is_empty());
    }

    /// Everything, as few records as possible.
    fn records(&self) -> impl Iterator<Item = Record> {
        let of = |(name, series): (&String, &Series)| {
            let hours = series.hours_without_minutes().map({
                let name = name.clone();
                move |(at, tally)| Record::Hour {
                    name: name.clone(),
                    at,
                    tally,
                }
            });
            let minutes = series.minutes().map({
                let name = name.clone();
                move |(at, tally)| Record::Minute {
                    name: name.clone(),
                    at,
                    tally,
                }
            });
            hours.chain(minutes).collect::<Vec<_>>()
        };
        let changes = self.changes.iter().cloned().map(Record::Change);
        self.series.iter().flat_map(of).chain(changes)
    }
}

/// The minute a moment is in, since 1970.
pub(crate) fn minute_of(at: Timestamp) -> u32 {
    u32::try_from(at.as_second() / MINUTE).unwrap_or(0)
}

/// How many minutes an hour has.
pub(crate) fn minutes_per_hour() -> u32 {
    u32::try_from(HOUR / MINUTE).unwrap_or(60)
}
