//! Random faults of a night.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use rand::Rng;
use rand::rngs::SmallRng;
use silo_testkit::proxy::{Fault, Proxy};

/// State of one destination's storage.
pub(crate) const WELL: u8 = 0;
pub(crate) const REFUSES: u8 = 1;
pub(crate) const LOSES_WRITES: u8 = 2;

/// A destination behind a proxy with a switch, and the request at which a process is killed.
pub(crate) struct Gate {
    pub(crate) proxy: Proxy,
    pub(crate) state: Arc<AtomicU8>,
    pub(crate) kill_in: Arc<AtomicI64>,
    pub(crate) killed: Arc<tokio::sync::Notify>,
}

impl Gate {
    pub(crate) async fn new(url: &str) -> Self {
        let state = Arc::new(AtomicU8::new(WELL));
        let kill_in = Arc::new(AtomicI64::new(i64::MAX));
        let killed = Arc::new(tokio::sync::Notify::new());
        let (seen, count, notify) = (
            Arc::clone(&state),
            Arc::clone(&kill_in),
            Arc::clone(&killed),
        );
        let proxy = Proxy::start(url, move |_, line| {
            if count.fetch_sub(1, Ordering::SeqCst) == 0 {
                notify.notify_one();
            }
            let denied = || {
                Fault::answer(
                    "403 Forbidden",
                    "Content-Type: application/xml\r\n",
                    "<Error><Code>AccessDenied</Code></Error>",
                )
            };
            match seen.load(Ordering::SeqCst) {
                REFUSES => denied(),
                LOSES_WRITES if line.starts_with("PUT ") || line.starts_with("POST ") => denied(),
                _ => Fault::None,
            }
        });
        Self {
            proxy: proxy.await.unwrap(),
            state,
            kill_in,
            killed,
        }
    }
}

/// What happens in a night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Night {
    Calm,
    Primary(u8),
    Copy(u8),
    Both,
    /// The database refuses to record a backup.
    Database,
    /// The snapshot is not available.
    Snapshot,
    /// The process is killed at a request.
    Killed(i64),
    /// A third of the documents is gone; the operator accepts it the next day.
    Loss,
    /// A stored archive of the second copy is damaged; the operator acknowledges it when it is reported.
    Damage,
}

impl Night {
    pub(crate) fn random(random: &mut SmallRng) -> Self {
        match random.random_range(0..100) {
            0..55 => Self::Calm,
            55..62 => Self::Primary(REFUSES),
            62..66 => Self::Primary(LOSES_WRITES),
            66..72 => Self::Copy(REFUSES),
            72..76 => Self::Copy(LOSES_WRITES),
            76..82 => Self::Both,
            82..86 => Self::Database,
            86..89 => Self::Snapshot,
            89..96 => Self::Killed(random.random_range(1..60)),
            96..98 => Self::Loss,
            _ => Self::Damage,
        }
    }
}
