//! Digests of documents: sums to find out whether collections are equal, and digests by `_id` to find out where they are not.

use mongodb::bson::RawDocument;
use sha2::{Digest, Sha256};

use super::id::{Id, Pair, hash};

/// The first half of a document's SHA-256.
fn digest(document: &RawDocument) -> u128 {
    let digest: [u8; 32] = Sha256::digest(document.as_bytes()).into();
    let half = digest.iter().take(16);
    half.fold(0, |digest, byte| (digest << 8) | u128::from(*byte))
}

/// Number of documents of a bucket, and the sum of their digests modulo 2^128.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    documents: u64,
    digests: u128,
}

impl Sum {
    fn add(&mut self, digest: u128) {
        self.documents += 1;
        self.digests = self.digests.wrapping_add(digest);
    }
}

/// Sums of a collection.
pub(super) struct Sums(Vec<Sum>);

impl Sums {
    /// Sums of no documents.
    pub(super) fn new(buckets: usize) -> Self {
        Self(vec![Sum::default(); buckets])
    }

    /// Adds a document.
    pub(super) fn add(&mut self, document: &RawDocument) {
        let bucket = bucket(hash(document), self.0.len());
        self.0[bucket].add(digest(document));
    }

    /// Number of documents.
    pub(super) fn documents(&self) -> u64 {
        self.0.iter().map(|sum| sum.documents).sum()
    }

    /// Buckets that differ, in groups with at most `most` documents per side (or of one bucket). Of each group, which buckets are in it.
    pub(super) fn differing(&self, other: &Self, most: u64) -> Vec<Vec<bool>> {
        let (mut groups, mut documents) = (Vec::<Vec<bool>>::new(), 0);
        for (bucket, (one, other)) in self.0.iter().zip(&other.0).enumerate() {
            if one == other {
                continue;
            }
            let more = one.documents.max(other.documents);
            documents += more;
            if groups.is_empty() || documents > most {
                groups.push(vec![false; self.0.len()]);
                documents = more;
            }
            if let Some(group) = groups.last_mut() {
                group[bucket] = true;
            }
        }
        groups
    }
}

fn bucket(hash: u64, buckets: usize) -> usize {
    let buckets = u64::try_from(buckets).unwrap_or(u64::MAX).max(1);
    usize::try_from(hash % buckets).unwrap_or_default()
}

/// A document of a bucket that differs.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: u64,
    id: Id,
    digest: u128,
}

/// Documents of some buckets.
pub(super) struct Located<'a> {
    wanted: &'a [bool],
    sums: Sums,
    entries: Vec<Entry>,
}

impl<'a> Located<'a> {
    /// Of these buckets.
    pub(super) fn new(wanted: &'a [bool]) -> Self {
        Self {
            wanted,
            sums: Sums::new(wanted.len()),
            entries: Vec::new(),
        }
    }

    /// Adds a document, if it is in one of the buckets.
    pub(super) fn add(&mut self, document: &RawDocument) {
        let hash = hash(document);
        let bucket = bucket(hash, self.wanted.len());
        if self.wanted[bucket] {
            let digest = digest(document);
            self.sums.0[bucket].add(digest);
            self.entries.push(Entry {
                hash,
                id: Id::of(document),
                digest,
            });
        }
    }

    /// `true` if these buckets were other ones in an earlier pass.
    pub(super) fn has_changed_since(&self, earlier: &Sums) -> bool {
        let mut buckets = self.wanted.iter().zip(self.sums.0.iter().zip(&earlier.0));
        buckets.any(|(wanted, (now, before))| *wanted && now != before)
    }

    /// `_id`s of the documents that differ.
    pub(super) fn differences(mut self, mut other: Self) -> Vec<Pair> {
        self.entries.sort_unstable();
        other.entries.sort_unstable();
        let (mut here, mut there) = (self.entries.as_slice(), other.entries.as_slice());
        let mut pairs = Vec::new();
        while let Some(hash) = [here.first(), there.first()]
            .into_iter()
            .flatten()
            .map(|it| it.hash)
            .min()
        {
            let (one, two) = (split(&mut here, hash), split(&mut there, hash));
            pair_up(one, two, &mut pairs);
        }
        pairs
    }
}

/// Pairs of documents with the same hash that differ: each of one side is equal to at most one of the other.
fn pair_up(one: &[Entry], two: &[Entry], pairs: &mut Vec<Pair>) {
    let mut here: Vec<&Entry> = one.iter().collect();
    let mut there: Vec<&Entry> = two.iter().collect();
    let mut match_up = |same: &dyn Fn(&Entry, &Entry) -> bool, pairs: Option<&mut Vec<Pair>>| {
        let mut matched = Vec::new();
        here.retain(|entry| {
            let Some(at) = there.iter().position(|other| same(entry, other)) else {
                return true;
            };
            matched.push([
                Some(entry.id.clone()),
                Some(there.swap_remove(at).id.clone()),
            ]);
            false
        });
        if let Some(pairs) = pairs {
            pairs.extend(matched);
        }
    };
    match_up(&|one, other| one == other, None);
    // The same `_id` with other contents; then the same number of another type.
    match_up(&|one, other| one.id == other.id, Some(&mut *pairs));
    match_up(&|_, _| true, Some(&mut *pairs));
    pairs.extend(here.into_iter().map(|entry| [Some(entry.id.clone()), None]));
    pairs.extend(
        there
            .into_iter()
            .map(|entry| [None, Some(entry.id.clone())]),
    );
}

/// Splits off the entries with this hash, which come first if there are any.
fn split<'e>(entries: &mut &'e [Entry], hash: u64) -> &'e [Entry] {
    let end = entries.partition_point(|entry| entry.hash <= hash);
    let (first, rest) = entries.split_at(end);
    *entries = rest;
    first
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawDocumentBuf, rawdoc};

    use super::*;

    fn compared(
        one: &[RawDocumentBuf],
        other: &[RawDocumentBuf],
        most: u64,
    ) -> (usize, Vec<[Option<String>; 2]>) {
        let sums = |documents: &[RawDocumentBuf]| {
            let mut sums = Sums::new(8);
            documents.iter().for_each(|document| sums.add(document));
            sums
        };
        let groups = sums(one).differing(&sums(other), most);
        let mut found = Vec::new();
        for group in &groups {
            let located = |documents: &[RawDocumentBuf]| {
                let mut located = Located::new(group);
                documents.iter().for_each(|document| located.add(document));
                located
            };
            let pairs = located(one).differences(located(other));
            found.extend(
                pairs
                    .into_iter()
                    .map(|pair| pair.map(|id| id.map(|id| id.text()))),
            );
        }
        found.sort();
        (groups.len(), found)
    }

    #[test]
    fn a_change_between_two_passes_is_noticed() {
        let mut documents: Vec<_> = (0..100).map(|at| rawdoc! { "_id": at, "x": 1 }).collect();
        let mut before = Sums::new(8);
        documents.iter().for_each(|document| before.add(document));
        let changed = |documents: &[RawDocumentBuf]| {
            let mut located = Located::new(&[true; 8]);
            documents.iter().for_each(|document| located.add(document));
            located.has_changed_since(&before)
        };
        assert!(!changed(&documents));
        documents[7] = rawdoc! { "_id": 7, "x": 2 };
        assert!(changed(&documents));
    }

    #[test]
    fn every_difference_is_located_whatever_the_order() {
        let one: Vec<_> = (0..100)
            .map(|at| rawdoc! { "_id": at, "x": at * 2 })
            .collect();
        let mut other = one.clone();
        other.reverse();
        assert_eq!(compared(&one, &other, 1000), (0, vec![]));
        other.retain(|document| document.get_i32("_id").unwrap() != 17);
        other[3] = rawdoc! { "_id": 96, "x": "changed" };
        other[5] = rawdoc! { "_id": 94_i64, "x": 188 };
        other.push(rawdoc! { "_id": "extra" });
        let (int, text) = (
            |number: i32| Some(format!(r#"{{"$numberInt":"{number}"}}"#)),
            Some("\"extra\"".to_owned()),
        );
        // A time series can have a document twice.
        let twice = [one[0].clone(), one[0].clone()];
        let (_, found) = compared(&twice[..1], &twice, 1000);
        assert_eq!(found, [[None, int(0)]]);
        let expected = vec![
            [None, text],
            [int(17), None],
            [int(94), Some(r#"{"$numberLong":"94"}"#.to_owned())],
            [int(96), int(96)],
        ];
        for most in [1, 20, 1000] {
            let (groups, found) = compared(&one, &other, most);
            assert_eq!(found, expected);
            assert_eq!(groups == 1, most == 1000, "{groups} groups");
        }
    }
}
