//! Scheduled jobs: backups, then pruning, then drills; and an alarm when backups are overdue or missing.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use log::info;
use silo_web::snapshot::Snapshot;
use tokio::sync::watch;

use crate::alerts::Event;
use crate::context::Context;
use crate::schedule::RunHistory;
use crate::schedule::job_runner::{JobRunner, JobState, Kind};
use crate::status::BackupStatus;

/// Interval of checks for due jobs, and so the delay after which a corrected clock is noticed.
const POLL_INTERVAL: Duration = Duration::from_secs(20);
/// Interval between repetitions of a persisting alarm.
const REPEAT_INTERVAL: SignedDuration = SignedDuration::from_hours(12);

/// Number of failures in a row, and the end of the last one.
type Failures = (usize, Timestamp);

fn count_failure(failed: Option<Failures>) -> Option<Failures> {
    Some((
        failed.map_or(0, |(failures, _)| failures) + 1,
        Timestamp::now(),
    ))
}

/// The scheduler of one service.
pub struct Scheduler {
    /// Shared state.
    pub context: Context,
    /// Runs the jobs.
    pub jobs: JobRunner,
    /// Status of backups.
    pub status: Arc<Snapshot<BackupStatus>>,
    /// Time of the next backup.
    pub next: watch::Sender<Option<Timestamp>>,
}

impl Scheduler {
    /// Runs until the process is to end.
    pub async fn run(self) {
        let mut failed: Option<Failures> = None;
        let mut drills_failed: Option<Failures> = None;
        if self.context.settings.drill_every.is_none() {
            info!("no drills are scheduled");
        }
        let mut alerted_at: Option<Timestamp> = None;
        let mut ends = self.jobs.ends();
        loop {
            let status = self.status.wait_for_first().await.ok();
            let now = Timestamp::now();
            if let Some(status) = &status {
                alerted_at = self.alarm(&status.value, alerted_at, now).await;
                let past = RunHistory {
                    last_made: status.value.last_made,
                    failed,
                };
                let due = self.context.settings.schedule.next(past, now);
                self.next.send_replace(due);
                if due.is_some_and(|due| due <= now) {
                    failed = self.backup(failed).await;
                } else if self.drill_is_due(&status.value, drills_failed, now) {
                    drills_failed = self.drill(drills_failed).await;
                }
            }
            tokio::select! {
                () = self.context.stop.cancelled() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                // An operator started a backup, which may change the time of the next one.
                _ = ends.changed() => self.refresh_status().await,
            }
        }
    }

    async fn backup(&self, failed: Option<Failures>) -> Option<Failures> {
        info!("the schedule asks for a backup");
        match self.work(Kind::Run).await {
            None => failed,
            Some(JobState::Failed) => count_failure(failed),
            Some(state) => {
                if state == JobState::Done {
                    self.work(Kind::Prune).await;
                }
                self.refresh_status().await;
                None
            }
        }
    }

    /// Runs a drill and returns the failures in a row; after a failed job, the next attempt waits for the retry delay.
    async fn drill(&self, failed: Option<Failures>) -> Option<Failures> {
        match self.work(Kind::Drill).await {
            None => failed,
            Some(JobState::Failed) => count_failure(failed),
            Some(_) => None,
        }
    }

    fn drill_is_due(
        &self,
        status: &BackupStatus,
        failed: Option<Failures>,
        now: Timestamp,
    ) -> bool {
        let Some(every) = self.context.settings.drill_every else {
            return false;
        };
        let Some(newest) = &status.last_good else {
            return false;
        };
        let schedule = &self.context.settings.schedule;
        let retry = failed.and_then(|(failures, ended)| schedule.retry(failures, ended));
        if retry.is_some_and(|retry| now < retry) {
            return false;
        }
        let encrypted = self.context.settings.encoding.recipient.is_some()
            && self.context.settings.identity.is_none();
        let last = status.last_drill.as_ref();
        // After a drill with a bad result, the next one is made before the interval has passed only if there is a newer good backup.
        let due = last.is_none_or(|last| {
            now.duration_since(last.at) >= every || (!last.good && last.id != newest.id)
        });
        due && !encrypted && newest.as_of <= now && self.jobs.running().is_none()
    }

    /// Runs a job and waits for its end; `None` if another job is running.
    async fn work(&self, kind: Kind) -> Option<JobState> {
        let job = self.jobs.start(kind, "schedule")?;
        self.jobs.idle().await;
        self.refresh_status().await;
        Some(self.jobs.get(&job.id)?.state)
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

    /// Sends an alarm when the newest backup is too old or one has vanished, and repeats it while that persists.
    async fn alarm(
        &self,
        status: &BackupStatus,
        alerted_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        // A database without any backup is no alarm before its first night.
        let never = status.last_good.is_none() && status.last_attempt.is_none();
        let overdue = (status.overdue && !never).then(|| match &status.last_good {
            Some(good) => format!("the newest good backup is of {}", good.as_of),
            None => "there is no good backup".into(),
        });
        let event = match (overdue, status.problems.is_empty()) {
            (Some(why), _) => Event::Alarm("overdue", why),
            (None, false) => Event::Alarm("vanished", status.problems.join("; ")),
            (None, true) => return None,
        };
        if alerted_at.is_some_and(|alerted_at| now.duration_since(alerted_at) < REPEAT_INTERVAL)
            || self.jobs.running().is_some()
        {
            return alerted_at;
        }
        self.context.alerts.send(&event).await;
        Some(now)
    }
}
