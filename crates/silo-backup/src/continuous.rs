//! Continuous backup: the oplog is read as it is written, and stored in slices of some seconds beside the backups. With them a backup is rolled forward to
//! any moment, also when the server is gone.
//!
//! The `tail` reads the server's oplog and cuts `slice`s, which the `spool` keeps on this machine's disk until `upload` has stored them in every
//! destination and read them back. `stored` reads them from there, and `timeline` puts those of several chains one after the other. Each night `proof`
//! shows that they have every change, with a `local_copy` where the private key is elsewhere, and `merge` makes few objects of many. `base_wanted` asks
//! for a backup, and `status` measures all of this. Slices form a chain from a backup on (`beginning`); whatever does not continue it ends it, and another
//! begins.

pub mod base_wanted;
mod beginning;
pub mod local_copy;
pub mod merge;
mod open_slice;
pub mod proof;
pub mod slice;
pub mod spool;
pub mod status;
pub mod stored;
mod tail;
pub mod timeline;
mod upload;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerts::Event;
use crate::context::Context;
use crate::oplog::Position;
use base_wanted::BaseWanted;
pub use open_slice::IDLE;
use spool::Spool;
use status::LossView;
use tail::Tail;
pub use tail::TailState;
use upload::Uploader;

/// Continuous backup in this process.
#[derive(Clone)]
pub struct Continuous {
    /// Slices on disk.
    pub spool: Arc<Spool>,
    /// State of the tail.
    pub tail: watch::Receiver<TailState>,
    /// Up to here the server was read, and there is nothing that is in no slice.
    pub cut_up_to: watch::Receiver<Position>,
    /// Mass deletions, the newest last.
    pub losses: watch::Receiver<Vec<LossView>>,
    /// Error of each destination; `None` if its last slice was stored.
    pub failures: Vec<(&'static str, watch::Receiver<Option<String>>)>,
    /// Request for a backup at which a chain can begin.
    pub base_wanted: Arc<BaseWanted>,
    tasks: TaskTracker,
}

/// Sends the alarm about the end of a chain.
fn end_of_chain(context: &Context, chain: &str, reason: &str) {
    let text = format!(
        "the chain {chain} of continuous backup ended: {reason}; a new one begins at the next backup"
    );
    let alerts = context.alerts.clone();
    actix_web::rt::spawn(
        async move { alerts.send(&Event::Alarm("oplog_chain_ended", text)).await },
    );
}

impl Continuous {
    /// Starts the tail and the uploaders on this thread, until the process is to end.
    #[must_use]
    pub fn start(context: &Context) -> Self {
        let spool = Arc::new(Spool::open(
            &context.settings.folder,
            local_copy::is_needed(&context.settings),
        ));
        let base_wanted = Arc::new(BaseWanted::default());
        let (state, tail) = watch::channel(TailState::Starting);
        let (lease, held) = watch::channel(None);
        let (losses, noticed) = watch::channel(Vec::new());
        let (cut_up_to, is_cut_up_to) = watch::channel(Position::default());
        let (uploads, tasks) = (TaskTracker::new(), TaskTracker::new());
        let done = CancellationToken::new();
        let mut failures = Vec::new();
        for repository in context.repositories() {
            let (failure, failed) = watch::channel(None);
            failures.push((repository.name, failed));
            let uploader = Uploader {
                context: context.clone(),
                spool: Arc::clone(&spool),
                repository: repository.clone(),
                lease: held.clone(),
                failure,
                checked: None,
            };
            actix_web::rt::spawn(uploads.track_future(uploader.run(done.clone())));
        }
        uploads.close();
        let tail_task = Tail {
            context: context.clone(),
            spool: Arc::clone(&spool),
            state,
            lease,
            losses,
            cut_up_to,
            base_wanted: Arc::clone(&base_wanted),
            done,
            uploads,
        };
        actix_web::rt::spawn(tasks.track_future(tail_task.run()));
        tasks.close();
        Self {
            spool,
            tail,
            cut_up_to: is_cut_up_to,
            losses: noticed,
            failures,
            base_wanted,
            tasks,
        }
    }

    /// Waits until the last slice is stored, or its time is over, after the process was asked to stop.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }
}
