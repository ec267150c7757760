//! Documents shaped like aesthetic.computer's: the seed report's 38 collections with its document counts and roughly its sizes.
//!
//! The same seed, scale and time generate the same documents, so that a test can generate them again and count. All people are fictional.

mod chat;
mod content;
mod logs;
mod objects;
mod people;
mod social;
mod words;

use jiff::Timestamp;
use mongodb::Database;
use mongodb::bson::{DateTime, Document, doc};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use sha2::{Digest, Sha256};

pub use content::KeepsTruth;
pub use objects::{BUCKETS, DemoObject};

/// Documents per insert.
const BATCH: usize = 1000;
/// Most bytes per insert.
const BATCH_BYTES: usize = 8_000_000;

/// The demo data of one seed, scale and time.
#[derive(Clone, Debug)]
pub struct Demo {
    seed: u64,
    scale: f64,
    now: Timestamp,
}

/// One collection of it.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Name of the collection.
    pub name: &'static str,
    /// Number of documents at scale 1: the seed report's count, or a share of its group's.
    documents: usize,
    /// Indexes besides `_id_`.
    pub indexes: &'static [Index],
    make: fn(&mut Maker<'_>) -> Document,
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

const fn index(keys: &'static [(&'static str, i32)]) -> Index {
    Index {
        name: None,
        keys,
        unique: false,
        sparse: false,
    }
}

impl Index {
    const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    const fn sparse(mut self) -> Self {
        self.sparse = true;
        self
    }

    const fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// The name it has in the database.
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

    fn command(&self) -> Document {
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
pub(crate) struct Maker<'a> {
    demo: &'a Demo,
    /// Index of the document in the collection, from 0.
    at: usize,
    /// Number of documents in the collection.
    of: usize,
    rng: SmallRng,
}

impl Demo {
    /// Demo data as of `now`. `scale` 1 is the seed report's size.
    #[must_use]
    pub fn new(seed: u64, scale: f64, now: Timestamp) -> Self {
        Self { seed, scale, now }
    }

    /// All collections.
    pub fn plans() -> impl Iterator<Item = &'static Plan> {
        [
            people::PLANS,
            content::PLANS,
            chat::PLANS,
            logs::PLANS,
            social::PLANS,
        ]
        .into_iter()
        .flatten()
    }

    /// Number of documents in a collection.
    #[must_use]
    pub fn count(&self, plan: &Plan) -> usize {
        scaled(plan.documents, self.scale)
    }

    /// The documents of a collection, made as they are asked for.
    pub fn documents<'a>(&'a self, plan: &'static Plan) -> impl Iterator<Item = Document> + 'a {
        let of = self.count(plan);
        (0..of).map(move |at| {
            let rng = SmallRng::seed_from_u64(self.number(plan.name, at));
            (plan.make)(&mut Maker {
                demo: self,
                at,
                of,
                rng,
            })
        })
    }

    /// Number of pieces by keep status, as generated.
    #[must_use]
    pub fn keeps(&self) -> KeepsTruth {
        content::keeps(self)
    }

    /// Puts all of it into a database. `progress` hears each collection's name, how many of its documents are in, and of how many.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn load(
        &self,
        database: &Database,
        mut progress: impl FnMut(&str, usize, usize),
    ) -> mongodb::error::Result<()> {
        for plan in Self::plans() {
            self.load_one(database, plan, &mut progress).await?;
        }
        Ok(())
    }

    async fn load_one(
        &self,
        database: &Database,
        plan: &'static Plan,
        progress: &mut impl FnMut(&str, usize, usize),
    ) -> mongodb::error::Result<()> {
        let (of, mut done) = (self.count(plan), 0);
        let mut documents = self.documents(plan).peekable();
        while documents.peek().is_some() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while batch.len() < BATCH && bytes < BATCH_BYTES {
                let Some(document) = documents.next() else {
                    break;
                };
                bytes += size(&document);
                batch.push(document);
            }
            done += batch.len();
            database
                .collection::<Document>(plan.name)
                .insert_many(batch)
                .ordered(false)
                .await?;
            progress(plan.name, done, of);
        }
        if !plan.indexes.is_empty() {
            let indexes: Vec<_> = plan.indexes.iter().map(Index::command).collect();
            database
                .run_command(doc! { "createIndexes": plan.name, "indexes": indexes })
                .await?;
        }
        Ok(())
    }

    /// A number that depends on the seed, a name and a place, and on nothing else.
    fn number(&self, name: &str, at: usize) -> u64 {
        let digest = self.digest(name, at);
        u64::from_le_bytes([
            digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
        ])
    }

    fn digest(&self, name: &str, at: usize) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.seed.to_le_bytes())
            .chain_update(name)
            .chain_update(at.to_le_bytes())
            .finalize()
            .into()
    }

    /// A time `minutes` before this data's now.
    fn ago(&self, minutes: i64) -> DateTime {
        DateTime::from_millis(self.now.as_millisecond() - minutes * 60_000)
    }
}

/// The bytes of a document as BSON.
#[must_use]
pub fn size(document: &Document) -> usize {
    document.to_vec().map_or(0, |bytes| bytes.len())
}

/// At least one, so that no kind of thing vanishes at a small scale.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "demo counts are small"
)]
fn scaled(count: usize, scale: f64) -> usize {
    ((count as f64 * scale).round() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_report_s_collections_and_counts() {
        let demo = Demo::new(1, 1.0, Timestamp::UNIX_EPOCH);
        let plans: Vec<_> = Demo::plans().collect();
        assert_eq!(plans.len(), 38);
        let of = |names: &[&str]| {
            plans
                .iter()
                .filter(|plan| names.contains(&plan.name))
                .map(|plan| demo.count(plan))
                .sum::<usize>()
        };
        assert_eq!(
            of(&[
                "boots",
                "logs",
                "bundle-telemetry",
                "oven-grabs",
                "oven-bakes",
                "oven-cache"
            ]),
            60_225
        );
        assert_eq!(
            of(&["kidlisp", "paintings", "pieces", "moods", "tapes", "clocks"]),
            22_083
        );
        assert_eq!(
            of(&["users", "@handles", "verifications", "secrets"]),
            10_872
        );
        assert_eq!(
            plans
                .iter()
                .filter(|plan| plan.name.starts_with("chat-"))
                .map(|plan| demo.count(plan))
                .sum::<usize>(),
            31_612
        );
        assert_eq!(
            plans.iter().map(|plan| demo.count(plan)).sum::<usize>(),
            60_225 + 22_083 + 10_872 + 31_612 + 4_284
        );
    }

    #[test]
    fn the_same_seed_makes_the_same_documents_and_another_makes_others() {
        let plan = Demo::plans().find(|plan| plan.name == "boots").unwrap();
        let of = |seed| {
            Demo::new(seed, 0.01, Timestamp::UNIX_EPOCH)
                .documents(plan)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn boots_are_most_of_the_bytes_as_the_seed_report_says() {
        let demo = Demo::new(1, 0.05, Timestamp::UNIX_EPOCH);
        let bytes = |plan| {
            demo.documents(plan)
                .map(|document| size(&document))
                .sum::<usize>()
        };
        let total: usize = Demo::plans().map(bytes).sum();
        let boots: usize = Demo::plans()
            .filter(|plan| plan.name == "boots")
            .map(bytes)
            .sum();
        let share = boots * 100 / total;
        assert!(
            (70..=85).contains(&share),
            "boots are {share} percent of {total} bytes"
        );
        assert!(
            (110_000_000..=190_000_000).contains(&(total * 20)),
            "{} bytes at scale 1",
            total * 20
        );
    }
}
