//! Comparison of two databases: which documents are missing, extra or different, and which options and indexes.
//!
//! One pass per side, in any order: each document's digest is added to one of 4,096 sums, which its `_id` selects. Equal sums mean equal documents,
//! in the memory of the sums. Of buckets that differ, a second pass collects `_id`s and digests, and each difference is read again on both sides: what is
//! equal by then has changed during the comparison. Needs `find`, `listCollections` and `listIndexes` only. The order of `_id`s is not needed, so that
//! any type of `_id` and any collation can be compared.

mod classify;
mod digests;
mod id;

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::{Document, RawArrayBuf, RawDocument, RawDocumentBuf, cstr};
use serde::Serialize;

use crate::collections::{self, Collection, Kind};
use crate::error::{ActionError, DatabaseError};
use crate::structure::{self, Structure};

pub use classify::Class;
use digests::{Located, Sums};
use id::Id;

/// Sums of a collection.
const BUCKETS: usize = 4096;
/// Most documents of which `_id` and digest are in memory at once, per side: about 4 MB.
const MOST_LOCATED: u64 = 50_000;
/// Bytes of a batch.
const BATCH_BYTES: u64 = 1024 * 1024;

/// Most differences of a collection that are listed.
pub const DEFAULT_LIMIT: usize = 1000;

/// A document that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentDifference {
    /// `_id` as canonical Extended JSON.
    pub id: String,
    /// Kind of the difference.
    pub class: Class,
    /// Path of the first field that differs; `null` for a missing or extra document.
    pub field: Option<String>,
}

/// Comparison of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectionComparison {
    /// Name.
    pub name: String,
    /// Documents of the source; `null` of a view, and if it does not exist.
    pub source_documents: Option<u64>,
    /// Documents of the target; `null` of a view, and if it does not exist.
    pub target_documents: Option<u64>,
    /// Number of documents that differ.
    pub different_documents: u64,
    /// Number of them that the target does not have.
    pub missing_documents: u64,
    /// The first of them.
    pub differences: Vec<DocumentDifference>,
    /// Differences of kind, options and indexes.
    pub structure: Vec<String>,
    /// Documents that changed while they were compared, and are equal now.
    pub changed_meanwhile: u64,
    /// `true` if the source was seen to change meanwhile: it had other documents in a second pass, or another number of them at the end.
    pub source_changed: bool,
}

impl CollectionComparison {
    /// `true` if nothing differs.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.different_documents == 0 && self.structure.is_empty()
    }
}

/// Comparison of two databases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// `true` if nothing differs.
    pub equal: bool,
    /// `true` if the source changed during the comparison, so that it should be repeated when nothing is written.
    pub source_changed: bool,
    /// The collections, by name.
    pub collections: Vec<CollectionComparison>,
}

/// What to compare.
#[derive(Clone, Debug)]
pub struct Request {
    /// Collections; empty for all.
    pub only: Vec<String>,
    /// Collections that are left out.
    pub except: Vec<String>,
    /// Most differences of a collection that are listed.
    pub limit: usize,
    /// `true` reads one side after the other, which takes half of the memory and twice the time.
    pub in_turn: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            only: Vec::new(),
            except: Vec::new(),
            limit: DEFAULT_LIMIT,
            in_turn: false,
        }
    }
}

impl Request {
    /// A named collection that neither side has.
    fn unknown<T>(&self, pairs: &BTreeMap<String, T>) -> Option<&str> {
        let unknown = self.only.iter().find(|name| !pairs.contains_key(*name));
        unknown.map(String::as_str)
    }

    fn includes(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|other| other == name);
        (self.only.is_empty() || named(&self.only)) && !named(&self.except)
    }
}

/// Compares two databases. `progress` is called with the name of a collection, and the number of documents read since the last call.
///
/// # Errors
/// The error of a command, on either side.
pub async fn compare(
    source: &Database,
    target: &Database,
    request: &Request,
    progress: &impl Fn(&str, u64),
) -> Result<Comparison, ActionError> {
    let mut pairs: BTreeMap<String, [Option<Collection>; 2]> = BTreeMap::new();
    for (place, side) in [source, target].into_iter().enumerate() {
        let all = collections::list(side).await;
        let all = all.map_err(ActionError::of(format!("listing {}", side.name())))?;
        for collection in all {
            if request.includes(&collection.name) {
                let pair = pairs.entry(collection.name.clone()).or_default();
                pair[place] = Some(collection);
            }
        }
    }
    if let Some(unknown) = request.unknown(&pairs) {
        return Err(ActionError {
            action: format!("comparing {unknown}"),
            error: DatabaseError::NotThere,
        });
    }
    let mut comparison = Comparison::default();
    for (name, [in_source, in_target]) in pairs {
        let compared = match (in_source, in_target) {
            (Some(one), Some(other)) => {
                let structure =
                    structure::differences(&name, &Structure::from(&one), &Structure::from(&other));
                let mut compared = match one.kind {
                    Kind::View => CollectionComparison::default(),
                    _ => documents([source, target], &one, request, progress).await?,
                };
                compared.structure = structure;
                compared
            }
            (Some(_), None) => {
                let mut missing = of_structure(format!("{name} is missing"));
                let there = source.collection::<Document>(&name);
                let count = there.estimated_document_count().await;
                missing.missing_documents = count.unwrap_or(1).max(1);
                missing
            }
            _ => of_structure(format!("{name} should not be there")),
        };
        comparison.source_changed |= compared.source_changed || compared.changed_meanwhile > 0;
        comparison
            .collections
            .push(CollectionComparison { name, ..compared });
    }
    let equal = |compared: &CollectionComparison| compared.is_equal();
    comparison.equal = comparison.collections.iter().all(equal);
    Ok(comparison)
}

fn of_structure(difference: String) -> CollectionComparison {
    CollectionComparison {
        structure: vec![difference],
        ..CollectionComparison::default()
    }
}

/// Compares the documents of a collection.
async fn documents(
    sides: [&Database; 2],
    collection: &Collection,
    request: &Request,
    progress: &impl Fn(&str, u64),
) -> Result<CollectionComparison, ActionError> {
    let name = collection.name.as_str();
    let (mut one, mut other) = (Sums::new(BUCKETS), Sums::new(BUCKETS));
    both(
        read(sides[0], collection, progress, |document| one.add(document)),
        read(sides[1], collection, progress, |document| {
            other.add(document);
        }),
        request.in_turn,
    )
    .await?;
    let mut compared = CollectionComparison {
        source_documents: Some(one.documents()),
        target_documents: Some(other.documents()),
        ..CollectionComparison::default()
    };
    for group in one.differing(&other, MOST_LOCATED) {
        let (mut here, mut there) = (Located::new(&group), Located::new(&group));
        both(
            read(sides[0], collection, progress, |document| {
                here.add(document);
            }),
            read(sides[1], collection, progress, |document| {
                there.add(document);
            }),
            request.in_turn,
        )
        .await?;
        compared.source_changed |= here.has_changed_since(&one);
        let different = here.differences(there);
        compared.different_documents += u64::try_from(different.len()).unwrap_or(u64::MAX);
        let missing = different.iter().filter(|pair| pair[1].is_none()).count();
        compared.missing_documents += u64::try_from(missing).unwrap_or(u64::MAX);
        for pair in different {
            if compared.differences.len() == request.limit {
                break;
            }
            // A time series has no unique `_id`, and its measurements cannot be looked up.
            let found = if collection.kind == Kind::TimeSeries {
                None
            } else {
                look(sides, name, &pair).await?
            };
            match found {
                Some([one, other]) if one == other => {
                    compared.changed_meanwhile += 1;
                    compared.different_documents -= 1;
                    compared.missing_documents -= u64::from(pair[1].is_none());
                }
                found => compared.differences.push(difference(&pair, found.as_ref())),
            }
        }
    }
    let count = sides[0]
        .collection::<Document>(name)
        .estimated_document_count()
        .await;
    let count = count.map_err(ActionError::of(format!("counting {name}")))?;
    compared.source_changed |= count != one.documents();
    Ok(compared)
}

/// Waits for the readers of both sides, at once or one after the other.
async fn both(
    one: impl Future<Output = Result<(), ActionError>>,
    other: impl Future<Output = Result<(), ActionError>>,
    in_turn: bool,
) -> Result<(), ActionError> {
    if in_turn {
        one.await?;
        other.await
    } else {
        tokio::try_join!(one, other).map(|_both| ())
    }
}

/// Reads all documents of a collection in their natural order.
async fn read(
    side: &Database,
    collection: &Collection,
    progress: &impl Fn(&str, u64),
    mut each: impl FnMut(&RawDocument),
) -> Result<(), ActionError> {
    let name = collection.name.as_str();
    let action = || ActionError::of(format!("reading {name} of {}", side.name()));
    // A server returns measurements with their fields in any order.
    let unordered = collection.kind == Kind::TimeSeries;
    // Without the privilege for collStats, about a megabyte of small documents.
    let size = collections::size(side, name, BATCH_BYTES).await;
    let (_, batch) = size.unwrap_or((0, 250));
    let read = collections::read_all::<DatabaseError>(side, name, batch, None, async |batch| {
        let mut count = 0;
        for document in collections::documents(&batch)? {
            let document = document?;
            match unordered.then(|| sorted(document)).flatten() {
                Some(sorted) => each(&sorted),
                None => each(document),
            }
            count += 1;
        }
        progress(name, count);
        Ok(())
    });
    read.await.map_err(action())
}

/// The document with its fields sorted by name; `None` if it has a string that is not valid UTF-8.
fn sorted(document: &RawDocument) -> Option<RawDocumentBuf> {
    let fields: Option<BTreeMap<_, _>> = document.iter().map(Result::ok).collect();
    Some(fields?.into_iter().collect())
}

/// Reads a document again on both sides; `None` if its `_id` cannot be looked up.
async fn look(
    sides: [&Database; 2],
    name: &str,
    pair: &id::Pair,
) -> Result<Option<[Option<RawDocumentBuf>; 2]>, ActionError> {
    let mut found = [None, None];
    for (place, side) in sides.iter().enumerate() {
        let id = pair[place].as_ref().or(pair[1 - place].as_ref());
        let Some(id) = id else { return Ok(None) };
        let read = by_id(side, name, id).await;
        let action = || format!("reading documents of {name} of {} again", side.name());
        match read.map_err(ActionError::of(action()))? {
            None => return Ok(None),
            Some(document) => found[place] = document,
        }
    }
    Ok(Some(found))
}

fn difference(pair: &id::Pair, found: Option<&[Option<RawDocumentBuf>; 2]>) -> DocumentDifference {
    let (class, field) = match found {
        Some([one, other]) => classify::classify(one.as_deref(), other.as_deref()),
        None => match pair {
            [Some(_), None] => (Class::Missing, None),
            [None, _] => (Class::Extra, None),
            [Some(_), Some(_)] => (Class::Content, None),
        },
    };
    let id = pair[0].as_ref().or(pair[1].as_ref());
    DocumentDifference {
        id: id.map_or_else(String::new, Id::text),
        class,
        field,
    }
}

/// The document with this `_id`, if there is one; `None` if the `_id` cannot be looked up.
async fn by_id(
    side: &Database,
    name: &str,
    id: &Id,
) -> Result<Option<Option<RawDocumentBuf>>, DatabaseError> {
    let mut values = RawArrayBuf::new();
    if !id.append_to(&mut values) {
        return Ok(None);
    }
    let mut list = RawDocumentBuf::new();
    list.append(cstr!("$in"), values);
    let mut filter = RawDocumentBuf::new();
    filter.append(cstr!("_id"), list);
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("find"), name);
    command.append(cstr!("filter"), filter);
    let cursor = side.run_raw_cursor_command(command).await;
    let mut documents = cursor?.with_type::<RawDocumentBuf>();
    // A collation, or a number of another type, may find others too.
    while let Some(document) = documents.try_next().await? {
        if Id::of(&document) == *id {
            return Ok(Some(Some(document)));
        }
    }
    Ok(Some(None))
}
