//! Sums over objects: each object is added and forgotten, so memory grows with owners and not with objects.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use silo_spaces::page::Object;
use utoipa::ToSchema;

use crate::owners::{Kind, Layout, Owner};

mod histograms;
mod prefixes;

pub use histograms::{Ages, Class, Sizes};
pub use prefixes::{Prefix, Prefixes};

/// Largest objects of an owner that are kept by key.
const LARGEST: usize = 5;
/// Storage classes that are kept apart; a storage that invents more has the rest under one name.
const CLASSES: usize = 16;

/// Objects and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sum {
    /// Number of objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Sum {
    /// Adds some.
    pub fn add(&mut self, other: Self) {
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A sum for each kind, by [`Kind::number`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds([Sum; Kind::ALL.len()]);

impl Kinds {
    fn add(&mut self, kind: Kind, sum: Sum) {
        self.0[kind.number()].add(sum);
    }

    /// Adds all of another.
    pub fn add_all(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            mine.add(theirs);
        }
    }

    /// The kinds of which there are any.
    pub fn present(&self) -> impl Iterator<Item = (Kind, Sum)> + '_ {
        let all = Kind::ALL.into_iter().zip(self.0);
        all.filter(|(_, sum)| sum.objects > 0)
    }

    /// All kinds together.
    #[must_use]
    pub fn sum(&self) -> Sum {
        let mut all = Sum::default();
        self.0.iter().for_each(|sum| all.add(*sum));
        all
    }
}

/// One owner's share of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// By kind.
    pub kinds: Kinds,
    /// The largest objects, the largest first: bytes and key.
    pub largest: Vec<(u64, String)>,
}

impl Share {
    fn add(&mut self, kind: Kind, bytes: u64, key: &str) {
        self.kinds.add(kind, Sum { objects: 1, bytes });
        let least = self.largest.last().map_or(0, |(bytes, _)| *bytes);
        if self.largest.len() < LARGEST || bytes > least {
            let place = self.largest.partition_point(|(other, _)| *other >= bytes);
            self.largest.insert(place, (bytes, key.to_owned()));
            self.largest.truncate(LARGEST);
        }
    }
}

/// Object of a tape whose owner is not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tape {
    /// The tape's code.
    pub code: String,
    kind: Kind,
    bytes: u64,
    key: String,
}

/// Totals of a bucket's objects, or of the part listed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All objects.
    pub all: Sum,
    /// When the newest was written.
    pub newest: Option<Timestamp>,
    /// By size.
    #[serde(default)]
    pub sizes: Sizes,
    /// By age at the beginning of the scan.
    #[serde(default)]
    pub ages: Ages,
    /// By folder, the largest.
    #[serde(default)]
    pub prefixes: Prefixes,
    /// By kind.
    pub kinds: Kinds,
    /// Sums by storage class; `unknown` if the storage reports none.
    pub classes: BTreeMap<String, Sum>,
    /// By owner's sub.
    pub owners: HashMap<String, Share>,
    /// Objects without an owner.
    pub unattributed: Sum,
    /// Tapes of owners that are being asked for; counted in everything above but the owners.
    pub tapes: Vec<Tape>,
}

impl Totals {
    /// Nothing yet, of a scan that began at a time.
    #[must_use]
    pub fn new(begun: Timestamp) -> Self {
        Self {
            ages: Ages::at(begun),
            ..Self::default()
        }
    }

    /// Adds one object.
    pub fn add(&mut self, layout: Layout, object: &Object<'_>) {
        let place = layout.place(object.key);
        let bytes = object.bytes;
        let one = Sum { objects: 1, bytes };
        self.all.add(one);
        self.kinds.add(place.kind, one);
        self.newest = self.newest.max(object.modified);
        self.sizes.add(one);
        self.ages.add(object.modified, one);
        self.prefixes.add(object.key, one);
        self.add_class(object.class, one);
        match place.owner {
            Owner::Sub(sub) => self.owned(sub, place.kind, bytes, object.key),
            Owner::Nobody => self.unattributed.add(one),
            Owner::Tape(code) => self.tapes.push(Tape {
                code: code.to_owned(),
                kind: place.kind,
                bytes,
                key: object.key.to_owned(),
            }),
        }
    }

    /// Attributes the first `count` tapes to their owners; tapes of unknown owners stay without one.
    pub fn attribute(&mut self, count: usize, owner: impl Fn(&str) -> Option<String>) {
        let count = count.min(self.tapes.len());
        for tape in self.tapes.drain(..count).collect::<Vec<_>>() {
            match owner(&tape.code) {
                Some(sub) => self.owned(&sub, tape.kind, tape.bytes, &tape.key),
                None => self.unattributed.add(Sum {
                    objects: 1,
                    bytes: tape.bytes,
                }),
            }
        }
    }

    fn owned(&mut self, sub: &str, kind: Kind, bytes: u64, key: &str) {
        // Some keys were percent-encoded twice; they belong to the same user.
        let plain = sub.contains("%7C").then(|| sub.replace("%7C", "|"));
        let sub = plain.as_deref().unwrap_or(sub);
        if let Some(share) = self.owners.get_mut(sub) {
            share.add(kind, bytes, key);
        } else {
            let mut share = Share::default();
            share.add(kind, bytes, key);
            self.owners.insert(sub.to_owned(), share);
        }
    }

    fn add_class(&mut self, class: &str, one: Sum) {
        let class = if class.is_empty() { "unknown" } else { class };
        if let Some(sum) = self.classes.get_mut(class) {
            return sum.add(one);
        }
        let class = if self.classes.len() < CLASSES {
            class
        } else {
            "other"
        };
        self.classes.entry(class.to_owned()).or_default().add(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, bytes: u64) -> Object<'_> {
        Object {
            key,
            bytes,
            modified: None,
            class: "STANDARD",
        }
    }

    #[test]
    fn owned_and_unattributed_objects_add_up_to_the_total() {
        let mut totals = Totals::default();
        for (key, bytes) in [
            ("auth0|a/painting/1.png", 10),
            ("auth0|a/x.zip", 20),
            ("auth0%7Ca/y.zip", 5),
            ("legacy.png", 40),
        ] {
            totals.add(Layout::Users, &object(key, bytes));
        }
        assert_eq!(
            totals.all,
            Sum {
                objects: 4,
                bytes: 75
            }
        );
        assert_eq!(
            totals.owners["auth0|a"].kinds.sum(),
            Sum {
                objects: 3,
                bytes: 35
            }
        );
        assert_eq!(
            totals.unattributed,
            Sum {
                objects: 1,
                bytes: 40
            }
        );
        assert_eq!(totals.kinds.sum(), totals.all);
        assert_eq!(totals.classes["STANDARD"], totals.all);
    }

    #[test]
    fn tapes_are_attributed_after_the_lookup() {
        let mut totals = Totals::default();
        for key in ["tapes/a.mp4", "tapes/b.mp4", "tapes/c.mp4"] {
            totals.add(Layout::Tapes, &object(key, 7));
        }
        totals.attribute(2, |code| (code == "a").then(|| "auth0|x".into()));
        assert_eq!(totals.owners["auth0|x"].kinds.sum().bytes, 7);
        assert_eq!(
            (
                totals.unattributed.bytes,
                totals.tapes.len(),
                totals.all.bytes
            ),
            (7, 1, 21)
        );
    }

    #[test]
    fn the_largest_are_kept_in_order() {
        let mut share = Share::default();
        for bytes in [3, 9, 1, 7, 5, 8, 2, 9] {
            share.add(Kind::Other, bytes, "k");
        }
        let kept: Vec<_> = share.largest.iter().map(|(bytes, _)| *bytes).collect();
        assert_eq!(kept, [9, 9, 8, 7, 5]);
    }

    #[test]
    fn a_storage_that_invents_classes_does_not_fill_memory() {
        let mut totals = Totals::default();
        for at in 0..1000 {
            let class = format!("C{at}");
            totals.add(
                Layout::Plain,
                &Object {
                    class: &class,
                    ..object("k", 1)
                },
            );
        }
        assert_eq!(totals.classes.len(), CLASSES + 1);
        assert_eq!(
            totals.classes.values().map(|sum| sum.objects).sum::<u64>(),
            1000
        );
    }
}
