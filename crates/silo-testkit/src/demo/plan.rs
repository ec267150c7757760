//! Demo data of a seed: plans of collections, and generators of their documents.

use jiff::Timestamp;
use mongodb::bson::{DateTime, Document, doc};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use sha2::{Digest, Sha256};

/// The demo data of one seed, scale and time.
#[derive(Clone, Debug)]
pub struct Demo {
    pub(super) seed: u64,
    pub(super) scale: f64,
    pub(super) now: Timestamp,
}

/// Plan of one collection.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Name of the collection.
    pub name: &'static str,
    /// Number of documents at scale 1: the seed report's count, or a share of its group's.
    pub(super) documents: usize,
    /// Indexes besides `_id_`.
    pub indexes: &'static [Index],
    pub(super) make: fn(&mut DocumentGenerator<'_>) -> Document,
}

/// An index.
#[derive(Clone, Copy, Debug)]
pub struct Index {
    /// Name of the index; by default MongoDB's own.
    pub name: Option<&'static str>,
    /// Keys of the index.
    pub keys: &'static [(&'static str, i32)],
    /// `true` for a unique index.
    pub unique: bool,
    /// `true` for a sparse index.
    pub sparse: bool,
}

pub(super) const fn index(keys: &'static [(&'static str, i32)]) -> Index {
    Index {
        name: None,
        keys,
        unique: false,
        sparse: false,
    }
}

impl Index {
    pub(super) const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    pub(super) const fn sparse(mut self) -> Self {
        self.sparse = true;
        self
    }

    pub(super) const fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Name of the index in the database.
    #[must_use]
    pub fn database_name(&self) -> String {
        let own = || {
            self.keys
                .iter()
                .map(|(key, direction)| format!("{key}_{direction}"))
                .collect::<Vec<_>>()
                .join("_")
        };
        self.name.map_or_else(own, str::to_owned)
    }

    pub(super) fn command(&self) -> Document {
        let keys: Document = self
            .keys
            .iter()
            .map(|(key, direction)| ((*key).to_owned(), (*direction).into()))
            .collect();
        let mut command = doc! { "key": keys, "name": self.database_name() };
        if self.unique {
            command.insert("unique", true);
        }
        if self.sparse {
            command.insert("sparse", true);
        }
        command
    }
}

/// Generator of one document.
pub(crate) struct DocumentGenerator<'a> {
    pub(super) demo: &'a Demo,
    /// Index of the document in the collection, from 0.
    pub(super) at: usize,
    /// Number of documents in the collection.
    pub(super) of: usize,
    pub(super) rng: SmallRng,
}

impl Demo {
    /// Demo data as of `now`. `scale` 1 is the seed report's size.
    #[must_use]
    pub fn new(seed: u64, scale: f64, now: Timestamp) -> Self {
        Self { seed, scale, now }
    }

    /// Number of documents in a collection.
    #[must_use]
    pub fn count(&self, plan: &Plan) -> usize {
        scaled(plan.documents, self.scale)
    }

    /// Documents of a collection, generated lazily.
    pub fn documents<'a>(&'a self, plan: &'static Plan) -> impl Iterator<Item = Document> + 'a {
        let of = self.count(plan);
        (0..of).map(move |at| {
            let rng = SmallRng::seed_from_u64(self.number(plan.name, at));
            (plan.make)(&mut DocumentGenerator {
                demo: self,
                at,
                of,
                rng,
            })
        })
    }

    /// Pseudo-random number of a seed, name and position.
    pub(super) fn number(&self, name: &str, at: usize) -> u64 {
        let digest = self.digest(name, at);
        u64::from_le_bytes([
            digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
        ])
    }

    pub(super) fn digest(&self, name: &str, at: usize) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.seed.to_le_bytes())
            .chain_update(name)
            .chain_update(at.to_le_bytes())
            .finalize()
            .into()
    }

    /// Time `minutes` before the data's present.
    pub(super) fn ago(&self, minutes: i64) -> DateTime {
        DateTime::from_millis(self.now.as_millisecond() - minutes * 60_000)
    }
}

/// Scaled count, at least one, so that nothing vanishes at a small scale.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "demo counts are small"
)]
pub(super) fn scaled(count: usize, scale: f64) -> usize {
    ((count as f64 * scale).round() as usize).max(1)
}
