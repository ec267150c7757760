//! Alarms of continuous backup: changes that are stored nowhere, and a destination that does not take them.

use jiff::{SignedDuration, Timestamp};
use silo_alerts::alarms::Findings;
use silo_web::snapshot::{Freshness, Snapshot};

use crate::continuous::status::{ContinuousStatus, LossView, UNSAFE_FOR};

/// Code of changes that are in no destination.
const NOT_STORED: &str = "oplog_unsafe";
/// Code of a destination that does not take them.
const DESTINATION_FAILED: &str = "oplog_destination_failed";
/// Code of an oplog that does not go back long enough.
const SHORT: &str = "oplog_short";
/// Code of a server whose clock was set back.
const CLOCK: &str = "oplog_clock";
/// Code of collections that lost many documents.
const LOSS: &str = "mass_deletion";
/// Seconds that the oplog goes back at least: an outage of storage is noticed and ended in less.
const SHORTEST: u64 = 12 * 3600;
/// Seconds by which the server's clock may be behind positions.
const BEHIND: u64 = 5;
/// Time for which storing may fail, or there may be no chain, before an alarm.
const FAILING_FOR: SignedDuration = SignedDuration::from_mins(5);

/// Time for which another process may do it, as while this one is replaced, before an alarm.
const STANDBY_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Facts about continuous backup.
#[derive(Clone, Debug)]
pub enum ContinuousFacts {
    /// As it was measured.
    Known(ContinuousStatus),
    /// mongod does not answer; with the reason.
    Unknown(String),
}

impl ContinuousFacts {
    /// The last measurement; unknown if it failed.
    pub(super) fn of(status: &Snapshot<ContinuousStatus>) -> Self {
        match status.current() {
            Ok(reading) if reading.state == Freshness::Fresh => {
                Self::Known(reading.value.as_ref().clone())
            }
            Ok(_) => Self::Unknown("mongod does not answer".into()),
            Err(error) => Self::Unknown(error.detail),
        }
    }
}

/// Times since when something is wrong.
#[derive(Default)]
pub(super) struct ContinuousWatch {
    /// There is no chain, or it is not known.
    without_chain: Option<Timestamp>,
    /// Another process does it.
    standby: Option<Timestamp>,
    /// A destination does not take slices.
    failing: Option<Timestamp>,
}

impl ContinuousWatch {
    /// Adds what is wrong now.
    pub(super) fn check(
        &mut self,
        facts: &ContinuousFacts,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        match facts {
            ContinuousFacts::Unknown(reason) => {
                let what = format!("it is not known whether all changes are stored: {reason}");
                self.not_known(&what, now, findings);
                for code in [DESTINATION_FAILED, SHORT, CLOCK, LOSS] {
                    findings.unknown(code);
                }
            }
            ContinuousFacts::Known(status) => {
                self.check_changes(status, now, findings);
                self.check_destinations(status, now, findings);
                check_server(status, findings);
                check_losses(&status.losses, findings);
            }
        }
    }

    fn check_changes(
        &mut self,
        status: &ContinuousStatus,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        let detail = status.detail.iter().map(|detail| format!(": {detail}"));
        let state = format!("{}{}", status.state, detail.collect::<String>());
        match status.unsafe_seconds {
            // Another process does it, and has these alarms. Nobody knows whether it stores anything here.
            None if status.state == "standby" => {
                self.without_chain = None;
                let since = *self.standby.get_or_insert(now);
                if now.duration_since(since) >= STANDBY_FOR {
                    let detail = format!(
                        "since {since} another process does continuous backup instead of this one: end one of them"
                    );
                    findings.problem(NOT_STORED, detail);
                }
                return;
            }
            None => self.not_known(&format!("no changes are stored ({state})"), now, findings),
            Some(seconds) => {
                self.without_chain = None;
                if seconds > UNSAFE_FOR {
                    let detail =
                        format!("changes of the last {seconds} s are in no destination ({state})");
                    findings.problem(NOT_STORED, detail);
                }
            }
        }
        self.standby = None;
    }

    /// A problem after some minutes. Until then an alarm that is open stays open.
    fn not_known(&mut self, what: &str, now: Timestamp, findings: &mut Findings) {
        let since = *self.without_chain.get_or_insert(now);
        if now.duration_since(since) >= FAILING_FOR {
            findings.problem(NOT_STORED, format!("since {since} {what}"));
        } else {
            findings.unknown(NOT_STORED);
        }
    }

    fn check_destinations(
        &mut self,
        status: &ContinuousStatus,
        now: Timestamp,
        findings: &mut Findings,
    ) {
        let mut destinations = status.destinations.iter();
        let failed = destinations.find_map(|at| Some((at.name, at.error.as_ref()?)));
        let Some((name, error)) = failed else {
            self.failing = None;
            return;
        };
        let since = *self.failing.get_or_insert(now);
        if now.duration_since(since) >= FAILING_FOR {
            let detail = format!("since {since} changes are not stored in {name}: {error}");
            findings.problem(DESTINATION_FAILED, detail);
        }
    }
}

/// Mass deletions are reported when they are noticed; here they are repeated.
fn check_losses(losses: &[LossView], findings: &mut Findings) {
    if let Some(last) = losses.last() {
        let details: Vec<&str> = losses.iter().map(|loss| loss.detail.as_str()).collect();
        findings.reported(LOSS, details.join("; "), Some(last.at));
    }
}

/// An oplog that is about to lose what is not stored, and a clock that was set back.
fn check_server(status: &ContinuousStatus, findings: &mut Findings) {
    let reaches = status
        .oplog_seconds
        .filter(|_| status.oplog_is_cut == Some(true));
    if let Some(seconds) = reaches.filter(|seconds| *seconds < SHORTEST) {
        let detail = format!(
            "mongod's oplog goes back {seconds} s only: what was not stored by then is lost"
        );
        findings.problem(SHORT, detail);
    }
    if let Some(seconds) = status
        .clock_behind_seconds
        .filter(|behind| *behind > BEHIND)
    {
        let detail = format!(
            "mongod's clock was set back, and is {seconds} s behind the positions of its changes: `--at` means those, and `silo-backup history` lists them"
        );
        findings.problem(CLOCK, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::continuous::status::StoredView;

    fn status(unsafe_seconds: Option<u64>, error: Option<&str>) -> ContinuousFacts {
        ContinuousFacts::Known(ContinuousStatus {
            state: "running",
            unsafe_seconds,
            destinations: vec![StoredView {
                name: "primary",
                through: None,
                waiting_bytes: 0,
                error: error.map(str::to_owned),
            }],
            ..ContinuousStatus::off()
        })
    }

    /// Codes of problems, and codes that are not known.
    fn check(
        watch: &mut ContinuousWatch,
        facts: &ContinuousFacts,
        at: &str,
    ) -> (Vec<String>, Vec<String>) {
        let mut findings = Findings::default();
        let at = format!("2026-01-10T{at}Z").parse().unwrap();
        watch.check(facts, at, &mut findings);
        let problems = findings.problems.into_iter().map(|problem| problem.code);
        (problems.collect(), findings.unknown)
    }

    fn problem(code: &str) -> (Vec<String>, Vec<String>) {
        (vec![code.to_owned()], Vec::new())
    }

    fn unknown(codes: &[&str]) -> (Vec<String>, Vec<String>) {
        let codes = codes.iter().map(|code| (*code).to_owned());
        (Vec::new(), codes.collect())
    }

    #[test]
    fn changes_that_are_stored_nowhere_are_an_alarm_after_two_minutes() {
        let mut watch = ContinuousWatch::default();
        let mut check = |facts: &ContinuousFacts, at| check(&mut watch, facts, at);
        assert_eq!(check(&status(Some(120), None), "05:00:00"), unknown(&[]));
        assert_eq!(
            check(&status(Some(121), None), "05:00:10"),
            problem(NOT_STORED)
        );
        assert_eq!(check(&status(Some(0), None), "05:00:20"), unknown(&[]));
    }

    #[test]
    fn a_chain_that_is_missing_is_an_alarm_after_five_minutes_and_ends_none_before() {
        let mut watch = ContinuousWatch::default();
        let mut check = |facts: &ContinuousFacts, at| check(&mut watch, facts, at);
        let missing = status(None, None);
        assert_eq!(check(&missing, "05:00:00"), unknown(&[NOT_STORED]));
        assert_eq!(check(&missing, "05:04:59"), unknown(&[NOT_STORED]));
        assert_eq!(check(&missing, "05:05:00"), problem(NOT_STORED));
        assert_eq!(check(&status(Some(0), None), "05:06:00"), unknown(&[]));
        let silent = ContinuousFacts::Unknown("mongod does not answer".into());
        let all = unknown(&[NOT_STORED, DESTINATION_FAILED, SHORT, CLOCK, LOSS]);
        assert_eq!(check(&silent, "05:07:00"), all);
        let (problems, _) = check(&silent, "05:12:00");
        assert_eq!(problems, [NOT_STORED]);
    }

    #[test]
    fn a_destination_that_fails_is_an_alarm_after_five_minutes() {
        let mut watch = ContinuousWatch::default();
        let mut check = |facts: &ContinuousFacts, at| check(&mut watch, facts, at);
        let failing = status(Some(20), Some("no such bucket"));
        assert_eq!(check(&failing, "05:06:00"), unknown(&[]));
        assert_eq!(check(&failing, "05:11:00"), problem(DESTINATION_FAILED));
        // It begins anew after a success.
        assert_eq!(check(&status(Some(0), None), "05:12:00"), unknown(&[]));
        assert_eq!(check(&failing, "05:13:00"), unknown(&[]));
    }

    #[test]
    fn an_oplog_that_is_cut_off_within_half_a_day_and_a_clock_that_was_set_back_are_alarms() {
        let mut watch = ContinuousWatch::default();
        let mut check = |seconds, is_cut, behind| {
            let ContinuousFacts::Known(status) = status(Some(0), None) else {
                panic!("it is known");
            };
            let facts = ContinuousFacts::Known(ContinuousStatus {
                oplog_seconds: Some(seconds),
                oplog_is_cut: Some(is_cut),
                clock_behind_seconds: Some(behind),
                ..status
            });
            check(&mut watch, &facts, "05:00:00")
        };
        assert_eq!(check(SHORTEST, true, BEHIND), unknown(&[]));
        assert_eq!(check(SHORTEST - 1, true, 0), problem(SHORT));
        // A new server.
        assert_eq!(check(60, false, 0), unknown(&[]));
        assert_eq!(check(SHORTEST, false, BEHIND + 1), problem(CLOCK));
    }

    #[test]
    fn on_standby_another_process_has_the_alarms() {
        let mut watch = ContinuousWatch::default();
        let ContinuousFacts::Known(running) = status(None, None) else {
            panic!("it is known");
        };
        let standby = ContinuousFacts::Known(ContinuousStatus {
            state: "standby",
            ..running
        });
        for at in ["05:00:00", "05:30:00"] {
            assert_eq!(check(&mut watch, &standby, at), unknown(&[]));
        }
        assert_eq!(check(&mut watch, &standby, "06:00:00"), problem(NOT_STORED));
    }
}
