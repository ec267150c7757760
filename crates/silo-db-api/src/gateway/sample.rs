//! A bounded look into one collection: which fields there are, and when the newest document is from. No values leave this module.

use std::collections::BTreeMap;

use jiff::Timestamp;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, doc};

use super::{Gateway, MAX_TIME_MS};

/// A field of the sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSeen {
    /// In how many documents of the sample.
    pub documents: u64,
    /// With which BSON types, and how often each.
    pub types: BTreeMap<&'static str, u64>,
}

/// The newest document's time and where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The time.
    pub at: Timestamp,
    /// The field it was read from; `_id` for the time inside an `ObjectId`.
    pub from: String,
}

/// Index that finds the newest document of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewestBy {
    /// The index of `_id`, whose `ObjectId`s begin with the time.
    Id,
    /// An index that begins with a date field.
    Index {
        /// The field.
        field: String,
        /// Name of the index.
        index: String,
    },
}

impl Gateway {
    /// Reads the top-level fields of a random sample, and the number of documents sampled.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn sample_fields(
        &self,
        collection: &str,
        size: i32,
    ) -> Result<(u64, BTreeMap<String, FieldSeen>), DatabaseError> {
        let sample = self
            .aggregate(collection, vec![doc! { "$sample": { "size": size } }])
            .await?;
        let mut fields = BTreeMap::<String, FieldSeen>::new();
        for (name, value) in sample.iter().flatten() {
            let seen = fields.entry(name.clone()).or_default();
            seen.documents += 1;
            *seen.types.entry(type_name(value)).or_default() += 1;
        }
        Ok((silo_core::units::count_from_usize(sample.len()), fields))
    }

    /// Reads the time of the newest document; `None` for an empty collection, or when the newest document has no time.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn newest(
        &self,
        collection: &str,
        by: &NewestBy,
    ) -> Result<Option<Newest>, DatabaseError> {
        let from = match by {
            NewestBy::Id => "_id",
            NewestBy::Index { field, .. } => field,
        };
        let mut find = doc! { "find": collection, "sort": { from: -1 }, "limit": 1, "projection": { from: 1 }, "maxTimeMS": MAX_TIME_MS };
        if let NewestBy::Index { index, .. } = by {
            // A sparse index is used for a sort only with this filter.
            find.insert("filter", doc! { from: { "$exists": true } });
            find.insert("hint", index);
        }
        let documents = self.all(&self.database, find).await?;
        let at = documents.first().and_then(|newest| time_in(newest, from));
        Ok(at.map(|at| Newest {
            at,
            from: from.to_owned(),
        }))
    }
}

fn time_in(document: &Document, from: &str) -> Option<Timestamp> {
    match field::at(document, from)? {
        Bson::ObjectId(id) => Timestamp::from_millisecond(id.timestamp().timestamp_millis()).ok(),
        value => field::time_of(value),
    }
}

/// The type's alias in MongoDB's `$type`.
fn type_name(value: &Bson) -> &'static str {
    match value {
        Bson::Double(_) => "double",
        Bson::String(_) => "string",
        Bson::Document(_) => "object",
        Bson::Array(_) => "array",
        Bson::Binary(_) => "binData",
        Bson::Undefined => "undefined",
        Bson::ObjectId(_) => "objectId",
        Bson::Boolean(_) => "bool",
        Bson::DateTime(_) => "date",
        Bson::Null => "null",
        Bson::RegularExpression(_) => "regex",
        Bson::DbPointer(_) => "dbPointer",
        Bson::JavaScriptCode(_) | Bson::JavaScriptCodeWithScope(_) => "javascript",
        Bson::Symbol(_) => "symbol",
        Bson::Int32(_) => "int",
        Bson::Int64(_) => "long",
        Bson::Timestamp(_) => "timestamp",
        Bson::Decimal128(_) => "decimal",
        Bson::MinKey => "minKey",
        Bson::MaxKey => "maxKey",
    }
}
