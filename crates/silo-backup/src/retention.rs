//! Retention rules: a pure function over the backups, with a reason for every decision.
//!
//! Keep rules are combined with OR, as in restic: the last N backups, and the last one of each of the last N days, weeks and months (in UTC) that
//! have one. Only good backups are kept by a rule. Independently of the rules, the newest three drilled ones, the newest seven good ones, and
//! everything younger than 48 hours are kept; and nothing is deleted while the clock looks wrong or the newest backup is held.

pub mod prune;

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

/// The newest so many that were restored never go.
pub const DRILLED: usize = 3;
/// The newest so many that count never go.
pub const GOOD: usize = 7;
/// Age below which a backup is never deleted.
pub const YOUNG: SignedDuration = SignedDuration::from_hours(48);
/// Largest accepted difference from the storage's clock, in seconds.
pub const CLOCK: i64 = 300;

/// Number of backups to keep by each rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The newest.
    pub last: usize,
    /// The newest of a day, for so many days.
    pub daily: usize,
    /// The newest of a week (ISO 8601), for so many weeks.
    pub weekly: usize,
    /// The newest of a month, for so many months.
    pub monthly: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            last: 7,
            daily: 7,
            weekly: 4,
            monthly: 12,
        }
    }
}

/// Facts about a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Id of the backup.
    pub id: String,
    /// The moment it is of.
    pub at: Timestamp,
    /// `true` if the backup counts as good.
    pub good: bool,
    /// `true` if a drill restored the backup identically.
    pub drilled: bool,
}

/// Decision about a backup, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Id of the backup.
    pub id: String,
    /// `true` to keep the backup.
    pub keep: bool,
    /// The rules that keep it, or the one that lets it go.
    pub why: Vec<String>,
}

/// References to check the clock against.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Now, by this machine.
    pub now: Timestamp,
    /// Seconds by which this clock is ahead of the storage's, if known.
    pub ahead: Option<i64>,
}

impl Clock {
    /// Reason to distrust the clock.
    #[must_use]
    pub fn doubt(&self, backups: &[Backup]) -> Option<String> {
        if let Some(ahead) = self.ahead.filter(|ahead| ahead.abs() > CLOCK) {
            return Some(format!(
                "this machine's clock is {ahead} s ahead of the storage's"
            ));
        }
        let newest = backups.iter().map(|backup| backup.at).max()?;
        (newest > self.now)
            .then(|| format!("there is a backup of {newest}, which is later than now"))
    }
}

/// Decides for every backup, the newest first.
#[must_use]
pub fn plan(backups: &[Backup], policy: Policy, clock: Clock) -> Vec<Decision> {
    let mut sorted: Vec<&Backup> = backups.iter().collect();
    sorted.sort_by(|one, other| (other.at, &other.id).cmp(&(one.at, &one.id)));
    let frozen = match clock.doubt(backups) {
        Some(doubt) => Some(format!("nothing goes: {doubt}")),
        None => sorted.first().filter(|newest| !newest.good).map(|newest| {
            format!(
                "nothing goes: the newest backup, {}, does not count",
                newest.id
            )
        }),
    };
    let good: Vec<&Backup> = sorted
        .iter()
        .copied()
        .filter(|backup| backup.good)
        .collect();
    let mut kept: Vec<(&str, String)> = Vec::new();
    for backup in good.iter().take(policy.last) {
        kept.push((&backup.id, format!("one of the last {}", policy.last)));
    }
    let date = |backup: &Backup| TimeZone::UTC.to_datetime(backup.at).date();
    let week = |date: Date| (date.iso_week_date().year(), date.iso_week_date().week());
    kept.extend(newest_of_each(
        &good,
        policy.daily,
        |backup| date(backup).to_string(),
        "day",
    ));
    kept.extend(newest_of_each(
        &good,
        policy.weekly,
        |backup| {
            let (year, week) = week(date(backup));
            format!("{year}-W{week:02}")
        },
        "week",
    ));
    kept.extend(newest_of_each(
        &good,
        policy.monthly,
        |backup| date(backup).strftime("%Y-%m").to_string(),
        "month",
    ));
    for backup in good.iter().take(GOOD) {
        kept.push((&backup.id, format!("one of the newest {GOOD} that count")));
    }
    for backup in sorted
        .iter()
        .filter(|backup| backup.drilled && backup.good)
        .take(DRILLED)
    {
        kept.push((
            &backup.id,
            format!("one of the newest {DRILLED} that were restored"),
        ));
    }
    let decide = |backup: &&Backup| {
        let mut why: Vec<String> = kept
            .iter()
            .filter(|(id, _)| *id == backup.id)
            .map(|(_, why)| why.clone())
            .collect();
        if clock.now.duration_since(backup.at) < YOUNG {
            why.push("younger than 48 hours".into());
        }
        why.extend(frozen.clone());
        let keep = !why.is_empty();
        if !keep {
            why.push(if backup.good {
                "no rule keeps it".into()
            } else {
                "it does not count, and is older than 48 hours".into()
            });
        }
        Decision {
            id: backup.id.clone(),
            keep,
            why,
        }
    };
    sorted.iter().map(decide).collect()
}

fn newest_of_each<'a>(
    good: &[&'a Backup],
    periods: usize,
    period: impl Fn(&Backup) -> String,
    noun: &str,
) -> Vec<(&'a str, String)> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for backup in good {
        let name = period(backup);
        if seen.len() < periods && seen.insert(name.clone()) {
            kept.push((
                backup.id.as_str(),
                format!("the newest of the {noun} {name}"),
            ));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn backup(at: Timestamp, number: usize) -> Backup {
        Backup {
            id: format!("{number:05}"),
            at,
            good: true,
            drilled: number.is_multiple_of(7),
        }
    }

    fn day(number: i64) -> Timestamp {
        "2026-01-01T04:00:00Z".parse::<Timestamp>().unwrap()
            + SignedDuration::from_hours(24 * number)
    }

    fn clock(now: Timestamp) -> Clock {
        Clock {
            now,
            ahead: Some(0),
        }
    }

    #[test]
    fn a_year_of_nights_comes_down_to_the_rules() {
        let mut backups: Vec<Backup> = Vec::new();
        for night in 0..365 {
            backups.push(backup(day(night), usize::try_from(night).unwrap()));
            let plan = plan(&backups, Policy::default(), clock(day(night)));
            backups.retain(|backup| {
                plan.iter()
                    .any(|decision| decision.id == backup.id && decision.keep)
            });
        }
        let kept: Vec<String> = backups
            .iter()
            .map(|backup| backup.at.strftime("%m-%d").to_string())
            .collect();
        assert_eq!(
            kept[..11],
            [
                "01-31", "02-28", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30",
                "10-31", "11-30"
            ]
        );
        assert_eq!(kept.last().unwrap(), "12-31");
        // 11 months, 4 weeks of which one is this, 7 days, and what a third restored one needs.
        assert!((18..=25).contains(&kept.len()), "{kept:?}");
    }

    #[test]
    fn every_decision_says_why() {
        let backups: Vec<Backup> = (0..60)
            .map(|night| backup(day(night), usize::try_from(night).unwrap()))
            .collect();
        let plan = plan(&backups, Policy::default(), clock(day(60)));
        assert!(plan.iter().all(|decision| !decision.why.is_empty()));
        assert!(
            plan.iter()
                .any(|decision| !decision.keep && decision.why == ["no rule keeps it"])
        );
        assert!(
            plan[0]
                .why
                .contains(&"the newest of the month 2026-03".to_owned()),
            "{:?}",
            plan[0]
        );
    }

    /// Random histories: gaps, held runs, clocks that jump, dates in the future, prunes that were interrupted.
    #[test]
    fn whatever_the_history_what_must_stay_stays() {
        let mut deleted = 0;
        for seed in 0..20_000 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut backups = Vec::new();
            let mut at = day(0);
            for number in 0..rng.random_range(0..60) {
                at += SignedDuration::from_hours(rng.random_range(1..80));
                let jump = match rng.random_range(0..60) {
                    0 => SignedDuration::from_hours(24 * 3650),
                    1 => SignedDuration::from_hours(-24 * 3650),
                    _ => SignedDuration::ZERO,
                };
                let good = rng.random_bool(0.85);
                backups.push(Backup {
                    id: format!("{number:05}"),
                    at: at + jump,
                    good,
                    drilled: good && rng.random_bool(0.2),
                });
            }
            let now = at + SignedDuration::from_hours(rng.random_range(-24..100));
            let ahead = [None, Some(0), Some(100_000)][rng.random_range(0..3)];
            let clock = Clock { now, ahead };
            let policy = Policy {
                last: rng.random_range(0..9),
                daily: rng.random_range(0..9),
                weekly: rng.random_range(0..5),
                monthly: rng.random_range(0..13),
            };
            let plan = plan(&backups, policy, clock);
            assert_eq!(plan.len(), backups.len());
            let gone: Vec<&Backup> = backups
                .iter()
                .filter(|backup| {
                    plan.iter()
                        .any(|decision| decision.id == backup.id && !decision.keep)
                })
                .collect();
            deleted += gone.len();
            if clock.doubt(&backups).is_some() {
                assert!(
                    gone.is_empty(),
                    "seed {seed}: something goes while the clock looks wrong"
                );
            }
            let mut newest: Vec<&Backup> = backups.iter().collect();
            newest.sort_by(|one, other| (other.at, &other.id).cmp(&(one.at, &one.id)));
            let drilled = newest.iter().filter(|backup| backup.drilled).take(3);
            let good = newest.iter().filter(|backup| backup.good).take(7);
            for kept in drilled.chain(good) {
                assert!(!gone.contains(kept), "seed {seed}: {kept:?} goes");
            }
            assert!(
                gone.iter()
                    .all(|backup| now.duration_since(backup.at) >= YOUNG),
                "seed {seed}"
            );
            assert!(
                newest.first().is_none_or(|newest| newest.good) || gone.is_empty(),
                "seed {seed}"
            );
            // A second prune keeps the same backups: an interrupted prune can be resumed.
            let left: Vec<Backup> = backups
                .iter()
                .filter(|backup| !gone.contains(backup))
                .cloned()
                .collect();
            let again = super::plan(&left, policy, clock);
            assert!(again.iter().all(|decision| decision.keep), "seed {seed}");
        }
        assert!(deleted > 50_000, "{deleted}");
    }
}
