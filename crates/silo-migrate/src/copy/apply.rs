//! Changes of the source, applied to the target.

use silo_cli::progress::Reporter;
use silo_mongo::collections::{self, Collection, Kind};
use silo_mongo::error::{ActionError, DatabaseError};
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::raw::CStr;
use silo_mongo::mongodb::bson::{Document, RawArrayBuf, RawBson, RawDocumentBuf, cstr};

use super::changes::{Change, Event};
use super::collection::{created, finish};
use super::state::CollectionState;
use crate::error::Error;

/// Most changes that are applied at once.
const BATCH: usize = 500;
/// Most bytes of them.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Changes that are not applied yet.
#[derive(Default)]
pub(super) struct Pending {
    events: Vec<Event>,
    bytes: usize,
}

impl Pending {
    pub(super) fn add(&mut self, event: Event) {
        if let Change::Write(document) = &event.change {
            self.bytes += document.as_bytes().len();
        }
        self.events.push(event);
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    /// Applies the changes in their order. Returns their number.
    pub(super) async fn apply(
        &mut self,
        source: &Database,
        target: &Database,
        progress: &Reporter,
    ) -> Result<u64, Error> {
        let events = std::mem::take(&mut self.events);
        self.bytes = 0;
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let mut events = events.into_iter().peekable();
        while let Some(first) = events.next() {
            let name = first.collection.clone();
            match first.change {
                Change::Write(document) => {
                    prepare(source, target, &name).await?;
                    let mut updates = RawArrayBuf::new();
                    updates.push(upsert(document)?);
                    while let Some(next) = events.next_if(|next| {
                        next.collection == name && matches!(next.change, Change::Write(_))
                    }) {
                        if let Change::Write(document) = next.change {
                            updates.push(upsert(document)?);
                        }
                    }
                    run(target, &name, cstr!("update"), cstr!("updates"), updates).await?;
                }
                Change::Delete(_) if CollectionState::read(target, &name).await?.is_none() => {}
                Change::Delete(key) => {
                    let mut deletes = RawArrayBuf::new();
                    deletes.push(deletion(&key)?);
                    while let Some(next) = events.next_if(|next| {
                        next.collection == name && matches!(next.change, Change::Delete(_))
                    }) {
                        if let Change::Delete(key) = next.change {
                            deletes.push(deletion(&key)?);
                        }
                    }
                    run(target, &name, cstr!("delete"), cstr!("deletes"), deletes).await?;
                }
                Change::Drop => {
                    return Err(Error::Refused(format!(
                        "the source has dropped {name}; drop it in the target too if that was meant, and start again"
                    )));
                }
                Change::Other(kind, _) => {
                    return Err(Error::Refused(format!(
                        "the source had a change that cannot be followed: {kind} {name}; copy again into an empty database"
                    )));
                }
                Change::None => {}
            }
        }
        progress.add(count);
        Ok(count)
    }
}

/// Creates a collection that the source has had since the copy only.
async fn prepare(source: &Database, target: &Database, name: &str) -> Result<(), Error> {
    if CollectionState::read(target, name).await?.is_some() {
        return Ok(());
    }
    let all = collections::list(source).await;
    let all = all.map_err(ActionError::of("listing the source"))?;
    let there = all.into_iter().find(|collection| collection.name == name);
    // One that is dropped by now has no options any more.
    let collection = there.unwrap_or_else(|| Collection {
        name: name.to_owned(),
        kind: Kind::Collection,
        options: Document::new(),
        uuid: None,
        indexes: Vec::new(),
    });
    let state = created(target, &collection).await?;
    finish(target, &collection, true).await?;
    CollectionState::complete(state.uuid)
        .write(target, name)
        .await
}

/// Selects a document by its `_id`, whatever its type.
fn selector(document: &RawDocumentBuf) -> Result<RawDocumentBuf, Error> {
    let id = document.get("_id").ok().flatten().ok_or_else(|| {
        Error::Refused(
            "a changed document has an _id that is not valid text; it cannot be followed".into(),
        )
    })?;
    let mut equal = RawDocumentBuf::new();
    equal.append(cstr!("$eq"), id);
    let mut selector = RawDocumentBuf::new();
    selector.append(cstr!("_id"), equal);
    Ok(selector)
}

/// Writes a document as it is: a pipeline takes any names of fields, and does not replace empty timestamps.
fn upsert(document: RawDocumentBuf) -> Result<RawDocumentBuf, Error> {
    let selector = selector(&document)?;
    let mut literal = RawDocumentBuf::new();
    literal.append(cstr!("$literal"), document);
    let mut replace = RawDocumentBuf::new();
    replace.append(cstr!("$replaceWith"), literal);
    let mut pipeline = RawArrayBuf::new();
    pipeline.push(replace);
    let mut update = RawDocumentBuf::new();
    update.append(cstr!("q"), selector);
    update.append(cstr!("u"), pipeline);
    update.append(cstr!("upsert"), true);
    Ok(update)
}

fn deletion(key: &RawDocumentBuf) -> Result<RawDocumentBuf, Error> {
    let mut delete = RawDocumentBuf::new();
    delete.append(cstr!("q"), selector(key)?);
    delete.append(cstr!("limit"), 1);
    Ok(delete)
}

/// Runs a command of writes, in their order. A write that a unique index refuses is left out: the source has had a document with that key at another
/// time, and a later change of either document is applied.
async fn run(
    target: &Database,
    collection: &str,
    name: &CStr,
    list: &CStr,
    writes: RawArrayBuf,
) -> Result<(), Error> {
    let action = format!("applying changes to {collection}");
    let mut writes: Vec<RawBson> = writes
        .into_iter()
        .filter_map(|write| Some(write.ok()?.into()))
        .collect();
    while !writes.is_empty() {
        let mut all = RawArrayBuf::new();
        for write in &writes {
            all.push(write.as_raw_bson_ref());
        }
        let mut command = RawDocumentBuf::new();
        command.append(name, collection);
        command.append(cstr!("ordered"), true);
        command.append(list, all);
        if name == cstr!("update") {
            command.append(cstr!("bypassDocumentValidation"), true);
        }
        let answer = target.run_raw_command(command).await;
        let answer = answer.map_err(ActionError::of(action.as_str()))?;
        let of_concern = answer.get_document("writeConcernError").ok();
        let error = answer
            .get_array("writeErrors")
            .ok()
            .and_then(|errors| errors.first()?.as_document());
        let Some(error) = error.or(of_concern) else {
            return Ok(());
        };
        let code = DatabaseError::from_server_code(error.get_i32("code").unwrap_or_default());
        let index = error
            .get_i32("index")
            .ok()
            .and_then(|index| usize::try_from(index).ok());
        match index {
            Some(index) if code == DatabaseError::DuplicateKey => {
                writes.drain(..=index.min(writes.len() - 1));
            }
            _ => return Err(ActionError::of(action)(code).into()),
        }
    }
    Ok(())
}
