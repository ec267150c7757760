//! State shared by handlers: status of backups, jobs, and connected clients.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use silo_web::snapshot::{RefreshPolicy, Snapshot, Source};
use silo_web::stream::Streams;
use tokio::sync::watch;

use crate::context::Context;
use crate::continuous::status::ContinuousStatus;
use crate::continuous::{self, Continuous};
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
    /// Continuous backup and its status, if it is on.
    pub continuous: Option<(Continuous, Arc<Snapshot<ContinuousStatus>>)>,
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
    pub fn new(context: Context, continuous: Option<Continuous>) -> (Self, Work) {
        let (jobs, accepted) = JobRunner::new(context.clone());
        let (sender, next) = watch::channel(None);
        let state = Self {
            context,
            status: Arc::new(Snapshot::new("backups", REFRESH)),
            jobs,
            streams: Streams::new(WATCHERS, HEARTBEAT),
            continuous: continuous.map(|continuous| {
                let status = Snapshot::new("continuous", continuous::status::REFRESH);
                (continuous, Arc::new(status))
            }),
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
        if let Some((continuous, status)) = self.continuous.clone() {
            let (context, mut tail, news) = (
                self.context.clone(),
                continuous.tail.clone(),
                Arc::clone(&status),
            );
            actix_web::rt::spawn(async move {
                while tail.changed().await.is_ok() {
                    news.invalidate();
                }
            });
            actix_web::rt::spawn(async move {
                let measure = || continuous::status::measure(&context, &continuous);
                status.keep_measuring(measure).await;
            });
        }
        let scheduler = Scheduler {
            context: self.context.clone(),
            jobs: self.jobs.clone(),
            status: Arc::clone(&self.status),
            continuous: self
                .continuous
                .as_ref()
                .map(|(continuous, _)| continuous.clone()),
            next: work.next,
        };
        actix_web::rt::spawn(scheduler.run());
        let context = self.context.clone();
        let watchdog = Watchdog::new(context.clock.now(), context.settings.oldest);
        let continuous = self
            .continuous
            .as_ref()
            .map(|(_, status)| Arc::clone(status));
        actix_web::rt::spawn(watchdog.run(context, Arc::clone(&self.status), continuous));
    }

    /// All subjects, for metrics.
    #[must_use]
    pub fn sources(&self) -> Vec<Arc<dyn Source>> {
        let continuous = self.continuous.iter();
        let continuous = continuous.map(|(_, status)| Arc::clone(status) as Arc<dyn Source>);
        continuous
            .chain([self.status.clone() as Arc<dyn Source>])
            .collect()
    }
}
