//! List of collections, and their `$collStats` and `$indexStats`.

use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use futures_util::TryStreamExt;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, doc};

use super::{Gateway, MAX_TIME_MS};

/// One name in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedCollection {
    /// The name, verbatim.
    pub name: String,
    /// `true` for a view, which stores no documents.
    pub view: bool,
}

/// An index of a collection.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Name of the index.
    pub name: String,
    /// Keys in order, as `field: 1`, `field: -1`, `field: text`...
    pub keys: Vec<String>,
    /// `true` for a unique index; `null` when the server does not report it.
    pub unique: Option<bool>,
    /// `true` for a sparse index: documents without the field are left out.
    pub sparse: Option<bool>,
    /// `true` for a partial index: documents that do not match a filter are left out.
    pub partial: Option<bool>,
    /// After how many seconds documents expire; `null` when they do not.
    pub ttl_seconds: Option<u64>,
    /// Size on disk in bytes.
    pub bytes: Option<u64>,
    /// Number of uses since `since`.
    pub ops: Option<u64>,
    /// Since when the server counts.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
}

/// Sizes and indexes of one collection. `None` is a value that the server does not report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// Number of documents.
    pub documents: Option<u64>,
    /// Their bytes, uncompressed.
    pub data_bytes: Option<u64>,
    /// Their bytes on disk.
    pub storage_bytes: Option<u64>,
    /// The bytes of all indexes.
    pub index_bytes: Option<u64>,
    /// The indexes; `None` when the account may not see them (`$indexStats` needs `clusterMonitor`).
    pub indexes: Option<Vec<Index>>,
}

impl Gateway {
    /// Lists collections and views of the database, without the server's own `system.*`.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn list_collections(&self) -> Result<Vec<ListedCollection>, DatabaseError> {
        let command = doc! { "listCollections": 1, "nameOnly": true, "cursor": { "batchSize": 10_000 }, "maxTimeMS": MAX_TIME_MS };
        let cursor = self.database().run_cursor_command(command).await?;
        let listed: Vec<Document> = cursor.try_collect().await?;
        let listed = listed.iter().filter_map(|entry| {
            let name = field::text(entry, "name")?.to_owned();
            let view = field::text(entry, "type") == Some("view");
            (!name.starts_with("system.")).then_some(ListedCollection { name, view })
        });
        Ok(listed.collect())
    }

    /// Reads sizes and indexes of one collection, in one command.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn measure_collection(&self, name: &str) -> Result<Measures, DatabaseError> {
        let stats = vec![
            doc! { "$collStats": { "storageStats": {} } },
            doc! { "$project": { "storageStats.wiredTiger": 0, "storageStats.indexDetails": 0 } },
        ];
        let with_indexes = [
            stats.clone(),
            vec![doc! { "$unionWith": { "coll": name, "pipeline": [{ "$indexStats": {} }] } }],
        ]
        .concat();
        match self.aggregate(name, with_indexes).await {
            Ok(answer) => Ok(from_answer(&answer, true)),
            Err(DatabaseError::NotAuthorized) => {
                Ok(from_answer(&self.aggregate(name, stats).await?, false))
            }
            Err(error) => Err(error),
        }
    }
}

/// Adds up the parts of the answer: one `storageStats` for each shard, one entry for each index on each shard.
fn from_answer(answer: &[Document], with_indexes: bool) -> Measures {
    let stats: Vec<_> = answer
        .iter()
        .filter_map(|part| field::document(part, "storageStats"))
        .collect();
    let sum = |path: &str| {
        stats
            .iter()
            .map(|part| field::count(part, path))
            .sum::<Option<u64>>()
            .filter(|_| !stats.is_empty())
    };
    Measures {
        documents: sum("count"),
        data_bytes: sum("size"),
        storage_bytes: sum("storageSize"),
        index_bytes: sum("totalIndexSize"),
        indexes: with_indexes.then(|| indexes(answer, &stats)),
    }
}

fn indexes(answer: &[Document], stats: &[&Document]) -> Vec<Index> {
    let mut found = BTreeMap::<String, Index>::new();
    for part in answer {
        let (Some(name), Some(key)) = (field::text(part, "name"), field::document(part, "key"))
        else {
            continue;
        };
        let ops = field::count(part, "accesses.ops");
        let index = found
            .entry(name.to_owned())
            .or_insert_with(|| describe(name, key, part, stats));
        index.ops = match (index.ops, ops) {
            (Some(before), Some(more)) => Some(before + more),
            _ => None,
        };
    }
    found.into_values().collect()
}

fn describe(name: &str, key: &Document, part: &Document, stats: &[&Document]) -> Index {
    let spec = field::document(part, "spec");
    let option = |option: &str| spec.map(|spec| field::flag(spec, option).unwrap_or(false));
    let bytes = stats.iter().map(|stats| {
        stats
            .get_document("indexSizes")
            .ok()
            .and_then(|sizes| field::count_of(sizes.get(name)?))
    });
    Index {
        name: name.to_owned(),
        keys: key
            .iter()
            .map(|(field, direction)| format!("{field}: {}", direction_text(direction)))
            .collect(),
        // `_id_` is unique without the option.
        unique: if name == "_id_" {
            Some(true)
        } else {
            option("unique")
        },
        sparse: option("sparse"),
        partial: spec.map(|spec| spec.contains_key("partialFilterExpression")),
        ttl_seconds: spec.and_then(|spec| field::count(spec, "expireAfterSeconds")),
        bytes: bytes.sum::<Option<u64>>(),
        ops: Some(0),
        since: field::time(part, "accesses.since"),
    }
}

fn direction_text(direction: &Bson) -> String {
    match direction {
        Bson::String(kind) => kind.clone(),
        other => field::count_of(other).map_or_else(|| "-1".into(), |count| count.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_added_up() {
        let shard = |count: i32, ops: i64| {
            [
                doc! { "storageStats": { "count": count, "size": 100 * count, "storageSize": 50, "totalIndexSize": 8, "indexSizes": { "_id_": 8 } } },
                doc! { "name": "_id_", "key": { "_id": 1 }, "accesses": { "ops": ops }, "spec": {} },
            ]
        };
        let measures = from_answer(&[shard(3, 1), shard(4, 2)].concat(), true);
        assert_eq!(
            (measures.documents, measures.data_bytes),
            (Some(7), Some(700))
        );
        let indexes = measures.indexes.unwrap();
        assert_eq!(
            (indexes.len(), indexes[0].ops, indexes[0].bytes),
            (1, Some(3), Some(16))
        );
    }

    /// A clustered collection has documents and no index.
    #[test]
    fn zero_is_a_number_and_a_missing_field_is_unknown() {
        let stats = doc! { "storageStats": { "count": 5, "size": 100, "storageSize": 50, "totalIndexSize": 0 } };
        assert_eq!(from_answer(&[stats], false).index_bytes, Some(0));
        assert_eq!(from_answer(&[], false), Measures::default());
    }

    #[test]
    fn an_index_without_its_options_has_unknown_flags() {
        let answer = [
            doc! { "name": "code_1", "key": { "code": 1, "when": -1, "text": "text" }, "accesses": { "ops": 1_i64 } },
        ];
        let index = indexes(&answer, &[]).remove(0);
        assert_eq!((index.unique, index.sparse), (None, None));
        assert_eq!(index.keys, ["code: 1", "when: -1", "text: text"]);
    }
}
