//! Details of one collection: its fields and its newest document. Measured on demand and cached.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use silo_mongo::catalogue::{Catalogue, IdKind};
use silo_mongo::collections::Kind;
use silo_web::problem::Problem;
use silo_web::snapshot::{Measured, Reading, RefreshPolicy, Snapshot, SourceError};
use utoipa::ToSchema;

use crate::collections::{Collection, Collections};
use crate::gateway::{FieldSeen, Gateway, NewestBy, source_error};

/// Documents in the random sample.
const SAMPLE: i32 = 100;
/// Most fields in the list.
const MAX_ENTRIES: usize = 40;
/// Longest field name that is shown. Longer ones are taken for data used as a key.
const LONGEST_NAME: usize = 64;

/// Details of a collection: fields and their types, and the newest document's time. Never a value.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Number of documents sampled; `null` for a collection whose field names are not shown.
    pub sampled: Option<u64>,
    /// Top-level fields, most frequent first; `null` like `sampled`.
    pub top_fields: Option<Vec<Field>>,
    /// Number of field names left out because they look like data: dates, ids, addresses.
    pub dynamic_fields: Option<u64>,
    /// The time of the newest document; `null` when the collection is empty, or see `newestUnknown`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub newest_document: Option<Timestamp>,
    /// The field that time is from.
    pub newest_from: Option<String>,
    /// Reason why the newest document was not searched for: no index finds it. `null` if it was.
    pub newest_unknown: Option<String>,
}

/// A field.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Field {
    /// Name of the field.
    pub name: String,
    /// In how many documents of the sample.
    pub documents: u64,
    /// With which BSON types, and how often each.
    pub types: BTreeMap<&'static str, u64>,
    /// `true` if the values are secrets or personal data, which never leave the service.
    pub redacted: bool,
}

/// A collection with its details.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CollectionDetails {
    /// Sizes and indexes.
    #[serde(flatten)]
    pub collection: Collection,
    /// Fields and newest document.
    #[serde(flatten)]
    pub details: Details,
}

/// Cache of details of requested collections.
pub struct DetailsCache {
    gateway: Gateway,
    catalogue: Arc<Catalogue>,
    policy: RefreshPolicy,
    snapshots: Mutex<HashMap<String, Arc<Snapshot<Details>>>>,
}

impl DetailsCache {
    /// An empty cache.
    #[must_use]
    pub fn new(gateway: Gateway, catalogue: Arc<Catalogue>, policy: RefreshPolicy) -> Self {
        Self {
            gateway,
            catalogue,
            policy,
            snapshots: Mutex::default(),
        }
    }

    /// The details of a collection that exists. `all` is what exists: details of others are dropped.
    ///
    /// # Errors
    /// 503 when the first look failed or is not ready in time.
    pub async fn read(
        &self,
        collection: &Collection,
        all: &Collections,
    ) -> Result<Reading<Details>, Problem> {
        let snapshot = {
            let mut snapshots = self
                .snapshots
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            snapshots.retain(|name, _| all.get(name).is_some());
            let empty = || Arc::new(Snapshot::new("details", self.policy));
            Arc::clone(
                snapshots
                    .entry(collection.name.clone())
                    .or_insert_with(empty),
            )
        };
        let look = || {
            measure(
                self.gateway.clone(),
                Arc::clone(&self.catalogue),
                collection.clone(),
            )
        };
        snapshot.read_on_demand(look).await
    }
}

async fn measure(
    gateway: Gateway,
    catalogue: Arc<Catalogue>,
    collection: Collection,
) -> Result<Measured<Details>, SourceError> {
    let name = &collection.name;
    let entry = catalogue.get(name);
    let newest_by = newest_by(&collection, entry.map_or(IdKind::Object, |entry| entry.id));
    let source = || format!("collection {name}");
    let sample = if entry.is_some_and(|entry| entry.hidden) {
        None
    } else {
        Some(
            gateway
                .sample_fields(name, SAMPLE)
                .await
                .map_err(|error| source_error(source(), error))?,
        )
    };
    let mut errors = Vec::new();
    let (newest, newest_unknown) = match newest_by {
        Ok(by) => {
            let newest = gateway.newest(name, &by).await;
            let newest = newest.map_err(|error| errors.push(source_error(source(), error)));
            (newest.ok().flatten(), None)
        }
        Err(reason) => (None, Some(reason)),
    };
    let redact = entry.map_or(&[][..], |entry| &entry.redact);
    let listed = sample.map(|(sampled, fields)| (sampled, list(fields, redact)));
    let (newest_document, newest_from) = newest.map(|newest| (newest.at, newest.from)).unzip();
    let (sampled, fields) = listed.unzip();
    let (top_fields, dynamic_fields) = fields.unzip();
    Ok(Measured {
        value: Details {
            sampled,
            top_fields,
            dynamic_fields,
            newest_document,
            newest_from,
            newest_unknown,
        },
        errors,
    })
}

/// The index that finds the newest document, or the reason why there is none: without an index, all documents would be read and sorted.
fn newest_by(collection: &Collection, id: IdKind) -> Result<NewestBy, String> {
    let indexes = collection.indexes.as_deref();
    let by_date = collection.date_field.as_ref().and_then(|field| {
        let index = indexes?.iter().find(|index| index.sorts_by(field))?;
        Some(NewestBy::Index {
            field: field.clone(),
            index: index.name.clone(),
        })
    });
    if let Some(by_date) = by_date {
        return Ok(by_date);
    }
    // The `_id`s of a time series are in its documents and have no index.
    if id == IdKind::Object && collection.kind == Kind::Collection.word() {
        return Ok(NewestBy::Id);
    }
    Err(match &collection.date_field {
        _ if indexes.is_none() => "its indexes are unknown".into(),
        Some(field) => format!("no index begins with `{field}`"),
        None => "its documents are not indexed by time".into(),
    })
}

/// The fields worth listing, and how many names look like data.
fn list(fields: BTreeMap<String, FieldSeen>, redact: &[String]) -> (Vec<Field>, u64) {
    let (names, dynamic): (Vec<_>, Vec<_>) =
        fields.into_iter().partition(|(name, _)| is_a_name(name));
    let redacted = |name: &str| {
        redact
            .iter()
            .any(|path| path.split('.').next() == Some(name))
    };
    let mut fields: Vec<_> = names
        .into_iter()
        .map(|(name, seen)| Field {
            redacted: redacted(&name),
            documents: seen.documents,
            types: seen.types,
            name,
        })
        .collect();
    fields.sort_by(|a, b| {
        b.documents
            .cmp(&a.documents)
            .then_with(|| a.name.cmp(&b.name))
    });
    fields.truncate(MAX_ENTRIES);
    (fields, silo_core::units::count_from_usize(dynamic.len()))
}

/// `true` if a field name looks like one that a programmer wrote, and not like data used as a key.
pub(crate) fn is_a_name(name: &str) -> bool {
    let plain = |character: char| character.is_ascii_alphanumeric() || "_-$".contains(character);
    let starts = |character: char| character.is_ascii_alphabetic() || "_$".contains(character);
    name.len() <= LONGEST_NAME && name.starts_with(starts) && name.chars().all(plain)
}

/// `true` for text that can be the code or slug of a work: short, and of letters, digits and a few marks, so that it is neither an address nor a sentence.
pub(crate) fn is_code(text: &str) -> bool {
    let plain = |each: char| each.is_ascii_alphanumeric() || "$_.-".contains(each);
    (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Index;

    #[test]
    fn the_newest_document_is_searched_for_by_an_index_only() {
        let index = |field: &str, sorts| Index {
            name: format!("{field}_-1"),
            keys: vec![format!("{field}: -1")],
            sorts,
            unique: None,
            sparse: None,
            partial: None,
            ttl_seconds: None,
            bytes: None,
            ops: None,
            since: None,
            enforces: false,
        };
        let by = |kind: Kind, date: Option<&str>, indexes: Vec<Index>, id| {
            let collection = Collection {
                kind: kind.word(),
                date_field: date.map(str::to_owned),
                indexes: Some(indexes),
                ..Collection::default()
            };
            newest_by(&collection, id)
        };
        let when = Some("when");
        let indexed = by(
            Kind::Collection,
            when,
            vec![index("user", true), index("when", true)],
            IdKind::Text,
        );
        let wanted = NewestBy::Index {
            field: "when".into(),
            index: "when_-1".into(),
        };
        assert_eq!(indexed, Ok(wanted));
        for unusable in [vec![index("user", true)], vec![index("when", false)]] {
            let by_id = by(Kind::Collection, when, unusable.clone(), IdKind::Object);
            assert_eq!(by_id, Ok(NewestBy::Id));
            for id in [IdKind::Text, IdKind::Mixed] {
                let reason = by(Kind::Collection, when, unusable.clone(), id).unwrap_err();
                assert!(reason.contains("`when`"), "{reason}");
            }
        }
        assert!(by(Kind::TimeSeries, None, vec![], IdKind::Object).is_err());
    }

    #[test]
    fn names_that_are_data_are_counted_and_not_shown() {
        let seen = || FieldSeen {
            documents: 1,
            types: BTreeMap::from([("string", 1)]),
        };
        let names = [
            "when",
            "_id",
            "2026-01-02",
            "jane@example.org",
            "auth0|64ab",
            "",
            "email",
        ];
        let fields = names
            .map(|name| (name.to_owned(), seen()))
            .into_iter()
            .collect();
        let (listed, dynamic) = list(fields, &["email".into(), "meta.ip".into()]);
        let listed: Vec<_> = listed
            .iter()
            .map(|field| (field.name.as_str(), field.redacted))
            .collect();
        assert_eq!(listed, [("_id", false), ("email", true), ("when", false)]);
        assert_eq!(dynamic, 4);
    }
}
