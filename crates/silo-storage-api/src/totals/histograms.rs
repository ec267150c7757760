//! Sums by size and by age.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Sum;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Upper bounds of the sizes, in bytes; the last class has the rest.
const SIZES: [u64; 7] = [
    KIB,
    16 * KIB,
    128 * KIB,
    MIB,
    16 * MIB,
    128 * MIB,
    1024 * MIB,
];
/// Upper bounds of the ages, in days; the last class has the rest.
const DAYS: [i64; 6] = [1, 7, 30, 90, 365, 3 * 365];

/// Objects of one class of sizes or ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Class {
    /// Upper bound, not included: bytes for sizes, days for ages; `null` for the last class, which has the rest.
    pub below: Option<u64>,
    /// Number of objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Sums by size of the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes([Sum; SIZES.len() + 1]);

impl Sizes {
    /// Adds one object.
    pub(super) fn add(&mut self, one: Sum) {
        self.0[SIZES.partition_point(|bound| *bound <= one.bytes)].add(one);
    }

    /// All classes, the smallest first.
    pub fn classes(&self) -> impl Iterator<Item = Class> + '_ {
        let bounds = SIZES.into_iter().map(Some).chain([None]);
        bounds.zip(self.0).map(class)
    }
}

/// Sums by age of the objects at the beginning of the scan. Objects without a time, and those of the future, are in none of the classes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ages {
    at: Timestamp,
    sums: [Sum; DAYS.len() + 1],
}

impl Ages {
    /// Nothing yet; ages are counted from `at`.
    pub(super) fn at(at: Timestamp) -> Self {
        let sums = Default::default();
        Self { at, sums }
    }

    /// Adds one object. Objects written during the scan count as new.
    pub(super) fn add(&mut self, modified: Option<Timestamp>, one: Sum) {
        let Some(modified) = modified else { return };
        let age = self.at.duration_since(modified).max(SignedDuration::ZERO);
        let days = age.as_hours() / 24;
        self.sums[DAYS.partition_point(|bound| *bound <= days)].add(one);
    }

    /// All classes, the youngest first.
    pub fn classes(&self) -> impl Iterator<Item = Class> + '_ {
        let bounds = DAYS.into_iter().map(i64::unsigned_abs).map(Some);
        bounds.chain([None]).zip(self.sums).map(class)
    }
}

fn class((below, sum): (Option<u64>, Sum)) -> Class {
    Class {
        below,
        objects: sum.objects,
        bytes: sum.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(classes: impl Iterator<Item = Class>) -> Vec<(Option<u64>, u64)> {
        let counted = classes.filter(|class| class.objects > 0);
        counted.map(|class| (class.below, class.objects)).collect()
    }

    #[test]
    fn bounds_belong_to_the_next_class() {
        let mut sizes = Sizes::default();
        for bytes in [0, KIB - 1, KIB, 2048 * MIB] {
            sizes.add(Sum { objects: 1, bytes });
        }
        assert_eq!(
            objects(sizes.classes()),
            [(Some(KIB), 2), (Some(16 * KIB), 1), (None, 1)]
        );
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let mut ages = Ages::at(now);
        for hours in [-5, 0, 23, 24, 24 * 365 * 5] {
            let modified = now - SignedDuration::from_hours(hours);
            ages.add(
                Some(modified),
                Sum {
                    objects: 1,
                    bytes: 1,
                },
            );
        }
        ages.add(
            None,
            Sum {
                objects: 1,
                bytes: 1,
            },
        );
        assert_eq!(
            objects(ages.classes()),
            [(Some(1), 3), (Some(7), 1), (None, 1)]
        );
    }
}
