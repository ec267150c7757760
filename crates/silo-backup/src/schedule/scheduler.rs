//! Scheduled jobs: backups, then pruning and a share of verification, and drills at their own times.
//!
//! A job is attempted whether or not the storage answers: a run that fails sends an alert, and one that is not attempted would not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use log::{info, warn};
use silo_web::snapshot::Snapshot;
use tokio::sync::watch;

use crate::context::Context;
use crate::continuous::Continuous;
use crate::continuous::proof::ProofOutcome;
use crate::repository::ProofResult;
use crate::run::attempts::{self, LastAttempt};
use crate::schedule::RunHistory;
use crate::schedule::job_runner::{Job, JobRunner, JobState, Kind, SCHEDULE};
use crate::schedule::proofs::{self, ProofAttempt};
use crate::status::BackupStatus;

/// Interval of checks for due jobs, and so the delay after which a corrected clock is noticed.
const POLL_INTERVAL: Duration = Duration::from_secs(20);
/// Time after the start for which an attempt waits until storage and database can be read.
const STARTUP_GRACE: Duration = Duration::from_secs(90);
/// Interval of checks in that time.
const STARTUP_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The scheduler of one service.
pub struct Scheduler {
    /// Shared state.
    pub context: Context,
    /// Runs the jobs.
    pub jobs: JobRunner,
    /// Status of backups.
    pub status: Arc<Snapshot<BackupStatus>>,
    /// Continuous backup, if it is on.
    pub continuous: Option<Continuous>,
    /// Time of the next backup.
    pub next: watch::Sender<Option<Timestamp>>,
}

/// Failures of attempts, in the database and in this process. The database may be what fails.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    /// Number since the last success, and the time of the last one.
    in_memory: Option<(usize, Timestamp)>,
}

impl Failures {
    fn count(&mut self, is_failed: bool, now: Timestamp) {
        let before = self.in_memory.map_or(0, |(failures, _)| failures);
        self.in_memory = is_failed.then_some((before + 1, now));
    }

    /// The larger number of both.
    fn with(self, recorded: Option<&LastAttempt>) -> Option<(usize, Timestamp)> {
        let recorded = recorded
            .filter(|attempt| attempt.failures > 0)
            .map(|attempt| {
                let failures = usize::try_from(attempt.failures).unwrap_or(usize::MAX);
                (failures, attempt.at)
            });
        recorded.max(self.in_memory)
    }
}

impl Scheduler {
    /// Runs until the process is to end.
    pub async fn run(self) {
        let (mut failed, mut drills_failed) = (Failures::default(), Failures::default());
        if self.context.settings.drill_schedule.is_none() {
            info!("no drills are scheduled");
        }
        let mut last_proof: Option<ProofAttempt> = None;
        let mut ends = self.jobs.ends();
        let started = Instant::now();
        loop {
            let status = self.status.wait_for_first().await.ok();
            let status = status.as_ref().map(|status| &*status.value);
            if let Some(status) = status {
                self.end_unproven(status);
            }
            let now = self.context.clock.now();
            let client = &self.context.status_client;
            let last_run = attempts::Kind::Run.last(client).await;
            // Storage, mongod and its accounts may be starting, too.
            let is_ready = status.is_some() && last_run.is_ok();
            if !is_ready && started.elapsed() < STARTUP_GRACE {
                tokio::select! {
                    () = self.context.stop.cancelled() => return,
                    () = tokio::time::sleep(STARTUP_POLL_INTERVAL) => continue,
                }
            }
            let last_run = last_run.ok().flatten();
            let past = RunHistory {
                last_made: last_made(status, last_run.as_ref()),
                failed: failed.with(last_run.as_ref()),
            };
            let due = self.context.settings.schedule.next(past, now);
            self.next.send_replace(due);
            // After a failure, its retry is the attempt.
            let is_wanted = past.failed.is_none() && self.base_is_wanted();
            if is_wanted || due.is_some_and(|due| due <= now) {
                self.backup(&mut failed).await;
            } else if let Some(id) =
                status.and_then(|status| self.proof_is_due(status, last_proof.as_ref(), now))
            {
                if let Some(job) = self.work(Kind::Prove).await {
                    last_proof = Some(ProofAttempt {
                        id,
                        at: self.context.clock.now(),
                        is_done: job.state == JobState::Done,
                    });
                }
            } else if let Some(status) = status {
                let last_drill = attempts::Kind::Drill.last(client).await.ok().flatten();
                let failures = drills_failed.with(last_drill.as_ref());
                if self.drill_is_due(status, failures, now)
                    && let Some(job) = self.work(Kind::Drill).await
                {
                    // A moment is drilled again at the next time: what was wrong with it does not pass.
                    let is_restored = job.drill_outcome.is_some_and(|drilled| drilled.good);
                    drills_failed.count(!is_restored, self.context.clock.now());
                }
            }
            tokio::select! {
                () = self.context.stop.cancelled() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = self.base_wanted() => {}
                // An operator started a job, which may change the time of the next one.
                _ = ends.changed() => self.refresh_status().await,
            }
        }
    }

    /// `true` if continuous backup needs a backup to begin at.
    fn base_is_wanted(&self) -> bool {
        let continuous = self.continuous.as_ref();
        continuous.is_some_and(|continuous| continuous.base_wanted.is_asked())
    }

    async fn base_wanted(&self) {
        match &self.continuous {
            Some(continuous) => continuous.base_wanted.wait().await,
            None => std::future::pending().await,
        }
    }

    async fn backup(&self, failed: &mut Failures) {
        info!("a backup is due");
        // What is asked for from now on is another one.
        let wanted = self
            .continuous
            .as_ref()
            .filter(|continuous| continuous.base_wanted.take());
        let Some(Job { state, .. }) = self.work(Kind::Run).await else {
            if let Some(continuous) = wanted {
                continuous.base_wanted.put_back();
            }
            return;
        };
        failed.count(state == JobState::Failed, self.context.clock.now());
        if state == JobState::Done {
            self.work(Kind::Prune).await;
            self.work(Kind::Verify).await;
        }
        self.refresh_status().await;
    }

    /// Id of the newest good backup, if it is to be proven and another one is before it.
    fn proof_is_due(
        &self,
        status: &BackupStatus,
        last: Option<&ProofAttempt>,
        now: Timestamp,
    ) -> Option<String> {
        let mut good = status.backups.iter().filter(|backup| backup.good);
        let (newest, before) = (good.next()?, good.next());
        let chain = self.continuous.as_ref()?.spool.current();
        let stored = chain.and_then(|chain| chain.stored.into_values().max());
        let is_due = before.is_some()
            && self.jobs.running().is_none()
            && proofs::is_due(&newest.into(), stored, last, now);
        is_due.then(|| newest.id.clone())
    }

    /// Ends a chain that is not what it should be, so that another begins.
    fn end_unproven(&self, status: &BackupStatus) {
        if let (Some(continuous), Some(ProofOutcome { id, proof, .. })) =
            (&self.continuous, &status.last_proof)
            && proof.result == ProofResult::Different
            && continuous
                .spool
                .current()
                .is_some_and(|chain| chain.id == proof.chain)
            && let Err(error) = continuous
                .spool
                .end(&format!("it is not proven up to the backup {id}"))
        {
            warn!("the chain of continuous backup could not be ended: {error}");
        }
    }

    fn drill_is_due(
        &self,
        status: &BackupStatus,
        failed: Option<(usize, Timestamp)>,
        now: Timestamp,
    ) -> bool {
        let settings = &self.context.settings;
        let (Some(schedule), Some(newest)) = (&settings.drill_schedule, &status.last_good) else {
            return false;
        };
        // The private key is elsewhere.
        if settings.encoding.recipient.is_some() && settings.identity.is_none() {
            return false;
        }
        if let Some((failures, ended)) = failed {
            return schedule
                .retry(failures, ended)
                .is_some_and(|retry| retry <= now);
        }
        let last = status.last_drill.as_ref().map(|drill| drill.at);
        // The first backup is drilled at once: nobody knows yet whether drills work here.
        let due = match (last, schedule.before(now)) {
            (None, _) => true,
            (Some(last), Some(due)) => last < due,
            (Some(_), None) => false,
        };
        due && newest.as_of <= now && self.jobs.running().is_none()
    }

    /// Runs a job and waits for its end; `None` if another job is running.
    async fn work(&self, kind: Kind) -> Option<Job> {
        let job = self.jobs.start(kind, SCHEDULE)?;
        self.jobs.idle().await;
        self.refresh_status().await;
        self.jobs.get(&job.id)
    }

    /// Requests a new measurement of the status, and waits for it for at most [`POLL_INTERVAL`].
    async fn refresh_status(&self) {
        let attempts = self.status.attempts();
        self.status.invalidate();
        let newer = async {
            while self.status.attempts() == attempts {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = newer => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = self.context.stop.cancelled() => {}
        }
    }
}

/// Start of the newest backup, good or held: by the buckets, and by the last attempt if storage does not answer.
fn last_made(status: Option<&BackupStatus>, last: Option<&LastAttempt>) -> Option<Timestamp> {
    let stored = status.and_then(|status| status.last_made);
    let recorded = last
        .filter(|attempt| matches!(attempt.outcome.as_str(), "good" | "held"))
        .map(|attempt| attempt.at);
    match status {
        Some(_) => stored,
        None => recorded,
    }
}
