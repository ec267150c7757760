//! Documents of a collection, a page at a time, and the documents of a user. Read when asked for.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use silo_core::units::count_from_usize;
use silo_mongo::catalogue::{Catalogue, Category, Entry};
use silo_mongo::collections::Kind as CollectionKind;
use silo_mongo::error::DatabaseError;
use silo_web::problem::{Kind, Problem};
use silo_web::snapshot::SourceError;
use utoipa::ToSchema;

use crate::collections::{Collection, Collections};
use crate::gateway::{Filter, FoundDocument, Gateway, Index, Page, Redaction, Work, source_error};
use crate::routes::collections::unknown_collection;
use crate::users::User;

/// Most documents of a page.
pub const MAX_PAGE: usize = 20;
/// Most documents that can be left out before a page: later ones are found with a filter.
pub const MAX_OFFSET: u64 = 10_000;
/// Bytes of BSON in a page, shared evenly: what keeps the memory of this service bounded.
const PAGE_BYTES: u64 = 128 * 1024;
/// Longest filter in bytes.
const LONGEST_FILTER: usize = 4000;
/// Newest documents of a user in each collection.
const NEWEST: i64 = 5;

/// Time after which no more collections are read for a user's documents: a handler has 4 s, and a command takes at most 2.
const WORKS_WITHIN: Duration = Duration::from_millis(1500);

/// Order of the documents: a field, falling with `-` before it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Order<'a> {
    field: &'a str,
    descending: bool,
}

/// Parameters of a page.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Extended JSON.
    pub filter: Option<String>,
    /// A field, falling with `-` before it; by default `_id`.
    pub sort: Option<String>,
    /// Documents to leave out.
    pub offset: u64,
    /// Most documents.
    pub limit: usize,
}

/// A page of documents.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Documents {
    /// The collection.
    pub collection: String,
    /// The documents in order.
    pub documents: Vec<ShownDocument>,
    /// `true` if there are more after these.
    pub more: bool,
    /// Number of documents left out before these.
    pub offset: u64,
    /// Order of the documents: a field, falling with `-` before it; `null` for the order in which they are stored.
    pub sort: Option<String>,
    /// Fields by which they can be put in order.
    pub sorts: Vec<String>,
    /// `true` if the index of this order leaves out documents without the field.
    pub leaves_out: bool,
}

/// A document.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ShownDocument {
    /// `_id` as Extended JSON.
    pub id: Value,
    /// Size in bytes of BSON.
    pub bytes: u64,
    /// Fields of the document as relaxed Extended JSON, with `(not shown)` for secrets and personal data; `null` if the document is too large for the
    /// page. A page of one document shows up to 128 KiB.
    pub document: Option<Value>,
}

/// Reads a page of a collection.
///
/// # Errors
/// 403 for a collection that is not shown, 422 for a filter or an order that is not possible, 503 and 504 when mongod does not answer.
pub async fn page(
    gateway: &Gateway,
    catalogue: &Catalogue,
    collection: &Collection,
    request: &Request,
) -> Result<Documents, Problem> {
    let Some(entry) = catalogue.get(&collection.name) else {
        return Err(Problem::with_code(
            Kind::Forbidden,
            "not_in_catalogue",
            "which fields of this collection are secret is not known; describe it in silo.toml ([[collections]]) to read its documents",
        ));
    };
    if entry.hidden {
        return Err(Problem::with_code(
            Kind::Forbidden,
            "hidden_collection",
            "this collection holds secrets; its documents are never shown",
        ));
    }
    let redaction = Redaction::new(&entry.redact);
    let text = request.filter.as_deref().unwrap_or("{}");
    if text.len() > LONGEST_FILTER {
        return Err(refused_filter(format!(
            "a filter has at most {LONGEST_FILTER} bytes"
        )));
    }
    let filter = Filter::parse(text, &redaction).map_err(refused_filter)?;
    let sorts = sorts(collection, &redaction);
    let order = order(request.sort.as_deref(), collection, &sorts)?;
    let index = order
        .as_ref()
        .and_then(|order| index_of(collection, order.field));
    let limit = count_from_usize(request.limit);
    let page = Page {
        filter: &filter,
        sort: order
            .as_ref()
            .map(|order| (order.field, index.map(|index| index.name.as_str()))),
        descending: order.as_ref().is_some_and(|order| order.descending),
        offset: request.offset,
        limit,
        max_bytes: PAGE_BYTES / limit.max(1),
    };
    let found = gateway.page(&collection.name, &page, &redaction).await;
    let (found, more) = found.map_err(unreadable)?;
    let show = |FoundDocument { id, bytes, fields }| ShownDocument {
        id,
        bytes,
        document: fields,
    };
    Ok(Documents {
        collection: collection.name.clone(),
        documents: found.into_iter().map(show).collect(),
        more,
        offset: request.offset,
        sort: order.map(|Order { field, descending }| {
            format!("{}{field}", if descending { "-" } else { "" })
        }),
        sorts,
        leaves_out: index.is_some_and(|index| index.sparse == Some(true)),
    })
}

/// Fields by which documents can be put in order without reading all of them: those that an index begins with.
fn sorts(collection: &Collection, redaction: &Redaction) -> Vec<String> {
    if collection.kind != CollectionKind::Collection.word() {
        return Vec::new();
    }
    let mut sorts = Vec::new();
    if !redaction.concerns("_id") {
        sorts.push("_id".to_owned());
    }
    for index in collection
        .indexes
        .iter()
        .flatten()
        .filter(|index| index.sorts)
    {
        let field = index.keys.first().and_then(|key| key.rsplit_once(": "));
        if let Some((field, _)) = field
            && !redaction.concerns(field)
            && !field.contains('$')
            && !sorts.iter().any(|known| known == field)
        {
            sorts.push(field.to_owned());
        }
    }
    sorts
}

fn order<'a>(
    given: Option<&'a str>,
    collection: &Collection,
    sorts: &[String],
) -> Result<Option<Order<'a>>, Problem> {
    let text = match given {
        Some(text) => text,
        None if sorts.is_empty() => return Ok(None),
        // The newest first, where the `_id`s have a time.
        None if sorts.iter().any(|known| known == "_id") => "-_id",
        None => return Ok(None),
    };
    let (field, descending) = text
        .strip_prefix('-')
        .map_or((text, false), |field| (field, true));
    if sorts.iter().any(|known| known == field) {
        return Ok(Some(Order { field, descending }));
    }
    let detail = if sorts.is_empty() {
        format!(
            "documents of a {} have no order that can be chosen",
            collection.kind
        )
    } else {
        format!(
            "sort must be one of {}, with - before it for falling order",
            sorts.join(", ")
        )
    };
    Err(Problem::with_code(
        Kind::OutOfRange,
        "no_such_order",
        detail,
    ))
}

/// The index for an order; `None` for `_id`, whose index is always used.
fn index_of<'a>(collection: &'a Collection, field: &str) -> Option<&'a Index> {
    if field == "_id" {
        return None;
    }
    let mut indexes = collection.indexes.iter().flatten();
    let whole = indexes
        .clone()
        .find(|index| index.sorts_by(field) && index.sparse != Some(true));
    whole.or_else(|| indexes.find(|index| index.sorts_by(field)))
}

fn refused_filter(detail: String) -> Problem {
    Problem::with_code(Kind::OutOfRange, "refused_filter", detail)
}

fn unreadable(error: DatabaseError) -> Problem {
    match error {
        DatabaseError::TimedOut => Problem::with_code(
            Kind::TimedOut,
            "too_slow",
            "mongod did not find the documents within 2 s; use a filter on a field that an index begins with",
        ),
        // BadValue, FailedToParse.
        DatabaseError::Refused(2 | 9) => refused_filter(
            "mongod refuses this filter or order; the index of an order may have been dropped"
                .into(),
        ),
        DatabaseError::NotThere => unknown_collection(),
        error => Problem::with_code(Kind::Unavailable, error.code(), error.detail()),
    }
}

/// Documents of a user.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Works {
    /// The user.
    pub user: User,
    /// Collections whose documents have an owner, most documents first; those that cannot be counted last.
    pub collections: Vec<OwnedDocuments>,
}

/// Documents of a user in one collection.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OwnedDocuments {
    /// The collection.
    pub collection: String,
    /// Category of the collection.
    #[schema(value_type = String)]
    pub category: Category,
    /// Number of documents; `null` if no index begins with their owner, or mongod did not answer.
    pub documents: Option<u64>,
    /// The newest, in collections of content only.
    pub newest: Vec<Work>,
}

/// Counts the documents of a user, and finds the newest. Errors name the collections that could not be read.
pub async fn works(
    gateway: &Gateway,
    catalogue: &Catalogue,
    collections: &Collections,
    user: User,
) -> (Works, Vec<SourceError>) {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    let began = Instant::now();
    for collection in &collections.collections {
        let entry = catalogue.get(&collection.name);
        let Some((entry, owner)) = entry.and_then(owned) else {
            continue;
        };
        let mut row = OwnedDocuments {
            collection: collection.name.clone(),
            category: collection.category,
            documents: None,
            newest: Vec::new(),
        };
        if began.elapsed() > WORKS_WITHIN {
            let source = format!("collection {}", row.collection);
            errors.push(source_error(source, DatabaseError::TimedOut));
        } else if let Some(index) = index_of(collection, owner) {
            let by = (owner, index.name.as_str());
            let read = read_owned(gateway, entry, by, &user.sub, &mut row);
            if let Err(error) = read.await {
                errors.push(source_error(
                    format!("collection {}", row.collection),
                    error,
                ));
            }
        }
        found.push(row);
    }
    found.sort_by(|a, b| (b.documents, &a.collection).cmp(&(a.documents, &b.collection)));
    let works = Works {
        user,
        collections: found,
    };
    (works, errors)
}

async fn read_owned(
    gateway: &Gateway,
    entry: &Entry,
    by: (&str, &str),
    sub: &str,
    row: &mut OwnedDocuments,
) -> Result<(), DatabaseError> {
    let documents = gateway.count_owned(&row.collection, by, sub).await?;
    row.documents = Some(documents);
    if let Some(date) = &entry.date
        && entry.category == Category::Content
        && documents > 0
    {
        let label = entry.label.as_deref();
        let newest = gateway.newest_owned(&row.collection, by, sub, date, label, NEWEST);
        row.newest = newest.await?;
    }
    Ok(())
}

/// The field of the owner, of a collection whose documents a user can have several of.
fn owned(entry: &Entry) -> Option<(&Entry, &str)> {
    let owner = entry.owner.as_deref().filter(|owner| *owner != "_id")?;
    (!entry.hidden).then_some((entry, owner))
}
