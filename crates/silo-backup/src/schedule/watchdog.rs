//! Watchdog: raises an alarm when the newest good backup is too old, when something is wrong with stored backups, when drills do not happen, or when the
//! state of backups is unknown, and repeats those of failed runs and drills. It has its own timer and does not depend on the jobs, nor on the storage.

mod continuous;
mod facts;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use silo_alerts::alarms::Findings;
use silo_web::snapshot::Snapshot;

use crate::context::Context;
use crate::continuous::status::ContinuousStatus;
use crate::run::attempts::LastAttempt;
use crate::status::BackupStatus;

pub use continuous::ContinuousFacts;
use continuous::ContinuousWatch;
pub use facts::{BucketFacts, Facts};

/// Interval between checks.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// Time for which the state of backups may be unknown before an alarm.
const UNKNOWN_FOR: SignedDuration = SignedDuration::from_mins(30);
/// Time within which a backup is proven by continuous backup.
const PROVEN_WITHIN: SignedDuration = SignedDuration::from_hours(6);
/// Codes of the last run.
const RUN_CODES: [&str; 2] = ["backup_failed", "backup_held"];
/// Codes of problems that are known from the buckets.
const BUCKET_CODES: [&str; 5] = [
    "vanished",
    "drill_overdue",
    DRILL_CODES[0],
    DRILL_CODES[1],
    "oplog_unproven",
];
/// Codes of a failed drill, and of a failed drill of a moment.
const DRILL_CODES: [&str; 2] = ["drill_failed", "moment_drill_failed"];

/// The watchdog of one service.
pub struct Watchdog {
    /// Start of the service: a backup cannot be expected before the allowed age has passed since.
    started: Timestamp,
    /// Largest allowed age of the newest good backup.
    oldest: SignedDuration,
    /// Last known time of a good backup.
    known: Option<Timestamp>,
    continuous: ContinuousWatch,
}

impl Watchdog {
    /// A watchdog without a known backup.
    #[must_use]
    pub fn new(started: Timestamp, oldest: SignedDuration) -> Self {
        Self {
            started,
            oldest,
            known: None,
            continuous: ContinuousWatch::default(),
        }
    }

    /// What is wrong now.
    pub fn check(&mut self, facts: &Facts, now: Timestamp) -> Findings {
        let mut findings = Findings::default();
        if facts.unknown_since.is_none() {
            self.known = facts.last_good;
        }
        let last = self.known.or(facts.last_good);
        let since = last.unwrap_or(self.started);
        if now.duration_since(since) > self.oldest {
            let started = self.started;
            let detail = match last {
                Some(last) => format!("the newest good backup is of {last}"),
                None => format!("there is no good backup since the service started at {started}"),
            };
            findings.problem("overdue", detail);
        }
        if let Some(unknown) = facts.unknown_since
            && now.duration_since(unknown) > UNKNOWN_FOR
        {
            let detail = format!(
                "the state of backups is unknown since {unknown}: neither storage nor database can be read"
            );
            findings.problem("status_unknown", detail);
        }
        match &facts.last_run {
            Some(run) => check_run(run, &mut findings),
            None => RUN_CODES.iter().for_each(|code| findings.unknown(*code)),
        }
        if let Some(buckets) = &facts.buckets {
            check_buckets(buckets, &mut findings);
        }
        if let Some(continuous) = &facts.continuous {
            self.continuous.check(continuous, now, &mut findings);
        }
        if let Some(ContinuousFacts::Known(status)) = &facts.continuous
            && let Some([newest, before]) = facts
                .buckets
                .as_ref()
                .and_then(|buckets| buckets.not_proven)
            && status.since.is_some_and(|since| since <= before)
            && now.duration_since(newest) > PROVEN_WITHIN
        {
            let detail = format!(
                "continuous backup is not proven up to the backup of {newest}; `silo-backup prove` names the reason"
            );
            findings.problem("oplog_unproven", detail);
        }
        if facts.incomplete || facts.buckets.is_none() {
            BUCKET_CODES.iter().for_each(|code| findings.unknown(*code));
        }
        findings
    }

    /// Checks every ten seconds until the process is to end.
    pub async fn run(
        mut self,
        context: Context,
        status: Arc<Snapshot<BackupStatus>>,
        continuous: Option<Arc<Snapshot<ContinuousStatus>>>,
    ) {
        let mut unknown_since = None;
        loop {
            let mut facts = Facts::read(&context, &status, &mut unknown_since).await;
            facts.continuous = continuous
                .as_ref()
                .map(|status| ContinuousFacts::of(status));
            let now = context.clock.now();
            context.alerts.update(self.check(&facts, now), now).await;
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }
}

/// A failed run is reported at its end; here it is repeated.
fn check_run(run: &LastAttempt, findings: &mut Findings) {
    let [failed, held] = RUN_CODES;
    let (code, what) = match run.outcome.as_str() {
        "failed" => (failed, "the last backup failed"),
        "held" => (held, "the last backup is held"),
        "good" => return,
        // A run that is under way, was killed or stopped says nothing about the failure before it.
        _ => return RUN_CODES.iter().for_each(|code| findings.unknown(*code)),
    };
    let reason = run
        .error
        .as_ref()
        .map(|error| format!(": {}", error.detail));
    let detail = format!("{what}{}", reason.unwrap_or_default());
    findings.reported(code, detail, Some(run.at));
}

fn check_buckets(buckets: &BucketFacts, findings: &mut Findings) {
    let [vanished, drill_overdue, _, _, unproven] = BUCKET_CODES;
    if !buckets.problems.is_empty() {
        findings.problem(vanished, buckets.problems.join("; "));
    }
    if buckets.drill_overdue {
        let detail = "no drill has succeeded for two of its intervals";
        findings.problem(drill_overdue, detail);
    }
    if let Some((detail, at)) = &buckets.unproven {
        findings.reported(unproven, detail, *at);
    }
    if let Some((code, detail, at)) = &buckets.failed_drill {
        findings.reported(*code, detail, Some(*at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::outcome::Failure;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn watchdog() -> Watchdog {
        Watchdog::new(time("2026-01-10T00:00:00Z"), SignedDuration::from_hours(26))
    }

    fn check(watchdog: &mut Watchdog, facts: &Facts, at: &str) -> Vec<String> {
        let problems = watchdog.check(facts, time(at)).problems.into_iter();
        problems.map(|problem| problem.code).collect()
    }

    #[test]
    fn no_backup_since_the_start_is_an_alarm_after_the_allowed_age() {
        let (mut watchdog, none) = (watchdog(), Facts::default());
        let mut check = |at| check(&mut watchdog, &none, at);
        assert_eq!(check("2026-01-11T01:59:00Z"), Vec::<String>::new());
        assert_eq!(check("2026-01-11T02:01:00Z"), ["overdue"]);
    }

    #[test]
    fn the_age_counts_on_while_nothing_can_be_read() {
        let mut watchdog = watchdog();
        let good = Facts {
            last_good: Some(time("2026-01-10T04:00:00Z")),
            ..Facts::default()
        };
        let none = Vec::<String>::new();
        assert_eq!(check(&mut watchdog, &good, "2026-01-10T05:00:00Z"), none);
        let unknown = Facts {
            unknown_since: Some(time("2026-01-10T06:00:00Z")),
            ..Facts::default()
        };
        let mut check = |at| check(&mut watchdog, &unknown, at);
        assert_eq!(check("2026-01-10T06:31:00Z"), ["status_unknown"]);
        assert_eq!(check("2026-01-11T06:01:00Z"), ["overdue", "status_unknown"]);
    }

    #[test]
    fn a_backup_without_the_proof_that_it_should_have_is_an_alarm() {
        let newest = time("2026-01-10T04:00:00Z");
        let before = time("2026-01-09T04:00:00Z");
        let mut watchdog = watchdog();
        let mut check = |since: Timestamp, at| {
            let facts = Facts {
                last_good: Some(newest),
                buckets: Some(BucketFacts {
                    not_proven: Some([newest, before]),
                    ..BucketFacts::default()
                }),
                continuous: Some(ContinuousFacts::Known(ContinuousStatus {
                    state: "running",
                    since: Some(since),
                    unsafe_seconds: Some(0),
                    ..ContinuousStatus::off()
                })),
                ..Facts::default()
            };
            check(&mut watchdog, &facts, at)
        };
        let none = Vec::<String>::new();
        assert_eq!(check(before, "2026-01-10T09:59:00Z"), none);
        assert_eq!(check(before, "2026-01-10T10:01:00Z"), ["oplog_unproven"]);
        // The chain begins at the newer backup: there is nothing to prove yet.
        assert_eq!(check(newest, "2026-01-10T10:01:00Z"), none);
    }

    #[test]
    fn failures_are_repeated_and_unknown_while_nothing_can_be_read() {
        let at = time("2026-01-10T04:00:00Z");
        let error = Failure {
            code: "full".into(),
            detail: "no room".into(),
        };
        let last_run = LastAttempt {
            at,
            outcome: "failed".into(),
            id: None,
            error: Some(error),
            failures: 1,
        };
        let buckets = BucketFacts {
            problems: vec!["gone".into()],
            drill_overdue: false,
            unproven: None,
            not_proven: None,
            failed_drill: Some(("drill_failed", "not identical".into(), at)),
        };
        let facts = Facts {
            last_run: Some(last_run),
            buckets: Some(buckets),
            ..Facts::default()
        };
        let now = time("2026-01-10T05:00:00Z");
        let found = watchdog().check(&facts, now).problems;
        let found: Vec<_> = found
            .iter()
            .map(|it| (it.code.as_str(), it.detail.as_str(), it.reported))
            .collect();
        let wanted = [
            ("backup_failed", "the last backup failed: no room", Some(at)),
            ("vanished", "gone", None),
            ("drill_failed", "not identical", Some(at)),
        ];
        assert_eq!(found, wanted);
        let under_way = facts.last_run.clone().map(|run| LastAttempt {
            outcome: "unfinished".into(),
            ..run
        });
        let again = Facts {
            last_run: under_way,
            incomplete: true,
            ..facts
        };
        let unknown = watchdog().check(&again, now).unknown;
        assert_eq!(unknown, [&RUN_CODES[..], &BUCKET_CODES].concat());
        let nothing = Facts {
            unknown_since: Some(at),
            ..Facts::default()
        };
        let unknown = watchdog().check(&nothing, now).unknown;
        assert_eq!(unknown, [&RUN_CODES[..], &BUCKET_CODES].concat());
    }
}
