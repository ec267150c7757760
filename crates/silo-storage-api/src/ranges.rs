//! Key ranges of a bucket that neither overlap nor leave gaps, so that several workers can list concurrently.
//!
//! A range has the keys after one key, up to and including another. The distribution of keys is unknown, so ranges are split while they are listed:
//! an idle worker requests the page after the midpoint of another worker's range. If it has keys, the two share the range; if not, the range ends at
//! the midpoint, and the next guess is better.

mod midpoint;

use serde::{Deserialize, Serialize};

use self::midpoint::{KeyModel, after_first_separator};

/// Estimated pages that a range must have left to be split.
const MIN_PAGES_TO_SPLIT: f64 = 2.0;
/// Most concurrent attempts to split a range, for each page that it is known to have.
const MAX_SPLIT_ATTEMPTS: u32 = 8;
/// Estimates may be wrong: after this many pages since the last attempt, a range may be split in any case.
const PAGES_BETWEEN_ATTEMPTS: u32 = 4;

/// Part of a bucket that is not listed yet: the keys after `after` (`None` for the beginning), up to and including `until` (`None` for the end).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemainingRange {
    /// The last key that was counted.
    pub after: Option<String>,
    /// The last key that belongs here.
    pub until: Option<String>,
}

/// Next request of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// List this range from `after`.
    List {
        /// The range.
        range: u64,
        /// Lower end of the range.
        after: Option<String>,
    },
    /// Request the page after `midpoint`, to split this range there.
    Split {
        /// The range.
        range: u64,
        /// Key at which the range may be split.
        midpoint: String,
    },
    /// No request possible now; ask again after a change.
    Wait,
    /// The bucket is completely listed.
    Done,
}

/// Result of an attempt to split a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitResult {
    /// The keys after the midpoint are a new range, and the requested page is its first.
    NewRange(u64),
    /// There are no keys after the midpoint, or another worker has passed it; the page is discarded.
    Nothing,
}

/// Last key of a page that belongs to the range, and whether the range is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageResult {
    /// The last key that belongs to the range; the rest of the page belongs to another.
    pub until: Option<String>,
    /// `true` if the range is completely listed.
    pub done: bool,
}

#[derive(Debug)]
struct Range {
    id: u64,
    start: Option<String>,
    after: Option<String>,
    until: Option<String>,
    pages: u32,
    pages_since_attempt: u32,
    /// Number of guesses at the end of an unbounded range.
    guesses: u32,
    assigned: bool,
    /// Midpoints for which other workers await a page.
    attempts: Vec<String>,
    /// No key to split the range at, until more of it is listed.
    cannot_split: bool,
}

/// The ranges of one bucket that are not listed to their end.
#[derive(Debug, Default)]
pub struct Ranges {
    open: Vec<Range>,
    key_model: KeyModel,
    next: u64,
}

impl Ranges {
    /// Restores the ranges of an interrupted scan; without any, the whole bucket is one unbounded range.
    #[must_use]
    pub fn of(remaining: impl IntoIterator<Item = RemainingRange>) -> Self {
        let mut ranges = Self::default();
        for RemainingRange { after, until } in remaining {
            ranges.open(after, until);
        }
        ranges
    }

    /// All keys.
    #[must_use]
    pub fn whole() -> Self {
        Self::of([RemainingRange {
            after: None,
            until: None,
        }])
    }

    /// The keys after `after`, split after each of these keys, which must be in order; points up to `after` are left out.
    #[must_use]
    pub fn split_at(after: Option<&str>, points: &[String]) -> Self {
        let points: Vec<&String> = points
            .iter()
            .filter(|point| after.is_none_or(|after| point.as_str() > after))
            .collect();
        let points_then = |last: Option<String>| {
            let points = points.iter().map(|point| Some((*point).clone()));
            points.chain([last])
        };
        let starts = [after.map(str::to_owned)]
            .into_iter()
            .chain(points_then(None));
        let mut ranges = Self::of(
            starts
                .zip(points_then(None))
                .map(|(after, until)| RemainingRange { after, until }),
        );
        let known = after.into_iter().chain(points.iter().map(|it| it.as_str()));
        known.for_each(|key| ranges.key_model.observe(key));
        ranges
    }

    /// Ranges that are not listed yet, for the checkpoint.
    #[must_use]
    pub fn remaining(&self) -> Vec<RemainingRange> {
        let rest = |range: &Range| RemainingRange {
            after: range.after.clone(),
            until: range.until.clone(),
        };
        self.open.iter().map(rest).collect()
    }

    /// Next request of an idle worker.
    pub fn job(&mut self) -> Job {
        if let Some(range) = self.open.iter_mut().find(|range| !range.assigned) {
            range.assigned = true;
            return Job::List {
                range: range.id,
                after: range.after.clone(),
            };
        }
        if self.open.is_empty() {
            return Job::Done;
        }
        loop {
            let key_model = &self.key_model;
            let worth = |range: &Range| {
                let worth = pages_per_worker(range, key_model)?;
                Some((range.id, worth))
            };
            let best = self
                .open
                .iter()
                .filter_map(worth)
                .max_by(|a, b| a.1.total_cmp(&b.1));
            let Some((id, _)) = best else {
                return Job::Wait;
            };
            if let Some(range) = self.open.iter_mut().find(|range| range.id == id) {
                range.pages_since_attempt = 0;
                if let Some(midpoint) = split_key(range, &self.key_model) {
                    range.attempts.push(midpoint.clone());
                    range.guesses += 1;
                    return Job::Split {
                        range: id,
                        midpoint,
                    };
                }
                range.cannot_split = true;
            }
        }
    }

    /// Records a page of a range: its last key, and whether there are keys after it. Called before the page is counted.
    pub fn advance(&mut self, id: u64, last: Option<&str>, truncated: bool) -> Option<PageResult> {
        let position = self.open.iter().position(|range| range.id == id)?;
        let range = &mut self.open[position];
        let until = range.until.clone();
        let reached = last.is_none_or(|last| until.as_deref().is_some_and(|until| last >= until));
        let done = !truncated || reached;
        if done {
            self.open.swap_remove(position);
        } else {
            range.after = last.map(str::to_owned);
            range.pages += 1;
            range.pages_since_attempt += 1;
            range.cannot_split = false;
        }
        last.inspect(|last| self.key_model.observe(last));
        Some(PageResult { until, done })
    }

    /// Completes an attempt to split a range, with the first key of the page after the midpoint.
    pub fn finish_split(&mut self, id: u64, midpoint: &str, first: Option<&str>) -> SplitResult {
        if let Some(range) = self.open.iter_mut().find(|range| range.id == id) {
            range.attempts.retain(|probe| probe != midpoint);
        }
        // Another worker may have split this range since the midpoint was computed. That is harmless: a range may be split at any key.
        let holds = |range: &&mut Range| {
            let begun = range.after.as_deref().is_none_or(|after| after < midpoint);
            begun && range.until.as_deref().is_none_or(|until| midpoint < until)
        };
        let Some(range) = self.open.iter_mut().find(holds) else {
            return SplitResult::Nothing;
        };
        let guesses = range.guesses;
        let until = range.until.replace(midpoint.to_owned());
        let empty = first.is_none_or(|first| until.as_deref().is_some_and(|until| first > until));
        if empty {
            return SplitResult::Nothing;
        }
        let new_range = self.open(Some(midpoint.to_owned()), until);
        if let Some(range) = self.open.last_mut() {
            range.assigned = true;
            range.guesses = guesses;
        }
        SplitResult::NewRange(new_range)
    }

    fn open(&mut self, after: Option<String>, until: Option<String>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.open.push(Range {
            id,
            start: after.clone(),
            after,
            until,
            pages: 0,
            pages_since_attempt: 0,
            guesses: 0,
            assigned: false,
            attempts: Vec::new(),
            cannot_split: false,
        });
        id
    }
}

/// Estimated pages per worker of a range; `None` if splitting is not worth it.
fn pages_per_worker(range: &Range, key_model: &KeyModel) -> Option<f64> {
    let attempts = u32::try_from(range.attempts.len()).unwrap_or(u32::MAX);
    if range.cannot_split || attempts >= MAX_SPLIT_ATTEMPTS.saturating_mul(range.pages) {
        return None;
    }
    let left = pages_left(range, key_model) / f64::from(attempts + 1);
    (left >= MIN_PAGES_TO_SPLIT || range.pages_since_attempt >= PAGES_BETWEEN_ATTEMPTS)
        .then_some(left)
}

/// Estimated pages left in a range, assuming the key density observed so far; infinite for an unbounded range.
fn pages_left(range: &Range, key_model: &KeyModel) -> f64 {
    let Some(until) = &range.until else {
        return f64::MAX;
    };
    let start = range.start.as_deref().unwrap_or_default();
    let after = range.after.as_deref().unwrap_or_default();
    match key_model.progress(start, after, until) {
        Some(progress) if progress > 0.0 => f64::from(range.pages) * (1.0 - progress) / progress,
        _ => f64::from(range.pages),
    }
}

/// Key at which to split a range: the middle of the widest gap between the midpoints that other workers try.
fn split_key(range: &Range, key_model: &KeyModel) -> Option<String> {
    let after = range.after.as_deref().unwrap_or_default();
    if range.until.is_none() && range.guesses == 0 {
        let past = after_first_separator(after).filter(|past| past.as_str() > after);
        return past.or_else(|| key_model.midpoint(after, None));
    }
    // Midpoints outside the range, which was shortened meanwhile, are ignored.
    let inside =
        |probe: &&str| *probe > after && range.until.as_deref().is_none_or(|until| *probe < until);
    let mut tried: Vec<&str> = range
        .attempts
        .iter()
        .map(String::as_str)
        .filter(inside)
        .collect();
    tried.sort_unstable();
    key_model.middle_of_widest(after, &tried, range.until.as_deref())
}
