//! Alarms that are open: each is sent when it begins, repeated until somebody acknowledges it, and its end is sent once.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use log::{error, info};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::delivery::Message;

/// Pause after a message that could not be delivered.
const RETRY: SignedDuration = SignedDuration::from_mins(1);
/// The end of an alarm is of no interest after this time, if it could not be delivered.
const END_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A stable code, such as `service_down.oven`.
    pub code: String,
    /// One sentence.
    pub detail: String,
    /// When it was reported otherwise, as a failed run is at its end.
    pub reported: Option<Timestamp>,
}

/// What is wrong now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Problems.
    pub problems: Vec<Problem>,
    /// Codes of problems that may be there or not: nothing is known of their subject now.
    pub unknown: Vec<String>,
}

impl Findings {
    /// Adds a problem.
    pub fn problem(&mut self, code: impl Into<String>, detail: impl Into<String>) {
        self.reported(code, detail, None);
    }

    /// Adds a problem that was reported otherwise.
    pub fn reported(
        &mut self,
        code: impl Into<String>,
        detail: impl Into<String>,
        reported: Option<Timestamp>,
    ) {
        self.problems.push(Problem {
            code: code.into(),
            detail: detail.into(),
            reported,
        });
    }

    /// Adds a code of which nothing is known.
    pub fn unknown(&mut self, code: impl Into<String>) {
        self.unknown.push(code.into());
    }
}

/// An open alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    /// A stable code, such as `service_down.oven`.
    pub code: String,
    /// One sentence.
    pub detail: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it was last sent; `null` if it was not delivered yet, or there is no receiver.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent: Option<Timestamp>,
    /// Who knows of it; it is not repeated then. `null` if nobody.
    pub acknowledged: Option<Acknowledgement>,
    /// When it ended, while that is not delivered yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Timestamp>,
}

impl Alarm {
    /// The message that a service sends about it.
    #[must_use]
    pub fn message(&self, source: &'static str) -> Message {
        let Self {
            code,
            detail,
            since,
            ..
        } = self;
        let recovered = self.ended.is_some();
        let no_longer = if recovered { "no longer: " } else { "" };
        Message {
            source,
            code: code.clone(),
            detail: format!("{no_longer}{detail} (since {since})"),
            recovered,
        }
    }
}

/// Acknowledgement of an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledgement {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The operator.
    pub by: String,
}

/// The open alarms.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    open: BTreeMap<String, Alarm>,
    /// When each was last tried to be sent.
    tried: BTreeMap<String, Timestamp>,
}

impl Alarms {
    /// Alarms of an earlier process.
    #[must_use]
    pub fn restored(alarms: impl IntoIterator<Item = Alarm>) -> Self {
        let open = alarms.into_iter();
        Self {
            open: open.map(|alarm| (alarm.code.clone(), alarm)).collect(),
            tried: BTreeMap::new(),
        }
    }

    /// All open alarms, by code.
    pub fn open(&self) -> impl Iterator<Item = &Alarm> {
        self.open.values()
    }

    /// Takes over what is wrong now: problems that were not there before begin, others end. Of what is unknown, alarms stay as they are.
    pub fn update(&mut self, findings: Findings, now: Timestamp) {
        let Findings { problems, unknown } = findings;
        for alarm in self.open.values_mut() {
            if unknown.contains(&alarm.code) {
                continue;
            }
            let still = problems.iter().any(|problem| problem.code == alarm.code);
            if !still && alarm.ended.is_none() {
                info!(code = alarm.code.as_str(); "alarm ended: {}", alarm.detail);
            }
            alarm.ended = (!still).then(|| alarm.ended.unwrap_or(now));
        }
        // The end of an alarm that nobody was told of, or is told too late, is of no interest.
        self.open.retain(|_, alarm| {
            let Some(ended) = alarm.ended else {
                return true;
            };
            alarm.sent.is_some() && now.duration_since(ended) < END_KEPT
        });
        for problem in problems {
            let Problem {
                code,
                detail,
                reported,
            } = problem;
            match self.open.get_mut(&code) {
                Some(alarm) => {
                    alarm.detail = detail;
                    alarm.sent = alarm.sent.max(reported);
                }
                None => {
                    error!(code = code.as_str(); "alarm: {detail}");
                    let alarm = Alarm {
                        code: code.clone(),
                        detail,
                        since: reported.unwrap_or(now),
                        sent: reported,
                        acknowledged: None,
                        ended: None,
                    };
                    self.open.insert(code, alarm);
                }
            }
        }
        let open = &self.open;
        self.tried.retain(|code, _| open.contains_key(code));
    }

    /// Alarms to send now: new ones, ended ones, and those that were not acknowledged within `repeat`.
    #[must_use]
    pub fn due(&self, now: Timestamp, repeat: SignedDuration) -> Vec<Alarm> {
        let is_due = |alarm: &&Alarm| {
            let tried = self.tried.get(&alarm.code);
            if tried.is_some_and(|tried| now.duration_since(*tried) < RETRY) {
                return false;
            }
            alarm.ended.is_some()
                || match alarm.sent {
                    None => true,
                    Some(sent) => {
                        alarm.acknowledged.is_none() && now.duration_since(sent) >= repeat
                    }
                }
        };
        self.open.values().filter(is_due).cloned().collect()
    }

    /// Records whether an alarm, or its end, was delivered. An end that was is forgotten.
    pub fn record(&mut self, code: &str, delivered: bool, now: Timestamp) {
        self.tried.insert(code.to_owned(), now);
        let Some(alarm) = self.open.get_mut(code) else {
            return;
        };
        if !delivered {
            return;
        }
        if alarm.ended.is_some() {
            self.open.remove(code);
        } else {
            alarm.sent = Some(now);
        }
    }

    /// Acknowledges an alarm; `None` if there is no such alarm.
    pub fn acknowledge(&mut self, code: &str, by: &str, now: Timestamp) -> Option<&Alarm> {
        let alarm = self
            .open
            .get_mut(code)
            .filter(|alarm| alarm.ended.is_none())?;
        alarm.acknowledged = Some(Acknowledgement {
            at: now,
            by: by.to_owned(),
        });
        Some(alarm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPEAT: SignedDuration = SignedDuration::from_hours(6);

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn down() -> Findings {
        let mut down = Findings::default();
        down.problem("service_down.oven", "oven is down");
        down
    }

    fn well() -> Findings {
        Findings::default()
    }

    /// Sends what is due, and returns how many alarms and ends that were.
    fn send(alarms: &mut Alarms, minute: i64, delivered: bool) -> (usize, usize) {
        let due = alarms.due(at(minute), REPEAT);
        for alarm in &due {
            alarms.record(&alarm.code, delivered, at(minute));
        }
        let ended = due.iter().filter(|alarm| alarm.ended.is_some()).count();
        (due.len() - ended, ended)
    }

    #[test]
    fn an_alarm_is_sent_once_repeated_and_its_end_is_sent() {
        let mut alarms = Alarms::default();
        alarms.update(down(), at(0));
        assert_eq!(send(&mut alarms, 0, true), (1, 0));
        for minute in 1..360 {
            alarms.update(down(), at(minute));
            assert_eq!(send(&mut alarms, minute, true), (0, 0), "{minute}");
        }
        alarms.update(down(), at(360));
        assert_eq!(send(&mut alarms, 360, true), (1, 0), "repeated");
        alarms.update(well(), at(370));
        assert_eq!(send(&mut alarms, 370, true), (0, 1));
        alarms.update(well(), at(371));
        assert_eq!(send(&mut alarms, 371, true), (0, 0));
        assert_eq!(alarms.open().count(), 0);
    }

    #[test]
    fn an_acknowledged_alarm_is_not_repeated_until_it_begins_again() {
        let mut alarms = Alarms::default();
        alarms.update(down(), at(0));
        send(&mut alarms, 0, true);
        assert!(alarms.acknowledge("other", "jane", at(1)).is_none());
        let by = alarms.acknowledge("service_down.oven", "jane", at(1));
        assert_eq!(by.unwrap().acknowledged.as_ref().unwrap().by, "jane");
        alarms.update(down(), at(1000));
        assert_eq!(send(&mut alarms, 1000, true), (0, 0));
        alarms.update(well(), at(1001));
        assert_eq!(send(&mut alarms, 1001, true), (0, 1));
        alarms.update(down(), at(1002));
        assert_eq!(send(&mut alarms, 1003, true), (1, 0));
    }

    #[test]
    fn what_was_not_delivered_is_tried_again_each_minute() {
        let mut alarms = Alarms::default();
        alarms.update(down(), at(0));
        assert_eq!(send(&mut alarms, 0, false), (1, 0));
        assert_eq!(send(&mut alarms, 0, false), (0, 0));
        assert_eq!(send(&mut alarms, 1, true), (1, 0));
        alarms.update(well(), at(2));
        assert_eq!(send(&mut alarms, 2, false), (0, 1));
        assert_eq!(send(&mut alarms, 3, true), (0, 1));
        // Nobody was told that it began, so nobody is told that it ended.
        alarms.update(down(), at(4));
        alarms.update(well(), at(5));
        assert_eq!(send(&mut alarms, 5, true), (0, 0));
    }

    #[test]
    fn what_is_unknown_neither_ends_nor_begins() {
        let mut unknown = Findings::default();
        unknown.unknown("service_down.oven");
        let mut alarms = Alarms::default();
        alarms.update(unknown.clone(), at(0));
        assert_eq!(alarms.open().count(), 0);
        alarms.update(down(), at(1));
        send(&mut alarms, 1, true);
        // As after a restart, before the first check.
        alarms.update(unknown, at(2));
        assert_eq!(send(&mut alarms, 2, true), (0, 0));
        assert_eq!(alarms.open().count(), 1);
        alarms.update(well(), at(3));
        assert_eq!(send(&mut alarms, 4, true), (0, 1));
    }

    #[test]
    fn alarms_of_an_earlier_process_are_not_sent_again() {
        let mut alarms = Alarms::default();
        alarms.update(down(), at(0));
        send(&mut alarms, 0, true);
        let mut restored = Alarms::restored(alarms.open().cloned());
        restored.update(down(), at(10));
        assert_eq!(send(&mut restored, 10, true), (0, 0));
        restored.update(well(), at(11));
        assert_eq!(send(&mut restored, 11, true), (0, 1));
    }

    #[test]
    fn what_was_reported_otherwise_is_repeated_only() {
        let failed = |minute| {
            let mut failed = Findings::default();
            failed.reported("backup_failed", "the backup failed", Some(at(minute)));
            failed
        };
        let mut alarms = Alarms::default();
        alarms.update(failed(0), at(1));
        assert_eq!(send(&mut alarms, 1, true), (0, 0));
        alarms.update(failed(300), at(301));
        assert_eq!(send(&mut alarms, 361, true), (0, 0), "reported again");
        alarms.update(failed(300), at(660));
        assert_eq!(send(&mut alarms, 660, true), (1, 0));
        alarms.update(well(), at(700));
        assert_eq!(send(&mut alarms, 700, true), (0, 1));
    }
}
