//! List of collections, and their `$collStats` and `$indexStats`.

use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use silo_mongo::collections::Kind;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, doc};

use super::{Gateway, MAX_TIME_MS};

/// One name in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedCollection {
    /// The name, verbatim.
    pub name: String,
    /// Kind of the collection. A view stores no documents.
    pub kind: Kind,
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
    /// `true` if it does more than find documents: it enforces uniqueness or expiry. Also `true` when its options are unknown.
    #[serde(skip)]
    pub enforces: bool,
    /// `true` if a query can sort by its first key with it. Not by an index that is hidden, being built, partial, collated or not ordered.
    #[serde(skip)]
    pub sorts: bool,
}

impl Index {
    /// `true` if it begins with this field and a query can sort by that.
    #[must_use]
    pub fn sorts_by(&self, field: &str) -> bool {
        let first = self.keys.first().and_then(|key| key.rsplit_once(": "));
        self.sorts && first.is_some_and(|(name, _)| name == field)
    }
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
        let listed = self.all(&self.database, command).await?;
        let listed = listed.iter().filter_map(|entry| {
            let name = field::text(entry, "name")?.to_owned();
            let kind = Kind::of_word(field::text(entry, "type").unwrap_or_default());
            (!name.starts_with("system.")).then_some(ListedCollection { name, kind })
        });
        Ok(listed.collect())
    }

    /// Reads sizes and indexes of one collection, in one command; in two for a time series, whose statistics do not contain its number of documents
    /// ([`Self::count_time_series`]).
    ///
    /// # Errors
    /// The error of the command.
    pub async fn measure_collection(
        &self,
        ListedCollection { name, kind }: &ListedCollection,
    ) -> Result<Measures, DatabaseError> {
        let stats = vec![
            doc! { "$collStats": { "storageStats": {} } },
            doc! { "$project": { "storageStats.wiredTiger": 0, "storageStats.indexDetails": 0 } },
        ];
        let indexes = vec![doc! { "$indexStats": {} }];
        let answer = if *kind == Kind::TimeSeries {
            let mut answer = self.aggregate(name, stats.clone()).await?;
            match self.aggregate(name, indexes).await {
                Ok(indexes) => answer.extend(indexes),
                Err(DatabaseError::NotAuthorized) => return Ok(from_answer(&answer, false)),
                Err(error) => return Err(error),
            }
            Ok(answer)
        } else {
            let union = doc! { "$unionWith": { "coll": name, "pipeline": indexes } };
            self.aggregate(name, [stats.clone(), vec![union]].concat())
                .await
        };
        match answer {
            Ok(answer) => Ok(from_answer(&answer, true)),
            Err(DatabaseError::NotAuthorized) => {
                Ok(from_answer(&self.aggregate(name, stats).await?, false))
            }
            Err(error) => Err(error),
        }
    }

    /// Counts the documents of a time series, which reads all of them.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn count_time_series(&self, name: &str) -> Result<u64, DatabaseError> {
        let count = vec![doc! { "$count": "documents" }];
        let answer = self.aggregate_all(name, count).await?;
        // An empty collection has no answer.
        answer.first().map_or(Ok(0), |answer| {
            field::count(answer, "documents").ok_or(DatabaseError::Unreadable)
        })
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
        // The latest of all shards: before it, not all of them counted.
        index.since = index.since.max(field::time(part, "accesses.since"));
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
    let has = |option: &str| spec.is_some_and(|spec| spec.contains_key(option));
    let is = |option: &str| spec.is_some_and(|spec| field::flag(spec, option) == Some(true));
    let enforces =
        name == "_id_" || is("unique") || is("prepareUnique") || has("expireAfterSeconds");
    let ordered = matches!(
        key.values().next(),
        Some(Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_))
    );
    let building = field::flag(part, "building") == Some(true);
    let limited = is("hidden") || has("collation") || has("partialFilterExpression");
    Index {
        enforces: spec.is_none() || enforces,
        sorts: spec.is_some() && ordered && !building && !limited,
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
        since: None,
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
        assert!(index.enforces && !index.sorts, "{index:?}");
        assert_eq!(index.keys, ["code: 1", "when: -1", "text: text"]);
    }

    #[test]
    fn an_index_that_cannot_sort_or_must_not_be_dropped_is_known_as_such() {
        let index = |key: Document, spec: Document| {
            let part = doc! { "name": "i", "key": key, "accesses": { "ops": 0_i64 }, "spec": spec };
            indexes(&[part], &[]).remove(0)
        };
        let by_when = |spec| index(doc! { "when": -1 }, spec);
        assert!(by_when(doc! {}).sorts_by("when") && !by_when(doc! {}).enforces);
        assert!(!by_when(doc! {}).sorts_by("wh"));
        for spec in [
            doc! { "hidden": true },
            doc! { "collation": { "locale": "de" } },
            doc! { "partialFilterExpression": { "a": 1 } },
        ] {
            assert!(!by_when(spec.clone()).sorts_by("when"), "{spec}");
        }
        assert!(!index(doc! { "when": "hashed" }, doc! {}).sorts);
        for spec in [
            doc! { "unique": true },
            doc! { "prepareUnique": true },
            doc! { "expireAfterSeconds": f64::NAN },
        ] {
            assert!(by_when(spec.clone()).enforces, "{spec}");
        }
    }
}
