//! Server-sent events (WHATWG HTML, 9.2) for a limited number of clients, with a heartbeat, until the service shuts down.

pub mod broadcast;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::problem::{Kind, Problem};
use crate::server::Shutdown;

/// Delay before a client reconnects (`retry` of server-sent events), in milliseconds.
const RECONNECT_DELAY_MS: u32 = 3000;

/// A server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Event id, which a reconnecting client sends as `Last-Event-ID`; `None` for events that cannot be resumed.
    pub id: Option<u64>,
    /// Event type: `change`.
    pub name: &'static str,
    /// JSON on one line.
    pub data: String,
}

/// The clients of one stream.
#[derive(Clone, Debug)]
pub struct Streams {
    free: Arc<Semaphore>,
    most: usize,
    heartbeat: Duration,
}

impl Streams {
    /// At most `most` clients, each with an event at least every `heartbeat`.
    #[must_use]
    pub fn new(most: usize, heartbeat: Duration) -> Self {
        let free = Arc::new(Semaphore::new(most));
        Self {
            free,
            most,
            heartbeat,
        }
    }

    /// A streaming response. It ends when `events` ends, the client disconnects or the service shuts down.
    ///
    /// # Errors
    /// 503 when there are too many clients.
    pub fn answer(
        &self,
        shutdown: &Shutdown,
        events: impl Stream<Item = Event> + 'static,
    ) -> Result<HttpResponse, Problem> {
        let slot = Arc::clone(&self.free).try_acquire_owned();
        let slot = slot.map_err(|_full| {
            let detail = format!(
                "{} clients are connected, which is the limit; try again later",
                self.most
            );
            Problem::with_code(Kind::Unavailable, "too_many_clients", detail)
        })?;
        let mut beat = interval_at(Instant::now() + self.heartbeat, self.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let open = Open {
            events: Box::pin(events),
            beat,
            shutdown: shutdown.clone(),
            ended: false,
            _slot: slot,
        };
        let hello = Bytes::from(format!("retry: {RECONNECT_DELAY_MS}\n\n"));
        let body = stream::iter([hello]).chain(stream::unfold(open, Open::next));
        Ok(HttpResponse::Ok()
            // Compressing would hold events back.
            .insert_header((CACHE_CONTROL, "no-store, no-transform"))
            .insert_header((CONTENT_TYPE, "text/event-stream"))
            .streaming(body.map(Ok::<_, actix_web::Error>)))
    }
}

/// The `Last-Event-ID` header, which a reconnecting client sends; `None` if it is missing or not a number.
#[must_use]
pub fn last_event_id(request: &HttpRequest) -> Option<u64> {
    let given = request.headers().get("Last-Event-ID")?;
    given.to_str().ok()?.trim().parse().ok()
}

struct Open {
    events: Pin<Box<dyn Stream<Item = Event>>>,
    beat: Interval,
    shutdown: Shutdown,
    ended: bool,
    _slot: OwnedSemaphorePermit,
}

impl Open {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if self.ended {
            return None;
        }
        let text = tokio::select! {
            biased;
            () = self.shutdown.requested() => None,
            event = self.events.next() => event.map(|event| to_text(&event)),
            _ = self.beat.tick() => Some(": beat\n\n".to_owned()),
        };
        self.ended = text.is_none();
        let text = text.unwrap_or_else(|| "event: end\ndata: {}\n\n".to_owned());
        Some((text.into(), self))
    }
}

/// Text of an event as it is sent (`id`, `event`, `data`).
fn to_text(event: &Event) -> String {
    let id = event
        .id
        .map_or_else(String::new, |id| format!("id: {id}\n"));
    // Each line needs a `data:` field of its own (server-sent events); compact JSON has only one line.
    let data: String = event
        .data
        .lines()
        .map(|line| format!("data: {line}\n"))
        .collect();
    format!("{id}event: {}\n{data}\n", event.name)
}
