//! Share of content that is synced to the AT-protocol network, according to the database.

use jiff::Timestamp;
use serde::Serialize;
use silo_core::units::{double, round};
use silo_mongo::error::DatabaseError;
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::gateway::{Gateway, SyncCounts, source_error};

/// The collections that AC syncs.
pub const SYNCED: [&str; 6] = [
    "paintings",
    "moods",
    "pieces",
    "kidlisp",
    "tapes",
    "news-posts",
];

/// All synced collections.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Atproto {
    /// Each of them.
    pub collections: Vec<SyncedCollection>,
}

/// One synced collection.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncedCollection {
    /// The collection.
    pub name: &'static str,
    /// All its documents.
    pub documents: Option<u64>,
    /// Documents that must not be synced: nuked, deleted, or imported from Bluesky.
    pub excluded: Option<u64>,
    /// Other documents with a record key.
    pub with_rkey: Option<u64>,
    /// Other documents without a record key.
    pub without_rkey: Option<u64>,
    /// Share of documents to be synced that have a record key: `withRkey / (withRkey + withoutRkey)`, in percent.
    pub percent: Option<f64>,
    /// The time of the newest document that should have a record key and has none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub newest_unsynced: Option<Timestamp>,
}

/// Counts each collection in one pass.
pub async fn measure(gateway: Gateway) -> Result<Measured<Atproto>, SourceError> {
    let (mut collections, mut errors) = (Vec::new(), Vec::new());
    for name in SYNCED {
        match gateway.count_synced(name).await {
            Ok(counts) => collections.push(synced(name, &counts)),
            Err(error)
                if error.is_without_server() || error == DatabaseError::AuthenticationFailed =>
            {
                return Err(source_error("mongod", error));
            }
            Err(error) => {
                errors.push(source_error(format!("collection {name}"), error));
                collections.push(unknown(name));
            }
        }
    }
    Ok(Measured {
        value: Atproto { collections },
        errors,
    })
}

fn synced(name: &'static str, counts: &SyncCounts) -> SyncedCollection {
    let eligible = counts.documents.saturating_sub(counts.excluded);
    SyncedCollection {
        name,
        documents: Some(counts.documents),
        excluded: Some(counts.excluded),
        with_rkey: Some(counts.synced),
        without_rkey: Some(eligible.saturating_sub(counts.synced)),
        percent: (eligible > 0).then(|| round(100.0 * double(counts.synced) / double(eligible), 1)),
        newest_unsynced: counts.newest_unsynced,
    }
}

fn unknown(name: &'static str) -> SyncedCollection {
    SyncedCollection {
        name,
        documents: None,
        excluded: None,
        with_rkey: None,
        without_rkey: None,
        percent: None,
        newest_unsynced: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_refers_to_documents_to_be_synced() {
        let counts = SyncCounts {
            documents: 12,
            excluded: 2,
            synced: 9,
            newest_unsynced: None,
        };
        let row = synced("moods", &counts);
        assert_eq!((row.without_rkey, row.percent), (Some(1), Some(90.0)));
        assert_eq!(synced("moods", &SyncCounts::default()).percent, None);
    }
}
