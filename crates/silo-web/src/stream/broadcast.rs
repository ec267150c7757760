//! Numbered items that are sent to all connected clients; a client that reconnects gets those that it has missed.

use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver};

use super::Event;

/// An item with a number, as JSON.
pub trait Numbered: Clone + Serialize + Send + 'static {
    /// Its number; numbers increase.
    fn number(&self) -> u64;
}

/// Sends items to all connected clients.
#[derive(Clone, Debug)]
pub struct Broadcaster<T>(broadcast::Sender<T>);

impl<T: Numbered> Broadcaster<T> {
    /// A client may lag behind by `most` items.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(broadcast::Sender::new(most))
    }

    /// Sends an item to all clients.
    pub fn send(&self, item: T) {
        // An error means that there are no clients.
        drop(self.0.send(item));
    }

    /// Subscribes. Missed items must be read after this call, so that none is lost in between.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        self.0.subscribe()
    }
}

/// Items that a reconnecting client has missed.
#[derive(Debug)]
pub struct Backlog<T> {
    /// The newest number, if some of them are no longer available.
    pub gap: Option<u64>,
    /// Those that are available, oldest first.
    pub items: Vec<T>,
}

impl<T> Default for Backlog<T> {
    fn default() -> Self {
        Self {
            gap: None,
            items: Vec::new(),
        }
    }
}

impl<T: Numbered> Backlog<T> {
    /// Kept items after number `last`. If some of them are gone or the number is unknown: all kept items, with `gap` set.
    pub fn since<'a>(last: u64, kept: impl Iterator<Item = &'a T>) -> Self {
        let kept: Vec<_> = kept.collect();
        let oldest = kept.first().map_or(1, |item| item.number());
        let newest = kept.last().map_or(0, |item| item.number());
        let is_gap = is_gap(last, oldest, newest);
        let items = kept
            .into_iter()
            .filter(|item| is_gap || item.number() > last)
            .cloned()
            .collect();
        let gap = is_gap.then_some(newest);
        Self { gap, items }
    }
}

/// `true` if a client that has seen item `last` has missed some that are not kept, or if `last` is unknown: from another history.
#[must_use]
pub fn is_gap(last: u64, oldest: u64, newest: u64) -> bool {
    last.saturating_add(1) < oldest || last > newest
}

/// Event stream of one client: first the missed items, then new ones, each as an event `name`. If items were lost, an event `gap` asks the client to
/// reload everything.
pub fn events<T: Numbered>(
    name: &'static str,
    missed: Backlog<T>,
    live: Receiver<T>,
) -> impl Stream<Item = Event> + 'static {
    let Backlog { gap, items } = missed;
    let known = items.last().map_or(0, Numbered::number);
    let first = gap.map(|newest| gap_event(Some(newest))).into_iter();
    let then: Vec<_> = items.iter().map(|item| event(name, item)).collect();
    let live = stream::unfold((live, known), move |(mut live, known)| async move {
        loop {
            match live.recv().await {
                Ok(item) if item.number() > known => {
                    return Some((event(name, &item), (live, known)));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Some((gap_event(None), (live, known))),
                Err(RecvError::Closed) => return None,
            }
        }
    });
    stream::iter(first.chain(then)).chain(live)
}

fn event<T: Numbered>(name: &'static str, item: &T) -> Event {
    Event {
        id: Some(item.number()),
        name,
        // Items are plain data, which can always be written.
        data: serde_json::to_string(item).unwrap_or_default(),
    }
}

/// With the newest number the client does not miss the same items again.
fn gap_event(newest: Option<u64>) -> Event {
    Event {
        id: newest,
        name: "gap",
        data: "{}".into(),
    }
}
