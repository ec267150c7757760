//! State shared by handlers: status of backups, jobs, and connected clients.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use silo_web::snapshot::{RefreshPolicy, Snapshot, Source};
use silo_web::stream::Streams;
use tokio::sync::watch;

use crate::context::Context;
use crate::schedule::job_runner::{AcceptedJobs, JobRunner};
use crate::schedule::scheduler::Scheduler;
use crate::schedule::watchdog::Watchdog;
use crate::status::{self, BackupStatus};

/// Interval between listings of the buckets, and their time limits.
const REFRESH: RefreshPolicy = RefreshPolicy {
    interval: Duration::from_secs(60),
    timeout: Duration::from_secs(40),
    initial_wait: Duration::from_millis(2500),
};
/// Most clients of the event stream.
const WATCHERS: usize = 20;
/// Interval of heartbeats on the event stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The subjects of this service.
#[derive(Clone)]
pub struct State {
    /// Shared state of the process.
    pub context: Context,
    /// Status of backups.
    pub status: Arc<Snapshot<BackupStatus>>,
    /// Jobs.
    pub jobs: JobRunner,
    /// Clients of the event stream.
    pub streams: Streams,
    /// When the next backup is due.
    pub next: watch::Receiver<Option<Timestamp>>,
}

/// Background tasks beside the server.
pub struct Work {
    accepted: AcceptedJobs,
    next: watch::Sender<Option<Timestamp>>,
}

impl State {
    /// State without any measurement or job.
    #[must_use]
    pub fn new(context: Context) -> (Self, Work) {
        let (jobs, accepted) = JobRunner::new(context.clone());
        let (sender, next) = watch::channel(None);
        let state = Self {
            context,
            status: Arc::new(Snapshot::new("backups", REFRESH)),
            jobs,
            streams: Streams::new(WATCHERS, HEARTBEAT),
            next,
        };
        (
            state,
            Work {
                accepted,
                next: sender,
            },
        )
    }

    /// Starts measuring, the job runner and the scheduler on this thread, until the process ends.
    pub fn start(&self, work: Work) {
        let (status, context) = (Arc::clone(&self.status), self.context.clone());
        actix_web::rt::spawn(
            async move { status.keep_measuring(|| status::measure(&context)).await },
        );
        actix_web::rt::spawn(self.jobs.clone().keep_working(work.accepted));
        let (status, mut ends) = (Arc::clone(&self.status), self.jobs.ends());
        actix_web::rt::spawn(async move {
            while ends.changed().await.is_ok() {
                status.invalidate();
            }
        });
        let scheduler = Scheduler {
            context: self.context.clone(),
            jobs: self.jobs.clone(),
            status: Arc::clone(&self.status),
            next: work.next,
        };
        actix_web::rt::spawn(scheduler.run());
        let (context, status) = (self.context.clone(), Arc::clone(&self.status));
        let watchdog = Watchdog::new(context.clock.now(), context.settings.oldest);
        actix_web::rt::spawn(watchdog.run(context, status));
    }

    /// All subjects, for metrics.
    #[must_use]
    pub fn sources(&self) -> Vec<Arc<dyn Source>> {
        vec![self.status.clone()]
    }
}
