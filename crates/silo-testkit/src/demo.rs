//! Documents shaped like aesthetic.computer's: the seed report's 38 collections with its document counts and roughly its sizes.
//!
//! The same seed, scale and time generate the same documents, so that a test can generate them again and count. All people are fictional.

mod chat;
mod content;
mod logs;
mod objects;
mod people;
mod plan;
mod social;
mod words;

use mongodb::Database;
use mongodb::bson::{Document, doc};

pub use content::KeepsTruth;
pub use objects::{BUCKETS, DemoObject};
pub use plan::{Demo, Index, Plan};

/// Documents per insert.
const BATCH: usize = 1000;
/// Most bytes per insert.
const BATCH_BYTES: usize = 8_000_000;

impl Demo {
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

    /// Number of pieces by keep status, as generated.
    #[must_use]
    pub fn keeps(&self) -> KeepsTruth {
        content::keeps(self)
    }

    /// Loads all collections into a database. `progress` receives the collection's name, the number of inserted documents, and their total.
    ///
    /// # Errors
    /// The error of the server.
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
}

/// The bytes of a document as BSON.
#[must_use]
pub fn size(document: &Document) -> usize {
    document.to_vec().map_or(0, |bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

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
    fn equal_seeds_generate_equal_documents() {
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
    fn boots_are_most_of_the_bytes_as_in_the_seed_report() {
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
