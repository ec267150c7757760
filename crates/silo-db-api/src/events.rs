//! Changes of the database in the last day: read from mongod's change stream, kept in an SQLite file, and sent to connected clients as they happen.

mod summary;
mod tables;
mod view;
mod watcher;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::Stream;
use jiff::Timestamp;
use serde::Serialize;
use silo_store::{Store, StoreError};
use silo_web::snapshot::SourceError;
use silo_web::stream::Event;
use silo_web::stream::broadcast::{Backlog, Broadcaster, Numbered, events, is_gap};
use utoipa::ToSchema;

pub use view::Activity;
pub use watcher::Watcher;

/// Most events that a slow client may lag behind.
const MAX_LAG: usize = 256;
/// Number of events kept.
const MAX_EVENTS: u64 = 10_000;
/// Most missed events that are sent to a client; one that has missed more reloads the list.
const MAX_MISSED: u64 = 500;

/// A change of the database, or several of one kind. It names no e-mail address, no text that somebody has written and no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseEvent {
    /// Number of the event; numbers increase.
    pub id: u64,
    /// When mongod made the change, to the second; of several, the last.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The collection; empty if the database was dropped.
    pub collection: String,
    /// `insert`, `update`, `replace`, `delete`, `drop`, `rename` or `dropDatabase`.
    pub operation: String,
    /// Number of changes. Many of one kind that are read at once and are of one minute are one event.
    pub count: u64,
    /// `_id` of the document; `null` for several, and where it may be personal or a secret.
    pub document: Option<String>,
    /// Handle of the document's user; `null` if unknown.
    pub user: Option<String>,
    /// Code or slug by which AC knows the document.
    pub label: Option<String>,
    /// Names of some changed fields.
    pub fields: Vec<String>,
}

impl Numbered for DatabaseEvent {
    fn number(&self) -> u64 {
        self.id
    }
}

/// State of the change stream.
#[derive(Clone, Debug)]
struct StreamState {
    /// Time of its last answer.
    as_of: Option<Timestamp>,
    /// Error since then; `None` while it answers.
    error: Option<SourceError>,
}

/// The events on disk, and the connected clients.
#[derive(Debug)]
pub struct EventLog {
    store: Mutex<Store>,
    listeners: Broadcaster<DatabaseEvent>,
    stream: Mutex<StreamState>,
}

impl EventLog {
    /// Opens the events in a folder, which is created if missing.
    ///
    /// # Errors
    /// When the folder or its file cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            store: Mutex::new(Store::open(folder, tables::SCHEMA)?),
            listeners: Broadcaster::new(MAX_LAG),
            stream: Mutex::new(StreamState {
                as_of: None,
                error: None,
            }),
        })
    }

    /// Position in the change stream after the last event.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn position(&self) -> Result<Option<String>, StoreError> {
        self.store().read(tables::position)
    }

    /// Forgets the position: what happened until `now` is not known.
    ///
    /// # Errors
    /// When it was not written.
    pub fn begin_anew(&self, now: Timestamp) -> Result<(), StoreError> {
        self.store().write(|tx| tables::begin_anew(tx, now))
    }

    /// Adds events, which get their numbers, with the position after them, and sends them to the clients. From the last call until `until`, if that is
    /// known, there were no others.
    ///
    /// # Errors
    /// When they were not written.
    pub fn add(
        &self,
        mut new: Vec<DatabaseEvent>,
        position: Option<&str>,
        until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.store().write(|tx| {
            for event in &mut new {
                event.id = tables::add(tx, event)?;
            }
            tables::note(tx, &new, position, until)?;
            tables::prune(tx, MAX_EVENTS)
        })?;
        for event in new {
            self.listeners.send(event);
        }
        Ok(())
    }

    /// Events of the day before `until`, newest first, and how many there were in each minute and quarter of an hour before `now`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn activity(
        &self,
        until: Option<Timestamp>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Activity, StoreError> {
        self.store().read(|connection| {
            Ok(view::activity(
                tables::since(connection)?,
                tables::newest(connection, view::day_before(now), until, limit)?,
                &tables::minutes(connection, view::first_minute(now))?,
                now,
            ))
        })
    }

    /// Events as they happen, preceded by those after `last` that the client has missed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn listen(
        &self,
        last: Option<u64>,
    ) -> Result<impl Stream<Item = Event> + use<>, StoreError> {
        let live = self.listeners.subscribe();
        let missed = last.map(|last| self.missed(last)).transpose()?;
        Ok(events("change", missed.unwrap_or_default(), live))
    }

    fn missed(&self, last: u64) -> Result<Backlog<DatabaseEvent>, StoreError> {
        self.store().read(|connection| {
            let (oldest, newest) = tables::numbers(connection)?;
            if is_gap(last, oldest, newest) || newest.saturating_sub(last) > MAX_MISSED {
                return Ok(Backlog {
                    gap: Some(newest),
                    items: Vec::new(),
                });
            }
            Ok(Backlog {
                gap: None,
                items: tables::after(connection, last)?,
            })
        })
    }

    /// Time of the last answer of the change stream, and its error since then.
    #[must_use]
    pub fn stream_state(&self) -> (Option<Timestamp>, Option<SourceError>) {
        let state = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        (state.as_of, state.error.clone())
    }

    fn note_answer(&self, at: Timestamp) {
        let mut state = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        *state = StreamState {
            as_of: Some(at),
            error: None,
        };
    }

    fn note_error(&self, mut error: SourceError) {
        let mut state = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = state
            .error
            .take()
            .filter(|before| before.code == error.code)
        {
            error.since = before.since;
        }
        state.error = Some(error);
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
