//! Number of documents of a collection with an AT-protocol record key.

use jiff::Timestamp;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, doc};

use super::Gateway;

/// One collection's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncCounts {
    /// All documents.
    pub documents: u64,
    /// Documents that cannot or must not be synced.
    pub excluded: u64,
    /// Other documents with a record key.
    pub synced: u64,
    /// The time of the newest of the rest without one.
    pub newest_unsynced: Option<Timestamp>,
}

impl Gateway {
    /// Counts one collection in one pass.
    ///
    /// Excluded (domain facts, section 1.5): nuked media, deleted moods, and news imported from Bluesky, whose record key belongs to another
    /// repository.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn count_synced(&self, collection: &str) -> Result<SyncCounts, DatabaseError> {
        let excluded = doc! { "$or": [
            { "$eq": ["$nuked", true] }, { "$eq": ["$deleted", true] }, { "$eq": ["$external.source", "bsky"] },
        ] };
        let has_key = doc! { "$ne": [{ "$type": "$atproto.rkey" }, "missing"] };
        let tally = |condition: Bson| doc! { "$sum": { "$cond": [condition, 1, 0] } };
        let kept =
            |key: Bson| Bson::Document(doc! { "$and": [{ "$not": [excluded.clone()] }, key] });
        let unsynced = kept(Bson::Document(doc! { "$not": [has_key.clone()] }));
        let group = doc! { "$group": {
            "_id": Bson::Null,
            "documents": { "$sum": 1 },
            "excluded": tally(Bson::Document(excluded.clone())),
            "synced": tally(kept(Bson::Document(has_key))),
            "newestUnsynced": { "$max": { "$cond": [unsynced, "$when", Bson::Null] } },
        } };
        let groups = self.aggregate_all(collection, vec![group]).await?;
        let Some(group) = groups.first() else {
            return Ok(SyncCounts::default());
        };
        let count = |path: &str| field::count(group, path).ok_or(DatabaseError::Unreadable);
        Ok(SyncCounts {
            documents: count("documents")?,
            excluded: count("excluded")?,
            synced: count("synced")?,
            newest_unsynced: field::time(group, "newestUnsynced"),
        })
    }
}
