//! Objects and bytes of each day, by bucket and kind, for 400 days, from which growth is computed.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::totals::{Kinds, Sum};

/// Days kept. The newest are kept by their number and not by their age, so that a clock that is wrong for a while removes one day and not all.
const DAYS: usize = 400;
/// For a day without a scan, the last one up to this many days earlier is used.
const GAP: i32 = 3;

/// The days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    days: BTreeMap<Date, BTreeMap<String, Kinds>>,
}

/// Growth over a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
pub struct Growth {
    /// Bytes more; fewer when negative.
    pub bytes: i64,
    /// Objects more; fewer when negative.
    pub objects: i64,
    /// Day of the earlier figures.
    #[schema(value_type = String, format = Date)]
    pub since: Date,
}

/// Bytes and objects of each day, up to the day of the last scan. `null` for a day that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct StorageHistory {
    /// The first day.
    #[schema(value_type = Option<String>, format = Date)]
    pub from: Option<Date>,
    /// Bytes of all buckets; `null` as well when one of them is not known.
    pub bytes: Vec<Option<u64>>,
    /// Objects of all buckets, likewise.
    pub objects: Vec<Option<u64>>,
    /// Each bucket.
    pub buckets: Vec<BucketHistory>,
}

/// Bytes of a bucket on each day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BucketHistory {
    /// Name of the bucket.
    pub name: String,
    /// Bytes on each day.
    pub bytes: Vec<Option<u64>>,
}

impl History {
    /// The last days of these buckets, from the first that is known on, at most `most`.
    #[must_use]
    pub fn days(&self, today: Date, most: i32, names: &[&str]) -> StorageHistory {
        let oldest = today.saturating_sub((most - 1).days());
        let mut known = self.days.range(oldest..=today);
        let Some((from, _)) = known.next() else {
            return StorageHistory::default();
        };
        let days: Vec<_> = from
            .series(1.day())
            .take_while(|day| *day <= today)
            .collect();
        let sum = |day: &Date, name: &str| Some(self.days.get(day)?.get(name)?.sum());
        let all = |day: &Date| {
            let sums = names.iter().map(|name| sum(day, name));
            sums.collect::<Option<Vec<_>>>().map(|sums| {
                let mut all = Sum::default();
                sums.into_iter().for_each(|sum| all.add(sum));
                all
            })
        };
        let totals: Vec<_> = days.iter().map(all).collect();
        let bucket = |name: &&str| BucketHistory {
            name: (*name).to_owned(),
            bytes: days.iter().map(|day| Some(sum(day, name)?.bytes)).collect(),
        };
        StorageHistory {
            from: Some(*from),
            bytes: totals.iter().map(|sum| Some(sum.as_ref()?.bytes)).collect(),
            objects: totals
                .iter()
                .map(|sum| Some(sum.as_ref()?.objects))
                .collect(),
            buckets: names.iter().map(bucket).collect(),
        }
    }

    /// Notes what a bucket holds on a day; the last scan of a day counts.
    pub fn note(&mut self, day: Date, bucket: &str, kinds: Kinds) {
        self.days
            .entry(day)
            .or_default()
            .insert(bucket.to_owned(), kinds);
        while self.days.len() > DAYS {
            // A day of the future is from a wrong clock; it goes first.
            let last = self.days.last_entry().filter(|last| *last.key() > day);
            let removed = last.map(|last| last.remove_entry());
            removed.or_else(|| self.days.pop_first());
        }
    }

    /// The first day there is anything from.
    #[must_use]
    pub fn first(&self) -> Option<Date> {
        self.days.keys().next().copied()
    }

    /// Growth of these buckets in the `days` before `today`; `None` if one of them is not known from then.
    #[must_use]
    pub fn growth(&self, today: Date, days: i32, buckets: &[(&str, Sum)]) -> Option<Growth> {
        let wanted = today.saturating_sub(days.days());
        let oldest = wanted.saturating_sub(GAP.days());
        let (since, then) = self.days.range(oldest..=wanted).next_back()?;
        let (mut before, mut now) = (Sum::default(), Sum::default());
        for (bucket, sum) in buckets {
            before.add(then.get(*bucket)?.sum());
            now.add(*sum);
        }
        let more = |now: u64, before: u64| i64::try_from(i128::from(now) - i128::from(before)).ok();
        Some(Growth {
            bytes: more(now.bytes, before.bytes)?,
            objects: more(now.objects, before.objects)?,
            since: *since,
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::owners::Layout;
    use crate::totals::Totals;

    fn kinds(bytes: u64) -> Kinds {
        let mut totals = Totals::default();
        let object = silo_spaces::page::Object {
            key: "k",
            bytes,
            modified: None,
            class: "",
        };
        totals.add(Layout::Plain, &object);
        totals.kinds
    }

    #[test]
    fn growth_refers_to_the_day_or_the_last_known_one_before() {
        let mut history = History::default();
        history.note(date(2026, 1, 1), "a", kinds(10));
        history.note(date(2026, 1, 1), "a", kinds(12));
        let today = date(2026, 1, 8);
        let now = [(
            "a",
            Sum {
                objects: 3,
                bytes: 5,
            },
        )];
        let week = history.growth(today, 7, &now).unwrap();
        assert_eq!(
            week,
            Growth {
                bytes: -7,
                objects: 2,
                since: date(2026, 1, 1)
            }
        );
        assert_eq!(
            history.growth(today, 4, &now).unwrap().since,
            date(2026, 1, 1),
            "three days without a scan"
        );
        assert_eq!(
            history.growth(today, 1, &now),
            None,
            "too long ago to be yesterday"
        );
        assert_eq!(
            history.growth(date(2026, 1, 7), 7, &now),
            None,
            "nothing is known from then"
        );
        let with_new = [now[0], ("b", Sum::default())];
        assert_eq!(
            history.growth(today, 7, &with_new),
            None,
            "the other bucket is not known from then"
        );
    }

    #[test]
    fn a_day_without_a_scan_is_not_known_and_neither_is_a_sum_with_a_part_missing() {
        let mut history = History::default();
        let today = date(2026, 1, 8);
        assert_eq!(history.days(today, 90, &["a"]), StorageHistory::default());
        history.note(date(2026, 1, 5), "a", kinds(10));
        history.note(date(2026, 1, 7), "a", kinds(12));
        history.note(date(2026, 1, 7), "b", kinds(3));
        history.note(date(2026, 1, 8), "gone", kinds(3));
        let days = history.days(today, 90, &["a", "b"]);
        assert_eq!(days.from, Some(date(2026, 1, 5)));
        assert_eq!(days.bytes, [None, None, Some(15), None]);
        assert_eq!(days.objects, [None, None, Some(2), None]);
        assert_eq!(days.buckets[0].bytes, [Some(10), None, Some(12), None]);
        let two = history.days(today, 2, &["a"]);
        assert_eq!(
            (two.from, two.bytes),
            (Some(date(2026, 1, 7)), vec![Some(12), None])
        );
    }

    #[test]
    fn no_more_than_400_days_are_kept() {
        let mut history = History::default();
        let mut day = date(2025, 1, 1);
        for _ in 0..500 {
            history.note(day, "a", kinds(1));
            day = day.tomorrow().unwrap();
        }
        assert_eq!(history.days.len(), 400);
        // A clock that is wrong for a day, in either way, takes nothing with it.
        let newest = day.yesterday().unwrap();
        for wrong in [date(1970, 1, 1), date(2031, 1, 1)] {
            history.note(wrong, "a", kinds(1));
            history.note(newest, "a", kinds(1));
        }
        assert_eq!(history.days.len(), 400);
        assert!(history.days.contains_key(&newest));
        let month_ago = newest.saturating_sub(30.days());
        assert!(history.days.contains_key(&month_ago));
        // Five buckets for 400 days stay small.
        let size = serde_json::to_vec(&history).unwrap().len();
        assert!(size * 5 < 5_000_000, "{size} bytes");
    }
}
