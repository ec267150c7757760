//! When the next backup is due: a cron expression in a time zone, and a pure function of what happened before.

pub mod job_runner;
mod proofs;
pub mod scheduler;
pub mod watchdog;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// Delays of retries after failed runs; after the last one, the schedule applies.
const RETRIES: [SignedDuration; 3] = [
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
];

/// A schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Earlier runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunHistory {
    /// When the last backup began that was made, whether it counts or is held.
    pub last_made: Option<Timestamp>,
    /// Number of failed attempts since the last backup, and when the last one ended.
    pub failed: Option<(usize, Timestamp)>,
}

impl Schedule {
    /// Parses a cron expression of five fields and an IANA time zone.
    ///
    /// # Errors
    /// The reason why either is invalid.
    pub fn new(expression: &str, zone: &str) -> Result<Self, String> {
        let cron = expression
            .parse::<Cron>()
            .map_err(|error| format!("`{expression}` is no cron expression: {error}"))?;
        let zone = TimeZone::get(zone)
            .map_err(|_why| format!("`{zone}` is no time zone such as America/Los_Angeles"))?;
        let schedule = Self { cron, zone };
        match schedule.after(Timestamp::now()) {
            Some(_) => Ok(schedule),
            None => Err(format!("`{expression}` never comes")),
        }
    }

    /// The first time after `time`.
    #[must_use]
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let found = self
            .cron
            .find_next_occurrence(&self.zoned(time)?, false)
            .ok()?;
        Timestamp::from_second(found.timestamp().as_second()).ok()
    }

    /// Last scheduled time at or before `time`.
    #[must_use]
    pub fn before(&self, time: Timestamp) -> Option<Timestamp> {
        let found = self
            .cron
            .find_previous_occurrence(&self.zoned(time)?, true)
            .ok()?;
        Timestamp::from_second(found.timestamp().as_second()).ok()
    }

    /// Time of the next run: now if one was missed, later after a failure, otherwise by the schedule.
    #[must_use]
    pub fn next(&self, past: RunHistory, now: Timestamp) -> Option<Timestamp> {
        if let Some((tries, ended)) = past.failed {
            return self.retry(tries, ended);
        }
        let due = self.before(now)?;
        let made = past.last_made.is_some_and(|made| made >= due);
        // Ignore a backup with a time in the future.
        let made = made
            && past
                .last_made
                .is_none_or(|made| made <= now + SignedDuration::from_mins(5));
        if made {
            self.after(now)
        } else {
            Some(now.max(due))
        }
    }

    /// The times after `from` up to `until`, at most 48.
    #[must_use]
    pub fn between(&self, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let times = std::iter::successors(self.after(from), |time| self.after(*time));
        times.take_while(|time| *time <= until).take(48).collect()
    }

    /// When to try again after so many failures in a row, the last of which ended at `ended`: after 5 and 30 minutes and 2 hours, then at the
    /// regular times.
    #[must_use]
    pub fn retry(&self, failures: usize, ended: Timestamp) -> Option<Timestamp> {
        let pause = failures.checked_sub(1).and_then(|at| RETRIES.get(at));
        match pause {
            Some(pause) => Some(ended + *pause),
            None => self.after(ended),
        }
    }

    fn zoned(&self, time: Timestamp) -> Option<Zoned> {
        Some(time.to_zoned(self.zone.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn nights(zone: &str, expression: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::new(expression, zone).unwrap();
        let mut at = time(from);
        (0..count)
            .map(|_| {
                at = schedule.after(at).unwrap();
                at.to_string()
            })
            .collect()
    }

    #[test]
    fn a_daily_run_happens_once_across_daylight_saving_changes() {
        // 2026-03-08: there is no 2:30 in Los Angeles. 2026-11-01: there are two of 1:30.
        let spring = nights(
            "America/Los_Angeles",
            "30 2 * * *",
            "2026-03-07T12:00:00Z",
            2,
        );
        assert_eq!(spring[1], "2026-03-09T09:30:00Z");
        assert!(spring[0].starts_with("2026-03-08T"), "{spring:?}");
        let autumn = nights(
            "America/Los_Angeles",
            "30 1 * * *",
            "2026-10-31T12:00:00Z",
            2,
        );
        assert!(autumn[0].starts_with("2026-11-01T"), "{autumn:?}");
        assert!(autumn[1].starts_with("2026-11-02T"), "{autumn:?}");
    }

    #[test]
    fn a_missed_run_is_caught_up_and_a_completed_one_is_not_repeated() {
        let schedule = Schedule::new("0 4 * * *", "UTC").unwrap();
        let now = time("2026-01-10T12:00:00Z");
        let made = |at: &str| RunHistory {
            last_made: Some(time(at)),
            failed: None,
        };
        assert_eq!(schedule.next(RunHistory::default(), now), Some(now));
        assert_eq!(schedule.next(made("2026-01-09T04:00:01Z"), now), Some(now));
        assert_eq!(
            schedule.next(made("2026-01-10T04:00:01Z"), now),
            Some(time("2026-01-11T04:00:00Z"))
        );
        assert_eq!(schedule.next(made("2036-01-10T04:00:01Z"), now), Some(now));
    }

    #[test]
    fn times_of_a_day_are_listed() {
        let schedule = Schedule::new("0 */8 * * *", "UTC").unwrap();
        let (from, until) = (time("2026-01-10T08:00:00Z"), time("2026-01-11T08:00:00Z"));
        let times = ["10T16", "11T00", "11T08"].map(|at| time(&format!("2026-01-{at}:00:00Z")));
        assert_eq!(schedule.between(from, until), times);
        let minutes = Schedule::new("* * * * *", "UTC").unwrap();
        assert_eq!(minutes.between(from, until).len(), 48);
    }

    #[test]
    fn a_failed_run_is_tried_again_three_times() {
        let schedule = Schedule::new("0 4 * * *", "UTC").unwrap();
        let ended = time("2026-01-10T04:10:00Z");
        let due = |tries| {
            schedule
                .next(
                    RunHistory {
                        last_made: None,
                        failed: Some((tries, ended)),
                    },
                    ended,
                )
                .unwrap()
                .to_string()
        };
        assert_eq!(
            [due(1), due(2), due(3), due(4)],
            [
                "2026-01-10T04:15:00Z",
                "2026-01-10T04:40:00Z",
                "2026-01-10T06:10:00Z",
                "2026-01-11T04:00:00Z"
            ]
        );
    }

    #[test]
    fn an_invalid_schedule_is_an_error() {
        assert!(Schedule::new("61 4 * * *", "UTC").is_err());
        assert!(Schedule::new("0 4 * * *", "Mars/Olympus").is_err());
        assert!(Schedule::new("0 4 30 2 *", "UTC").is_err());
    }
}
