//! Changes of status, numbered so that a client can resume after a reconnect.

use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use silo_web::stream::Event;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver};
use utoipa::ToSchema;

use crate::status::Status;

/// Most changes that a slow client may lag behind.
const MAX_LAG: usize = 64;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
pub struct Change {
    /// Id of the change; ids increase.
    pub id: u64,
    /// When it was noticed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The service.
    pub name: String,
    /// Status before.
    pub from: Status,
    /// Status after.
    pub to: Status,
    /// Reason, as a stable code; `null` if the service is up.
    pub code: Option<String>,
    /// Reason, in one sentence.
    pub detail: Option<String>,
}

/// Broadcast to all connected clients.
#[derive(Clone, Debug)]
pub struct Broadcaster(broadcast::Sender<Change>);

impl Default for Broadcaster {
    fn default() -> Self {
        Self(broadcast::Sender::new(MAX_LAG))
    }
}

impl Broadcaster {
    /// Sends a change to all clients.
    pub fn send(&self, change: Change) {
        // An error means that there are no clients.
        drop(self.0.send(change));
    }

    /// Subscribes to changes. Missed ones must be read after this call, so that none is lost in between.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<Change> {
        self.0.subscribe()
    }
}

/// Event stream of one client: first the missed changes, then new ones. If changes were lost, an event `gap` asks the client to reload everything.
pub fn events(missed: Backlog, live: Receiver<Change>) -> impl Stream<Item = Event> + 'static {
    let Backlog { gap, changes } = missed;
    let known = changes.last().map_or(0, |change| change.id);
    let first = gap.then(gap_event).into_iter();
    let then: Vec<_> = changes.iter().map(event).collect();
    let live = stream::unfold((live, known), |(mut live, known)| async move {
        loop {
            match live.recv().await {
                Ok(change) if change.id > known => return Some((event(&change), (live, known))),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Some((gap_event(), (live, known))),
                Err(RecvError::Closed) => return None,
            }
        }
    });
    stream::iter(first.chain(then)).chain(live)
}

/// Changes that a reconnecting client has missed.
#[derive(Debug, Default)]
pub struct Backlog {
    /// `true` if some of them are no longer available.
    pub gap: bool,
    /// Available missed changes, oldest first.
    pub changes: Vec<Change>,
}

impl Backlog {
    /// Kept changes after id `last`. If some of them are gone or the id is unknown: all kept changes, with `gap` set.
    pub fn since<'a>(last: u64, kept: impl Iterator<Item = &'a Change>) -> Self {
        let kept: Vec<_> = kept.collect();
        let oldest = kept.first().map_or(1, |change| change.id);
        let newest = kept.last().map_or(0, |change| change.id);
        // An unknown id comes from another history.
        let gap = last.saturating_add(1) < oldest || last > newest;
        let changes = kept
            .into_iter()
            .filter(|change| gap || change.id > last)
            .cloned()
            .collect();
        Self { gap, changes }
    }
}

fn event(change: &Change) -> Event {
    Event {
        id: Some(change.id),
        name: "change",
        // A change has nothing that cannot be written.
        data: serde_json::to_string(change).unwrap_or_default(),
    }
}

fn gap_event() -> Event {
    Event {
        id: None,
        name: "gap",
        data: "{}".into(),
    }
}
