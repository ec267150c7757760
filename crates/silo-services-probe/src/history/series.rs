//! Time series of one service, and its views: uptime over a period, points of a chart.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use silo_core::units::{count_from_usize, double, round};
use utoipa::ToSchema;

use super::minutes::{PER_HOUR, SECONDS};
use super::tally::Tally;
use crate::status::Status;

/// Hours for which minutes are kept.
const HOURS_OF_MINUTES: u32 = 48;
/// Most minutes with checks, and most hours, that are kept. The oldest are removed by count and not by age, so that a clock that is wrong for a while
/// removes nothing.
pub(super) const MINUTES: usize = 49 * 60;
pub(super) const HOURS: usize = 90 * 24 + 1;

/// Checks by minute and by hour. Minutes are also counted in their hour.
#[derive(Clone, Debug, Default)]
pub struct Series {
    minutes: VecDeque<(u32, Tally)>,
    hours: VecDeque<(u32, Tally)>,
}

/// A period that can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Range {
    /// 60 points of a minute.
    #[serde(rename = "1h")]
    Hour,
    /// 96 points of 15 minutes.
    #[default]
    #[serde(rename = "24h")]
    Day,
    /// 96 points of half an hour.
    #[serde(rename = "48h")]
    TwoDays,
    /// 168 points of an hour.
    #[serde(rename = "7d")]
    Week,
    /// 180 points of 4 hours.
    #[serde(rename = "30d")]
    Month,
    /// 180 points of 12 hours.
    #[serde(rename = "90d")]
    Quarter,
}

impl Range {
    /// Minutes per point, and number of points.
    fn shape(self) -> (u32, u32) {
        match self {
            Self::Hour => (1, 60),
            Self::Day => (15, 96),
            Self::TwoDays => (30, 96),
            Self::Week => (60, 168),
            Self::Month => (240, 180),
            Self::Quarter => (720, 180),
        }
    }

    /// Seconds per point.
    #[must_use]
    pub fn step_seconds(self) -> u32 {
        self.shape().0 * 60
    }
}

/// Point of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Worst status; unknown without checks.
    pub status: Status,
    /// Mean response time in milliseconds; `null` without answers.
    pub response_ms: Option<u32>,
    /// Number of checks.
    pub checks: u32,
    /// Number of failed checks.
    pub failures: u32,
}

/// Uptime of a service over a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Uptime {
    /// Checks that were answered, of all there were, in percent; rounded down, so that it is 100 only when every one was. `null` when there was
    /// none.
    pub percent: Option<f64>,
    /// Share of the period covered by checks, in percent; the rest counts neither as up nor as down.
    pub known_percent: f64,
    /// Number of checks.
    pub checks: u64,
}

impl Series {
    /// Adds the checks of one minute to that minute and to its hour. `at` is in minutes since 1970.
    pub fn add_minute(&mut self, at: u32, tally: Tally) {
        add(&mut self.minutes, at, tally, MINUTES);
        self.add_hour(at / PER_HOUR, tally);
    }

    /// Adds the checks of one minute to that minute only, for a process whose hours have them already.
    pub(super) fn restore_minute(&mut self, at: u32, tally: Tally) {
        add(&mut self.minutes, at, tally, MINUTES);
    }

    /// Adds checks of an hour since 1970.
    pub fn add_hour(&mut self, at: u32, tally: Tally) {
        add(&mut self.hours, at, tally, HOURS);
    }

    /// The last minute with a check.
    #[must_use]
    pub fn last_minute(&self) -> Option<u32> {
        self.minutes.back().map(|(at, _)| *at)
    }

    /// The last hour with a check.
    #[must_use]
    pub fn last_hour(&self) -> Option<u32> {
        self.hours.back().map(|(at, _)| *at)
    }

    /// The points of a period that ends now, the oldest first.
    #[must_use]
    pub fn points(&self, range: Range, now: u32) -> Vec<Point> {
        let (step, count) = range.shape();
        let first = (now / step + 1).saturating_sub(count);
        let mut tallies = vec![Tally::default(); count as usize];
        let mut put = |at: u32, tally: Tally| {
            let place = (at / step).checked_sub(first).map(|place| place as usize);
            if let Some(sum) = place.and_then(|place| tallies.get_mut(place)) {
                sum.add(tally);
            }
        };
        if step < PER_HOUR {
            self.minutes.iter().for_each(|(at, tally)| put(*at, *tally));
        } else {
            self.hours
                .iter()
                .for_each(|(at, tally)| put(at * PER_HOUR, *tally));
        }
        (first..)
            .zip(tallies)
            .map(|(place, tally)| point(place * step, tally))
            .collect()
    }

    /// Uptime over the last `hours`, the current one included, of a service that is checked every `apart` minutes.
    #[must_use]
    pub fn uptime(&self, hours: u32, now: u32, apart: u32) -> Uptime {
        let mut sum = (0_u64, 0_u64);
        let mut count = |tally: &Tally| {
            sum.0 += u64::from(tally.answered());
            sum.1 += u64::from(tally.checks());
        };
        // By the minute where minutes are kept for so long.
        let known = if hours <= HOURS_OF_MINUTES {
            let oldest = now.saturating_sub(hours * PER_HOUR);
            let within = self
                .minutes
                .iter()
                .filter(|(at, _)| (oldest + 1..=now).contains(at));
            let known: Vec<u32> = within
                .map(|(at, tally)| {
                    count(tally);
                    *at
                })
                .collect();
            covered(&known, hours * PER_HOUR, apart)
        } else {
            let oldest = (now / PER_HOUR).saturating_sub(hours);
            let within = self
                .hours
                .iter()
                .filter(|(at, _)| (oldest + 1..=now / PER_HOUR).contains(at));
            let known: Vec<u32> = within
                .map(|(at, tally)| {
                    count(tally);
                    *at
                })
                .collect();
            round(
                100.0 * double(count_from_usize(known.len())) / f64::from(hours),
                1,
            )
        };
        let (answered, checks) = sum;
        let percent =
            (checks > 0).then(|| (10_000.0 * double(answered) / double(checks)).floor() / 100.0);
        Uptime {
            percent,
            known_percent: known.min(100.0),
            checks,
        }
    }
}

/// Share of a period covered by minutes with checks, in percent. The time between two checks counts as covered if the gap is at most twice the
/// expected interval.
fn covered(minutes: &[u32], period: u32, apart: u32) -> f64 {
    let gaps = minutes.windows(2).map(|pair| pair[1] - pair[0]);
    let known: u32 = gaps.map(|gap| if gap <= 2 * apart { gap } else { 1 }).sum();
    let last = u32::from(!minutes.is_empty());
    round(100.0 * f64::from(known + last) / f64::from(period), 1)
}

fn point(minute: u32, tally: Tally) -> Point {
    Point {
        at: Timestamp::from_second(i64::from(minute) * SECONDS).unwrap_or_default(),
        status: tally.status(),
        response_ms: tally.answered_ms.checked_div(tally.answered()),
        checks: tally.checks(),
        failures: tally.failures(),
    }
}

/// Adds to a time's tally; times may come in any order, because clocks are set.
fn add(tallies: &mut VecDeque<(u32, Tally)>, at: u32, tally: Tally, most: usize) {
    let place = tallies.partition_point(|(known, _)| *known < at);
    match tallies.get_mut(place) {
        Some((known, sum)) if *known == at => sum.add(tally),
        _ => tallies.insert(place, (at, tally)),
    }
    if tallies.len() > most {
        tallies.pop_front();
    }
}

#[cfg(test)]
mod tests;
