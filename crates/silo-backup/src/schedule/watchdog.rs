//! Watchdog: sends an alarm when the newest good backup is too old, when something is wrong with stored backups, when drills do not happen, or when the
//! state of backups is unknown. It has its own timer and does not depend on the jobs, nor on the storage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use silo_web::snapshot::{Freshness, Snapshot};

use crate::alerts::Event;
use crate::context::Context;
use crate::run::published_index;
use crate::status::BackupStatus;

/// Interval between checks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Interval between repetitions of a persisting alarm.
const REPEAT_INTERVAL: SignedDuration = SignedDuration::from_hours(12);
/// Time for which the state of backups may be unknown before an alarm.
const UNKNOWN_FOR: SignedDuration = SignedDuration::from_mins(30);

/// Facts that the watchdog decides on.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Time of the newest good backup, by the buckets or by the database's index; `None` if there is none, or it is not known.
    pub last_good: Option<Timestamp>,
    /// Since when neither buckets nor database could be read; `None` if one of them could.
    pub unknown_since: Option<Timestamp>,
    /// Problems with stored backups.
    pub problems: Vec<String>,
    /// `true` if drills are scheduled and none has succeeded for two intervals.
    pub drill_overdue: bool,
}

/// The watchdog of one service.
pub struct Watchdog {
    /// Start of the service: a backup cannot be expected before the allowed age has passed since.
    started: Timestamp,
    /// Largest allowed age of the newest good backup.
    oldest: SignedDuration,
    /// Last known time of a good backup.
    known: Option<Timestamp>,
    /// When each alarm was sent, by its code.
    sent: BTreeMap<&'static str, Timestamp>,
}

impl Watchdog {
    /// A watchdog without a known backup.
    #[must_use]
    pub fn new(started: Timestamp, oldest: SignedDuration) -> Self {
        Self {
            started,
            oldest,
            known: None,
            sent: BTreeMap::new(),
        }
    }

    /// Alarms that are due now. An alarm that persists is repeated every twelve hours, and one that has ended is sent at once when it comes back.
    pub fn check(&mut self, facts: &Facts, now: Timestamp) -> Vec<Event> {
        if facts.unknown_since.is_none() {
            self.known = facts.last_good;
        }
        let mut alarms: Vec<(&'static str, String)> = Vec::new();
        let last = self.known.or(facts.last_good);
        let since = last.unwrap_or(self.started);
        if now.duration_since(since) > self.oldest {
            alarms.push((
                "overdue",
                match last {
                    Some(last) => format!("the newest good backup is of {last}"),
                    None => format!(
                        "there is no good backup since the service started at {}",
                        self.started
                    ),
                },
            ));
        }
        if let Some(unknown) = facts.unknown_since
            && now.duration_since(unknown) > UNKNOWN_FOR
        {
            alarms.push((
                "status_unknown",
                format!("the state of backups is unknown since {unknown}: neither storage nor database can be read"),
            ));
        }
        if !facts.problems.is_empty() {
            alarms.push(("vanished", facts.problems.join("; ")));
        }
        if facts.drill_overdue {
            alarms.push((
                "drill_overdue",
                "no drill has succeeded for two of its intervals".into(),
            ));
        }
        self.sent
            .retain(|code, _| alarms.iter().any(|(known, _)| known == code));
        let mut due = Vec::new();
        for (code, text) in alarms {
            let recent = self
                .sent
                .get(code)
                .is_some_and(|sent| now.duration_since(*sent) < REPEAT_INTERVAL);
            if !recent {
                self.sent.insert(code, now);
                due.push(match code {
                    "drill_overdue" => Event::DrillFailed(code, text),
                    _ => Event::Alarm(code, text),
                });
            }
        }
        due
    }

    /// Checks every minute until the process is to end.
    pub async fn run(mut self, context: Context, status: Arc<Snapshot<BackupStatus>>) {
        let mut unknown_since = None;
        loop {
            let facts = facts(&context, &status, &mut unknown_since).await;
            for event in self.check(&facts, context.clock.now()) {
                context.alerts.send(&event).await;
            }
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }
}

/// Reads the facts: from the buckets if their last measurement succeeded, else from the database.
async fn facts(
    context: &Context,
    status: &Snapshot<BackupStatus>,
    unknown_since: &mut Option<Timestamp>,
) -> Facts {
    let measured = status.current().ok();
    let measured =
        measured.filter(|reading| matches!(reading.state, Freshness::Fresh | Freshness::Partial));
    if let Some(status) = measured.map(|reading| reading.value) {
        *unknown_since = None;
        return Facts {
            last_good: status.last_good.as_ref().map(|good| good.as_of),
            unknown_since: None,
            problems: status.problems.clone(),
            drill_overdue: status.drill_overdue == Some(true),
        };
    }
    match published_index::newest_good(&context.status_client).await {
        Ok(last_good) => {
            *unknown_since = None;
            Facts {
                last_good,
                ..Facts::default()
            }
        }
        Err(_) => Facts {
            unknown_since: Some(*unknown_since.get_or_insert(context.clock.now())),
            ..Facts::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn codes(events: &[Event]) -> Vec<&'static str> {
        let code = |event: &Event| match event {
            Event::Alarm(code, _) | Event::DrillFailed(code, _) => *code,
            other => panic!("{other:?}"),
        };
        events.iter().map(code).collect()
    }

    fn watchdog() -> Watchdog {
        Watchdog::new(time("2026-01-10T00:00:00Z"), SignedDuration::from_hours(26))
    }

    #[test]
    fn no_backup_since_the_start_is_an_alarm_after_the_allowed_age() {
        let (mut watchdog, none) = (watchdog(), Facts::default());
        assert!(
            watchdog
                .check(&none, time("2026-01-11T01:59:00Z"))
                .is_empty()
        );
        let late = time("2026-01-11T02:01:00Z");
        assert_eq!(codes(&watchdog.check(&none, late)), ["overdue"]);
        assert!(
            watchdog
                .check(&none, time("2026-01-11T14:00:00Z"))
                .is_empty()
        );
        let repeated = watchdog.check(&none, time("2026-01-11T14:02:00Z"));
        assert_eq!(codes(&repeated), ["overdue"]);
    }

    #[test]
    fn the_age_counts_on_while_nothing_can_be_read() {
        let mut watchdog = watchdog();
        let good = Facts {
            last_good: Some(time("2026-01-10T04:00:00Z")),
            ..Facts::default()
        };
        assert!(
            watchdog
                .check(&good, time("2026-01-10T05:00:00Z"))
                .is_empty()
        );
        let unknown = Facts {
            unknown_since: Some(time("2026-01-10T06:00:00Z")),
            ..Facts::default()
        };
        let first = watchdog.check(&unknown, time("2026-01-10T06:31:00Z"));
        assert_eq!(codes(&first), ["status_unknown"]);
        let second = watchdog.check(&unknown, time("2026-01-11T06:01:00Z"));
        assert_eq!(codes(&second), ["overdue", "status_unknown"]);
    }

    #[test]
    fn an_alarm_that_ended_is_sent_again_when_it_returns() {
        let mut watchdog = watchdog();
        let now = time("2026-01-10T05:00:00Z");
        let wrong = Facts {
            last_good: Some(now),
            problems: vec!["gone".into()],
            ..Facts::default()
        };
        let well = Facts {
            last_good: Some(now),
            ..Facts::default()
        };
        assert_eq!(codes(&watchdog.check(&wrong, now)), ["vanished"]);
        assert!(watchdog.check(&wrong, now).is_empty());
        assert!(watchdog.check(&well, now).is_empty());
        assert_eq!(codes(&watchdog.check(&wrong, now)), ["vanished"]);
    }
}
