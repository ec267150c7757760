//! Reads documents of a collection, a page at a time, as Extended JSON.

use futures_util::TryStreamExt;
use serde_json::Value;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, RawDocumentBuf, doc};

use super::filter::Filter;
use super::redaction::Redaction;
use super::{Gateway, MAX_TIME_MS};
use crate::details::is_code;

/// Longest `_id` that is shown of a document that is too large, in bytes of BSON.
const MAX_ID_BYTES: i32 = 1024;
/// Largest integer that a JSON number keeps in JavaScript (`Number.MAX_SAFE_INTEGER`).
const MAX_SAFE_INTEGER: u64 = 9_007_199_254_740_991;

/// A page of documents.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Filter of the documents.
    pub filter: &'a Filter,
    /// The field by which they are in order, and the name of its index; `None` for the order in which they are stored.
    pub sort: Option<(&'a str, Option<&'a str>)>,
    /// `true` for falling order.
    pub descending: bool,
    /// Documents to leave out.
    pub offset: u64,
    /// Most documents.
    pub limit: u64,
    /// Size of the largest document that is read, in bytes of BSON.
    pub max_bytes: u64,
}

/// A document.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundDocument {
    /// `_id` as Extended JSON.
    pub id: Value,
    /// Size in bytes of BSON.
    pub bytes: u64,
    /// Its fields as Extended JSON, without those that are not shown; `None` if it is too large.
    pub fields: Option<Value>,
}

impl Gateway {
    /// Reads a page, and whether there are more documents after it.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn page(
        &self,
        collection: &str,
        page: &Page<'_>,
        redaction: &Redaction,
    ) -> Result<(Vec<FoundDocument>, bool), DatabaseError> {
        let mut pipeline = Vec::new();
        if !page.filter.is_empty() {
            pipeline.push(doc! { "$match": page.filter.document().clone() });
        }
        let mut command = doc! { "aggregate": collection };
        if let Some((by, index)) = page.sort {
            pipeline.push(doc! { "$sort": { by: if page.descending { -1 } else { 1 } } });
            if let Some(index) = index {
                command.insert("hint", index);
            }
        }
        let (offset, limit, most) = (
            integer(page.offset),
            integer(page.limit.saturating_add(1)),
            integer(page.max_bytes),
        );
        let size = doc! { "$bsonSize": "$$ROOT" };
        let when =
            |condition: Document, value: &str| doc! { "$cond": [condition, value, "$$REMOVE"] };
        let id_size = doc! { "$bsonSize": { "id": "$_id" } };
        pipeline.extend([
            doc! { "$skip": offset },
            doc! { "$limit": limit },
            doc! { "$project": {
                "_id": 0,
                "id": when(doc! { "$lte": [id_size, MAX_ID_BYTES] }, "$_id"),
                "bytes": &size,
                "document": when(doc! { "$lte": [&size, most] }, "$$ROOT"),
            } },
        ]);
        command.extend(doc! { "pipeline": pipeline, "cursor": { "batchSize": limit }, "maxTimeMS": MAX_TIME_MS });
        // Decoded, a document takes up to thirty times its bytes: one after the other, and the one that only tells that there are more not at all.
        let cursor = self.cursor(&self.database, command).await?;
        let mut rows: Vec<RawDocumentBuf> = cursor.with_type().try_collect().await?;
        let wanted = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = rows.len() > wanted;
        rows.truncate(wanted);
        let found = rows.into_iter().map(|row| {
            let mut row = Document::try_from(row).map_err(|_invalid| DatabaseError::Unreadable)?;
            let id = row.remove("id").unwrap_or(Bson::Null);
            let document = row.remove("document");
            Ok(FoundDocument {
                id: to_json(redaction.apply_to("_id", id)),
                bytes: field::count(&row, "bytes").unwrap_or_default(),
                fields: document.map(|document| to_json(redaction.apply(document))),
            })
        });
        Ok((found.collect::<Result<_, DatabaseError>>()?, more))
    }

    /// Counts the documents in which a field has this text, by an index.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn count_owned(
        &self,
        collection: &str,
        (owner, index): (&str, &str),
        sub: &str,
    ) -> Result<u64, DatabaseError> {
        let pipeline = vec![
            doc! { "$match": { owner: sub } },
            doc! { "$count": "documents" },
        ];
        let command = doc! { "aggregate": collection, "pipeline": pipeline, "cursor": {}, "hint": index, "maxTimeMS": MAX_TIME_MS };
        let found = self.all(&self.database, command).await?;
        let count =
            |row: &Document| field::count(row, "documents").ok_or(DatabaseError::Unreadable);
        found.first().map_or(Ok(0), count)
    }

    /// Time and label of the newest documents in which a field has this text.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn newest_owned(
        &self,
        collection: &str,
        (owner, index): (&str, &str),
        sub: &str,
        date: &str,
        label: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Work>, DatabaseError> {
        let mut projection = doc! { "_id": 1, date: 1 };
        if let Some(label) = label {
            projection.insert(label, 1);
        }
        let command = doc! {
            "find": collection, "filter": { owner: sub }, "sort": { date: -1 }, "limit": limit,
            "projection": projection, "hint": index, "maxTimeMS": MAX_TIME_MS,
        };
        let found = self.all(&self.database, command).await?;
        let read = |row: &Document| Work {
            id: to_json(row.get("_id").cloned().unwrap_or(Bson::Null)),
            at: field::time(row, date),
            label: label
                .and_then(|label| field::text(row, label))
                .filter(|label| is_code(label))
                .map(str::to_owned),
        };
        Ok(found.iter().map(read).collect())
    }
}

/// A document of a user.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct Work {
    /// `_id` as Extended JSON.
    pub id: Value,
    /// Its time; `null` if it has none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<jiff::Timestamp>,
    /// Code or slug by which AC knows it; `null` if it has none.
    pub label: Option<String>,
}

/// Relaxed Extended JSON (MongoDB's specification, version 2), but integers that JavaScript would round are canonical.
fn to_json(value: Bson) -> Value {
    match value {
        Bson::Int64(number) if number.unsigned_abs() > MAX_SAFE_INTEGER => {
            Bson::Int64(number).into_canonical_extjson()
        }
        Bson::Document(document) => {
            let fields = document
                .into_iter()
                .map(|(name, value)| (name, to_json(value)));
            Value::Object(fields.collect())
        }
        Bson::Array(values) => values.into_iter().map(to_json).collect(),
        value => value.into_relaxed_extjson(),
    }
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_integers_keep_every_digit_and_fields_their_order() {
        let value = to_json(Bson::Document(
            doc! { "z": 1, "a": [i64::MAX, 5_i64, f64::NAN], "m": -9_007_199_254_740_992_i64 },
        ));
        assert_eq!(
            value.to_string(),
            r#"{"z":1,"a":[{"$numberLong":"9223372036854775807"},5,{"$numberDouble":"NaN"}],"m":{"$numberLong":"-9007199254740992"}}"#
        );
    }
}
