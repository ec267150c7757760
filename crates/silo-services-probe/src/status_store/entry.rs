//! State of one service: its last check, and transitions of its status.

use jiff::Timestamp;
use silo_core::units::whole_millis;

use crate::changes::Change;
use crate::check::Check;
use crate::failure::Failure;
use crate::gateway::fetch::Timings;
use crate::history::Tally;
use crate::history::{History, minute_of};
use crate::kinds::Facts;
use crate::probe::Probe;
use crate::services::{PastFailure, Reason, ServiceView, TimingsMs, Uptimes};
use crate::status::Status;
use crate::warning::Warning;
use silo_core::units::now;

/// Most recent failures kept per service.
const FAILURES: usize = 5;
/// A service whose last check before a restart is no older than this, or two intervals, still stands as it did then.
const REMEMBERED_MINUTES: u32 = 15;

/// State of one service.
pub(super) struct Entry {
    pub(super) probe: Probe,
    pub(super) view: ServiceView,
    /// Last status of the previous process, until the first check of this one.
    before: Option<(Status, Timestamp)>,
    /// Failures in a row.
    pub(super) failures: u32,
    pub(super) facts: Option<(Facts, Timestamp)>,
}

impl Entry {
    pub(super) fn new(probe: &Probe, history: &History) -> Self {
        let series = history.series(&probe.name);
        let minute = minute_of(now());
        let lately = series.and_then(|series| series.last_minute());
        let remembered = REMEMBERED_MINUTES.max(2 * apart(probe));
        let lately = lately.is_some_and(|last| minute.saturating_sub(last) <= remembered);
        let last = history
            .changes()
            .rev()
            .find(|change| change.name == probe.name);
        let before = last.filter(|_| lately).map(|last| (last.to, last.at));
        let failures = history
            .changes()
            .rev()
            .filter(|change| change.name == probe.name);
        let failures = failures.filter(|change| change.to == Status::Down);
        let failures = failures.map(|change| PastFailure {
            at: change.at,
            code: change.code.clone().unwrap_or_default(),
            detail: change.detail.clone().unwrap_or_default(),
        });
        let view = ServiceView {
            name: probe.name.clone(),
            kind: probe.kind,
            target: probe.target(),
            status: Status::Unknown,
            since: None,
            reasons: Vec::new(),
            response_ms: None,
            steps: TimingsMs::default(),
            checked_at: None,
            interval_seconds: probe.interval.as_secs(),
            certificate_days: None,
            uptime: uptimes(history, probe, now()),
            last_failures: failures.take(FAILURES).collect(),
        };
        Self {
            probe: probe.clone(),
            view,
            before,
            failures: 0,
            facts: None,
        }
    }

    /// Status that the next check is compared with: until the first check, that of the previous process if it is recent; then the current one.
    pub(super) fn effective_status(&self) -> Status {
        self.before.map_or(self.view.status, |(status, _)| status)
    }

    /// Status after a check.
    pub(super) fn status_after(&mut self, check: &Check) -> Status {
        self.failures = match check.outcome {
            Ok(_) => 0,
            Err(_) => self.failures.saturating_add(1),
        };
        let (before, to_down) = (self.effective_status(), self.probe.failures_to_down);
        before.after(&check.outcome, self.failures, to_down)
    }

    /// Records a check's result, except for the status.
    pub(super) fn take(&mut self, check: &Check, now: Timestamp) {
        self.view.checked_at = Some(now);
        self.view.response_ms = Some(whole_millis(check.elapsed));
        self.view.steps = steps(check.steps);
        self.view.certificate_days = check.certificate_days;
        match &check.outcome {
            Ok(well) => {
                let reason = |warning: &Warning| Reason {
                    code: warning.code.to_owned(),
                    detail: warning.detail.clone(),
                };
                self.view.reasons = well.warnings.iter().map(reason).collect();
                self.facts = well.facts.clone().map(|facts| (facts, now));
            }
            Err(failure) => {
                let Reason { code, detail } = reason_of(failure);
                self.view.reasons = vec![reason_of(failure)];
                let failure = PastFailure {
                    at: now,
                    code,
                    detail,
                };
                self.view.last_failures.insert(0, failure);
                self.view.last_failures.truncate(FAILURES);
            }
        }
    }

    /// Sets the status, and returns the change if there is one.
    pub(super) fn turn(&mut self, status: Status, now: Timestamp) -> Option<Change> {
        let from = self.effective_status();
        let known_since = self.before.take().map(|(_, since)| since);
        self.view.status = status;
        if from == status {
            self.view.since = self.view.since.or(known_since).or(Some(now));
            return None;
        }
        self.view.since = Some(now);
        let reason = self.view.reasons.first().filter(|_| status != Status::Up);
        Some(Change {
            id: 0,
            at: now,
            name: self.probe.name.clone(),
            from,
            to: status,
            code: reason.map(|reason| reason.code.clone()),
            detail: reason.map(|reason| reason.detail.clone()),
        })
    }
}

pub(super) fn tally(check: &Check, status: Status) -> Tally {
    let once = Tally {
        answered_ms: u32::try_from(whole_millis(check.elapsed)).unwrap_or(u32::MAX),
        ..Tally::default()
    };
    match (&check.outcome, status) {
        (Ok(well), _) if well.warnings.is_empty() => Tally { up: 1, ..once },
        (Ok(_), _) => Tally {
            degraded: 1,
            ..once
        },
        (Err(_), Status::Down) => Tally {
            down: 1,
            ..Tally::default()
        },
        (Err(_), _) => Tally {
            failed: 1,
            ..Tally::default()
        },
    }
}

fn reason_of(failure: &Failure) -> Reason {
    Reason {
        code: failure.code().into(),
        detail: failure.to_string(),
    }
}

fn steps(steps: Timings) -> TimingsMs {
    TimingsMs {
        resolve: steps.resolve.map(whole_millis),
        connect: steps.connect.map(whole_millis),
        tls: steps.tls.map(whole_millis),
        answer: steps.answer.map(whole_millis),
        body: steps.body.map(whole_millis),
    }
}

/// Uptime as of now.
pub(super) fn uptimes(history: &History, probe: &Probe, now: Timestamp) -> Uptimes {
    let minute = minute_of(now);
    let series = history.series(&probe.name);
    series.map_or_else(Uptimes::default, |series| Uptimes {
        last_24h: series.uptime(24, minute, apart(probe)),
        last_30d: series.uptime(30 * 24, minute, apart(probe)),
    })
}

/// Interval between checks in minutes, at least one.
fn apart(probe: &Probe) -> u32 {
    u32::try_from(probe.interval.as_secs().div_ceil(60)).unwrap_or(60)
}
