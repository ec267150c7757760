//! Runs one job at a time, started by an operator or the schedule, with progress, and keeps the last few for display.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use utoipa::ToSchema;

use crate::audit::{self, AuditEntry};
use crate::context::Context;
use crate::continuous::proof;
use crate::error::Error;
use crate::retention::prune;
use crate::run;
use crate::run::outcome::{Failure, RunOutcome};
use crate::verification::drill::{self, Choice, DrillOutcome};
use crate::verification::recheck;
use silo_cli::progress::{Progress, Reporter};

/// Name of the scheduler as the one who starts a job.
pub const SCHEDULE: &str = "schedule";
/// Number of finished jobs kept.
const MAX_FINISHED_JOBS: usize = 20;

/// Action of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A backup.
    Run,
    /// A drill of the newest good backup.
    Drill,
    /// Deletion of expired backups.
    Prune,
    /// Verification of a share of all backups.
    Verify,
    /// Proof of continuous backup.
    Prove,
}

/// One piece of work.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Id of the job.
    pub id: String,
    /// Action of the job.
    pub kind: Kind,
    /// Name of the operator who started it, or `schedule`.
    pub asked_by: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// State of the job.
    pub state: JobState,
    /// Progress.
    pub progress: Progress,
    /// Result of a backup.
    pub run_outcome: Option<RunOutcome>,
    /// Result of a drill.
    pub drill_outcome: Option<DrillOutcome>,
    /// Error of a failed job.
    pub error: Option<Failure>,
}

/// State of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Under way.
    Running,
    /// Ended well.
    Done,
    /// A backup was made that does not count.
    Held,
    /// The job returned an error, or a drill did not restore the backup identically, or not the moment (see `drillOutcome`).
    Failed,
}

/// Runs one job at a time and remembers the last ones. Clones share its state.
#[derive(Clone)]
pub struct JobRunner {
    context: Context,
    known: Arc<Mutex<VecDeque<JobRecord>>>,
    ended: watch::Sender<u64>,
    accepted: mpsc::UnboundedSender<(String, Kind, Reporter)>,
}

/// Jobs that were accepted and have not begun.
pub type AcceptedJobs = mpsc::UnboundedReceiver<(String, Kind, Reporter)>;

struct JobRecord {
    job: Job,
    report: Reporter,
}

impl JobRunner {
    /// A runner without jobs, and the receiver for [`JobRunner::keep_working`].
    #[must_use]
    pub fn new(context: Context) -> (Self, AcceptedJobs) {
        let (accepted, taken) = mpsc::unbounded_channel();
        (
            Self {
                context,
                known: Arc::default(),
                ended: watch::Sender::new(0),
                accepted,
            },
            taken,
        )
    }

    /// Starts a job. `None` if one is running already: jobs do not wait.
    pub fn start(&self, kind: Kind, asked_by: &str) -> Option<Job> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known
            .iter()
            .any(|known| known.job.state == JobState::Running)
        {
            return None;
        }
        let report = Reporter::default();
        let job = Job {
            id: format!("{:08x}", rand::random::<u32>()),
            kind,
            asked_by: asked_by.to_owned(),
            started_at: now(),
            ended_at: None,
            state: JobState::Running,
            progress: report.now(),
            run_outcome: None,
            drill_outcome: None,
            error: None,
        };
        known.push_back(JobRecord {
            job: job.clone(),
            report: report.clone(),
        });
        while known.len() > MAX_FINISHED_JOBS {
            known.pop_front();
        }
        // The receiver lives as long as the process, see [`JobRunner::keep_working`].
        drop(self.accepted.send((job.id.clone(), kind, report)));
        Some(job)
    }

    /// Runs queued jobs one after the other until the process ends. Runs on a thread of its own, because the server's thread ends first.
    pub async fn keep_working(self, mut accepted: AcceptedJobs) {
        while let Some((id, kind, report)) = accepted.recv().await {
            let outcome = self.work(kind, &report).await;
            let failed = match &outcome {
                Ok((_, Some(drilled))) => drilled.verdict().err(),
                Ok(_) => None,
                Err(error) => Some(error.clone()),
            };
            self.record(&id, kind, failed.as_ref()).await;
            self.end(&id, outcome);
        }
    }

    /// Records a job that an operator started.
    async fn record(&self, id: &str, kind: Kind, error: Option<&Error>) {
        let Some(job) = self.get(id).filter(|job| job.asked_by != SCHEDULE) else {
            return;
        };
        let entry = AuditEntry {
            at: self.context.clock.now(),
            operator: job.asked_by,
            command: format!("{kind:?}").to_lowercase(),
            result: error.map_or_else(|| "ok".to_owned(), ToString::to_string),
        };
        audit::record(&self.context.status_client, &entry).await;
    }

    /// A job by its id, as it is now.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Job> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .find(|known| known.job.id == id)
            .map(JobRecord::now)
    }

    /// The one that runs.
    #[must_use]
    pub fn running(&self) -> Option<Job> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .find(|known| known.job.state == JobState::Running)
            .map(JobRecord::now)
    }

    /// Progress of a job, as it changes.
    #[must_use]
    pub fn watch(&self, id: &str) -> Option<watch::Receiver<Progress>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .find(|known| known.job.id == id)
            .map(|known| known.report.watch())
    }

    /// Notifies the receiver whenever a job ends.
    #[must_use]
    pub fn ends(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Waits until none runs.
    pub async fn idle(&self) {
        let mut ends = self.ends();
        while self.running().is_some() {
            if ends.changed().await.is_err() {
                return;
            }
        }
    }

    async fn work(
        &self,
        kind: Kind,
        report: &Reporter,
    ) -> Result<(Option<RunOutcome>, Option<DrillOutcome>), Error> {
        match kind {
            Kind::Run => run::run(&self.context, report)
                .await
                .map(|run_outcome| (Some(run_outcome), None)),
            Kind::Drill => drill::run(&self.context, &Choice::Scheduled, report)
                .await
                .map(|drill_outcome| (None, Some(drill_outcome))),
            Kind::Prune => prune::run(&self.context, false, report)
                .await
                .map(|_| (None, None)),
            Kind::Prove => proof::run(&self.context, report)
                .await
                .map(|_| (None, None)),
            Kind::Verify => recheck::run(&self.context, report)
                .await
                .map(|_| (None, None)),
        }
    }

    fn end(&self, id: &str, outcome: Result<(Option<RunOutcome>, Option<DrillOutcome>), Error>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.iter_mut().find(|known| known.job.id == id) {
            let job = &mut known.job;
            job.ended_at = Some(now());
            match outcome {
                Ok((run_outcome, drill_outcome)) => {
                    let held = run_outcome
                        .as_ref()
                        .is_some_and(|run_outcome| !run_outcome.good);
                    let broken = drill_outcome
                        .as_ref()
                        .is_some_and(|drill_outcome| drill_outcome.verdict().is_err());
                    job.state = if held {
                        JobState::Held
                    } else if broken {
                        JobState::Failed
                    } else {
                        JobState::Done
                    };
                    (job.run_outcome, job.drill_outcome) = (run_outcome, drill_outcome);
                }
                Err(error) => {
                    job.state = JobState::Failed;
                    job.error = Some((&error).into());
                }
            }
            // Sent so that watchers read the job's final state.
            known.report.begin("ended", None, "documents");
        }
        drop(known);
        self.ended.send_modify(|ended| *ended += 1);
    }
}

impl JobRecord {
    fn now(&self) -> Job {
        Job {
            progress: self.report.now(),
            ..self.job.clone()
        }
    }
}

/// Current time in whole milliseconds.
fn now() -> Timestamp {
    Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap_or_default()
}
