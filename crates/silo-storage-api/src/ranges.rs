//! Key ranges of a bucket that neither overlap nor leave gaps, so that several workers can list concurrently.
//!
//! A range has the keys after one key, up to and including another. The distribution of keys is unknown, so ranges are split while they are listed:
//! an idle worker requests the page after the midpoint of another worker's range. If it has keys, the two share the range; if not, the range ends at
//! the midpoint, and the next guess is better.

mod midpoint;

use serde::{Deserialize, Serialize};

use self::midpoint::{KeyModel, past_first_mark};

/// A range with fewer pages than this before it is not worth cutting.
const WORTH: f64 = 2.0;
/// Most concurrent attempts to split a range, for each page that it is known to have.
const PROBES: u32 = 8;
/// Estimates may be wrong: after this many pages since the last probe, a range is split in any case.
const LOOK_AGAIN: u32 = 4;

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
    /// Ask for the page after `midpoint`, to cut this range in two.
    Probe {
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

/// Result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// The keys after the middle are a range of their own now, and the page that was asked for is its first.
    Taken(u64),
    /// There are no keys after the midpoint, or another worker has passed it; the page is discarded.
    Nothing,
}

/// Part of a page that counts, and where to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
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
    pages_since_look: u32,
    /// Number of guesses at the end of an unbounded range.
    guesses: u32,
    held: bool,
    /// Midpoints for which other workers await a page.
    probes: Vec<String>,
    /// No key to split the range at, until more of it is listed.
    no_room: bool,
}

/// The ranges of one bucket that are not listed to their end.
#[derive(Debug, Default)]
pub struct Ranges {
    open: Vec<Range>,
    alphabet: KeyModel,
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

    /// All keys, cut before each of these, which are in order.
    #[must_use]
    pub fn cut_at(points: &[String]) -> Self {
        let ends = points.iter().cloned().map(Some).chain([None]);
        let starts = [None].into_iter().chain(points.iter().cloned().map(Some));
        let mut ranges = Self::of(
            starts
                .zip(ends)
                .map(|(after, until)| RemainingRange { after, until }),
        );
        points
            .iter()
            .for_each(|point| ranges.alphabet.observe(point));
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
        if let Some(range) = self.open.iter_mut().find(|range| !range.held) {
            range.held = true;
            return Job::List {
                range: range.id,
                after: range.after.clone(),
            };
        }
        if self.open.is_empty() {
            return Job::Done;
        }
        loop {
            let alphabet = &self.alphabet;
            let worth = |range: &Range| {
                let worth = worth_cutting(range, alphabet)?;
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
                range.pages_since_look = 0;
                if let Some(midpoint) = guess(range, &self.alphabet) {
                    range.probes.push(midpoint.clone());
                    range.guesses += 1;
                    return Job::Probe {
                        range: id,
                        midpoint,
                    };
                }
                range.no_room = true;
            }
        }
    }

    /// Takes note of a page of a range: its last key, and whether there are keys after that. Called before the page is counted.
    pub fn advance(&mut self, id: u64, last: Option<&str>, truncated: bool) -> Option<Step> {
        let place = self.open.iter().position(|range| range.id == id)?;
        let range = &mut self.open[place];
        let until = range.until.clone();
        let reached = last.is_none_or(|last| until.as_deref().is_some_and(|until| last >= until));
        let done = !truncated || reached;
        if done {
            self.open.swap_remove(place);
        } else {
            range.after = last.map(str::to_owned);
            range.pages += 1;
            range.pages_since_look += 1;
            range.no_room = false;
        }
        last.inspect(|last| self.alphabet.observe(last));
        Some(Step { until, done })
    }

    /// Takes note of the page after the middle of a range: its first key.
    pub fn settle(&mut self, id: u64, midpoint: &str, first: Option<&str>) -> ProbeResult {
        if let Some(range) = self.open.iter_mut().find(|range| range.id == id) {
            range.probes.retain(|probe| probe != midpoint);
        }
        // Another worker may have split this range since the midpoint was computed. That is harmless: a range may be split at any key.
        let holds = |range: &&mut Range| {
            let begun = range.after.as_deref().is_none_or(|after| after < midpoint);
            begun && range.until.as_deref().is_none_or(|until| midpoint < until)
        };
        let Some(range) = self.open.iter_mut().find(holds) else {
            return ProbeResult::Nothing;
        };
        let guesses = range.guesses;
        let until = range.until.replace(midpoint.to_owned());
        let empty = first.is_none_or(|first| until.as_deref().is_some_and(|until| first > until));
        if empty {
            return ProbeResult::Nothing;
        }
        let taken = self.open(Some(midpoint.to_owned()), until);
        if let Some(range) = self.open.last_mut() {
            range.held = true;
            range.guesses = guesses;
        }
        ProbeResult::Taken(taken)
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
            pages_since_look: 0,
            guesses: 0,
            held: false,
            probes: Vec::new(),
            no_room: false,
        });
        id
    }
}

/// Estimated pages per worker of a range; `None` if splitting is not worth it.
fn worth_cutting(range: &Range, alphabet: &KeyModel) -> Option<f64> {
    let probes = u32::try_from(range.probes.len()).unwrap_or(u32::MAX);
    if range.no_room || probes >= PROBES.saturating_mul(range.pages) {
        return None;
    }
    let left = pages_left(range, alphabet) / f64::from(probes + 1);
    (left >= WORTH || range.pages_since_look >= LOOK_AGAIN).then_some(left)
}

/// Estimated pages left in a range, assuming the key density observed so far; infinite for an unbounded range.
fn pages_left(range: &Range, alphabet: &KeyModel) -> f64 {
    let Some(until) = &range.until else {
        return f64::MAX;
    };
    let start = range.start.as_deref().unwrap_or_default();
    let after = range.after.as_deref().unwrap_or_default();
    match alphabet.progress(start, after, until) {
        Some(progress) if progress > 0.0 => f64::from(range.pages) * (1.0 - progress) / progress,
        _ => f64::from(range.pages),
    }
}

/// Key at which to split a range: the middle of the widest gap between the midpoints that are being probed.
fn guess(range: &Range, alphabet: &KeyModel) -> Option<String> {
    let after = range.after.as_deref().unwrap_or_default();
    if range.until.is_none() && range.guesses == 0 {
        let past = past_first_mark(after).filter(|past| past.as_str() > after);
        return past.or_else(|| alphabet.midpoint(after, None));
    }
    // Midpoints outside the range, which was shortened meanwhile, are ignored.
    let inside =
        |probe: &&str| *probe > after && range.until.as_deref().is_none_or(|until| *probe < until);
    let mut tried: Vec<&str> = range
        .probes
        .iter()
        .map(String::as_str)
        .filter(inside)
        .collect();
    tried.sort_unstable();
    alphabet.middle_of_widest(after, &tried, range.until.as_deref())
}
