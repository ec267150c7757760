//! Retention rules: a pure function over the backups, with a reason for every decision.
//!
//! Keep rules are combined with OR, as in restic: the last N backups, and the last one of each of the last N days, weeks and months (in UTC) that
//! have one. Only good backups are kept by a rule. Independently of the rules, the newest three drilled ones, the newest seven good ones, and
//! everything younger than 48 hours and pinned ones are kept; and nothing is deleted while the clock looks wrong, a problem is open, or the newest backup is
//! held.

pub mod prune;
pub mod slices;

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

/// Number of newest good backups with a passed drill that are never deleted.
pub const KEEP_DRILLED: usize = 3;
/// Number of newest good backups that are never deleted.
pub const KEEP_GOOD: usize = 7;
/// Age below which a backup is never deleted.
pub const MIN_AGE: SignedDuration = SignedDuration::from_hours(48);
/// Largest accepted difference from the storage's clock, in seconds.
pub const MAX_CLOCK_SKEW: i64 = 300;

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
    /// All of so many days, and the newest before them: moments are restored from them.
    pub moments: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            last: 7,
            daily: 7,
            weekly: 4,
            monthly: 12,
            moments: 0,
        }
    }
}

/// Facts about a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Id of the backup.
    pub id: String,
    /// Time of the data in the backup (`asOf` of its manifest).
    pub at: Timestamp,
    /// `true` if the backup counts as good.
    pub good: bool,
    /// `true` if a drill restored the backup identically.
    pub drilled: bool,
    /// Reason of an operator's pin.
    pub pin: Option<String>,
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
    pub reasons: Vec<String>,
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
    pub fn clock_problem(&self, backups: &[Backup]) -> Option<String> {
        if let Some(ahead) = self.ahead.filter(|ahead| ahead.abs() > MAX_CLOCK_SKEW) {
            return Some(format!(
                "this machine's clock differs from the storage's by {ahead:+} s"
            ));
        }
        let newest = backups.iter().map(|backup| backup.at).max()?;
        (newest > self.now)
            .then(|| format!("there is a backup of {newest}, which is later than now"))
    }
}

/// Decides for every backup, the newest first. `problem` is an open problem of a destination, while which nothing is deleted.
#[must_use]
pub fn plan(
    backups: &[Backup],
    policy: Policy,
    clock: Clock,
    problem: Option<&str>,
) -> Vec<Decision> {
    let mut sorted: Vec<&Backup> = backups.iter().collect();
    sorted.sort_by(|one, other| (other.at, &other.id).cmp(&(one.at, &one.id)));
    let frozen = match (clock.clock_problem(backups), problem) {
        (Some(clock_problem), _) => Some(format!("nothing is deleted: {clock_problem}")),
        (None, Some(problem)) => Some(format!(
            "nothing is deleted while a problem is open: {problem}"
        )),
        (None, None) => sorted.first().filter(|newest| !newest.good).map(|newest| {
            format!(
                "nothing is deleted: the newest backup, {}, is not good",
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
    if policy.moments > 0 {
        let begin = clock.now - SignedDuration::from_hours(24 * policy.moments);
        let reason = format!(
            "moments of the last {} days are restored from it",
            policy.moments
        );
        let within = good.iter().take_while(|backup| backup.at > begin).count();
        kept.extend(
            good.iter()
                .take(within + 1)
                .map(|backup| (backup.id.as_str(), reason.clone())),
        );
    }
    for backup in good.iter().take(KEEP_GOOD) {
        kept.push((
            &backup.id,
            format!("one of the newest {KEEP_GOOD} good backups"),
        ));
    }
    for backup in sorted
        .iter()
        .filter(|backup| backup.drilled && backup.good)
        .take(KEEP_DRILLED)
    {
        kept.push((
            &backup.id,
            format!("one of the newest {KEEP_DRILLED} with a passed drill"),
        ));
    }
    let decide = |backup: &&Backup| {
        let mut reasons: Vec<String> = kept
            .iter()
            .filter(|(id, _)| *id == backup.id)
            .map(|(_, reasons)| reasons.clone())
            .collect();
        reasons.extend(backup.pin.iter().map(|reason| format!("pinned: {reason}")));
        if clock.now.duration_since(backup.at) < MIN_AGE {
            reasons.push("younger than 48 hours".into());
        }
        reasons.extend(frozen.clone());
        let keep = !reasons.is_empty();
        if !keep {
            reasons.push(if backup.good {
                "no rule keeps it".into()
            } else {
                "not a good backup, and older than 48 hours".into()
            });
        }
        Decision {
            id: backup.id.clone(),
            keep,
            reasons,
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
mod tests;
