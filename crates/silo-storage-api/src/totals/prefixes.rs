//! The largest folders of a bucket, in bounded memory.
//!
//! Sums are kept for the first two levels of folders. When there are too many, the smaller half is dropped; a folder that comes again later starts from
//! zero, so its sum may be too low by what was dropped. That is bounded, and told: since listings are in the order of their keys, a folder comes again
//! only where two workers share it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Sum;

/// Most folders that are kept: some 400 KiB.
const MAX_PREFIXES: usize = 4096;
/// Levels of folders.
const LEVELS: usize = 2;

/// Sums by folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefixes {
    sums: HashMap<String, Sum>,
    /// No sum is too low by more than this many bytes.
    missing: u64,
}

/// A folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix<'a> {
    /// Beginning of the keys, with the `/` at its end.
    pub prefix: &'a str,
    /// Sum of its objects.
    pub sum: Sum,
}

impl Prefixes {
    /// Adds one object to its folders.
    pub(super) fn add(&mut self, key: &str, one: Sum) {
        for (end, _) in key.match_indices('/').take(LEVELS) {
            let prefix = &key[..=end];
            if let Some(sum) = self.sums.get_mut(prefix) {
                sum.add(one);
                continue;
            }
            if self.sums.len() >= MAX_PREFIXES {
                self.drop_smaller_half();
            }
            self.sums.insert(prefix.to_owned(), one);
        }
    }

    fn drop_smaller_half(&mut self) {
        let mut bytes: Vec<u64> = self.sums.values().map(|sum| sum.bytes).collect();
        let (_, median, _) = bytes.select_nth_unstable(MAX_PREFIXES / 2);
        let median = *median;
        self.sums.retain(|_, sum| sum.bytes > median);
        self.missing = self.missing.saturating_add(median);
    }

    /// The largest folders, at most `most`, the largest first.
    #[must_use]
    pub fn largest(&self, most: usize) -> Vec<Prefix<'_>> {
        let all = self.sums.iter().map(|(prefix, sum)| Prefix {
            prefix: prefix.as_str(),
            sum: *sum,
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a, b| {
            let larger = b.sum.bytes.cmp(&a.sum.bytes);
            larger.then_with(|| a.prefix.cmp(b.prefix))
        });
        all.truncate(most);
        all
    }

    /// No sum is too low by more than this many bytes; 0 if all are exact.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        self.missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: u64) -> Sum {
        Sum { objects: 1, bytes }
    }

    #[test]
    fn the_first_two_levels_are_summed() {
        let mut prefixes = Prefixes::default();
        for (key, bytes) in [("a/b/c/1", 5), ("a/b/2", 7), ("a/3", 1), ("4", 9)] {
            prefixes.add(key, one(bytes));
        }
        let largest = prefixes.largest(9);
        let found: Vec<_> = largest.iter().map(|it| (it.prefix, it.sum.bytes)).collect();
        assert_eq!(found, [("a/", 13), ("a/b/", 12)]);
        assert_eq!(prefixes.missing_bytes(), 0);
    }

    #[test]
    fn memory_is_bounded_and_the_error_is_told() {
        let mut prefixes = Prefixes::default();
        let mut truth = HashMap::<String, u64>::new();
        for at in 0..100_000_u64 {
            // A few large folders among many small ones.
            let folder = if at % 10 == 0 { at % 70 } else { at };
            let bytes = if at % 10 == 0 { 1_000 } else { at % 5 + 1 };
            prefixes.add(&format!("{folder}/x"), one(bytes));
            *truth.entry(format!("{folder}/")).or_default() += bytes;
            assert!(prefixes.sums.len() <= MAX_PREFIXES);
        }
        let missing = prefixes.missing_bytes();
        assert!(missing > 0);
        for found in prefixes.largest(7) {
            let real = truth[found.prefix];
            assert!(real > 1_000_000, "{found:?}");
            assert!(found.sum.bytes <= real && found.sum.bytes + missing >= real);
        }
    }
}
