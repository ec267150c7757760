//! Following the source after a copy: its changes are applied until the cut-over.

use jiff::Timestamp;
use serde::Serialize;
use silo_cli::progress::Reporter;
use silo_mongo::collections::{self, Collection, Kind};
use silo_mongo::error::{ActionError, DatabaseError};
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::raw::CStr;
use silo_mongo::mongodb::bson::{Document, RawArrayBuf, RawBson, RawDocumentBuf, cstr};
use silo_mongo::mongodb::change_stream::ChangeStream;
use silo_mongo::mongodb::options::FullDocumentType;
use silo_mongo::write;
use tokio_util::sync::CancellationToken;

use super::changes::{Change, Event, token};
use super::state::{CollectionState, CopyState};
use super::{Request, created, finish, identity, wanted};
use crate::error::Error;

/// Most changes that are applied at once.
const BATCH: usize = 500;
/// Most bytes of them.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Result of following.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Followed {
    /// Number of changes applied.
    pub changes: u64,
    /// `true` if the unique indexes are built.
    pub unique_indexes: bool,
    /// Time series, whose changes no change stream reports: copy them again when nothing writes any more.
    pub not_followed: Vec<String>,
    /// Seconds by which the target was behind the source at the end; 0 if everything was applied.
    pub lag_seconds: i64,
}

/// Applies the changes since the copy began, until it is stopped, or until everything is applied.
///
/// # Errors
/// When the source's change stream no longer reaches back to the copy, or when a collection was renamed or the database dropped.
pub async fn follow(
    source: &Database,
    target: &Database,
    request: &Request,
    until_caught_up: bool,
    progress: &Reporter,
    stop: &CancellationToken,
) -> Result<Followed, Error> {
    let Some(state) = CopyState::read(target).await? else {
        return Err(Error::Refused("nothing was copied yet".into()));
    };
    state.check(&identity(source).await?.0, &request.selection.describe())?;
    progress.begin("following", None, "changes");
    let action = "following the changes of the source";
    let mut stream = changes_since(source, state).await?;
    let mut followed = Followed::default();
    let series = wanted(source, request).await?.into_iter();
    let series = series.filter(|collection| collection.kind == Kind::TimeSeries);
    followed.not_followed = series.map(|collection| collection.name).collect();
    let mut pending = Pending::default();
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            next = stream.next_if_any() => next.map_err(ActionError::of(action))?,
        };
        let caught_up = next.is_none();
        if let Some(event) = next {
            let event = Event::read(&event).map_err(ActionError::of(action))?;
            if let Some(time) = event.time {
                followed.lag_seconds = (Timestamp::now().as_second() - i64::from(time.time)).max(0);
            }
            if event.concerns(|name| request.selection.includes(name)) {
                pending.add(event);
            }
        }
        if caught_up || pending.is_full() {
            followed.changes += pending.apply(source, target, progress).await?;
            if let Some(resume) = stream.resume_token() {
                CopyState::resume_at(target, token(&resume).map_err(ActionError::of(action))?)
                    .await?;
            }
        }
        if caught_up {
            followed.lag_seconds = 0;
            if !followed.unique_indexes {
                followed.unique_indexes = build_unique(source, target, request).await?;
            }
        }
        progress.at(&format!("{} s behind", followed.lag_seconds));
        if caught_up && until_caught_up && followed.unique_indexes {
            break;
        }
    }
    // What was received and not applied is received again.
    Ok(followed)
}

/// Number of changes of the source since the last one that was followed; at most 1,000 are counted.
///
/// # Errors
/// When nothing was copied, or the source's change stream no longer reaches back.
pub async fn written_since(source: &Database, target: &Database) -> Result<u64, Error> {
    let Some(state) = CopyState::read(target).await? else {
        return Err(Error::Refused(
            "nothing was copied with this target, so that nothing is known about changes since"
                .into(),
        ));
    };
    let mut stream = changes_since(source, state).await?;
    let mut changes = 0;
    while changes < 1000 {
        let next = stream.next_if_any().await;
        let next = next.map_err(ActionError::of("reading the changes of the old cluster"))?;
        if next.is_none() {
            break;
        }
        changes += 1;
    }
    Ok(changes)
}

/// The source's changes after the last one that was applied.
async fn changes_since(
    source: &Database,
    state: CopyState,
) -> Result<ChangeStream<RawDocumentBuf>, Error> {
    let stream = source.watch().full_document(FullDocumentType::UpdateLookup);
    let stream = match state.resume {
        Some(resume) => {
            let resume = silo_mongo::mongodb::bson::deserialize_from_bson(resume);
            let resume = resume.map_err(|_error| {
                Error::Refused("the recorded place of the change stream cannot be read".into())
            })?;
            stream.resume_after(Some(resume))
        }
        None => stream.start_at_operation_time(state.started),
    };
    let stream = stream
        .await
        .map_err(ActionError::of("following the changes of the source"))?;
    Ok(stream.with_type())
}

/// Changes that are not applied yet.
#[derive(Default)]
struct Pending {
    events: Vec<Event>,
    bytes: usize,
}

impl Pending {
    fn add(&mut self, event: Event) {
        if let Change::Write(document) = &event.change {
            self.bytes += document.as_bytes().len();
        }
        self.events.push(event);
    }

    fn is_full(&self) -> bool {
        self.events.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    /// Applies the changes in their order. Returns their number.
    async fn apply(
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

/// Builds the unique indexes; `false` if documents have the same key, which the next changes may end.
async fn build_unique(
    source: &Database,
    target: &Database,
    request: &Request,
) -> Result<bool, Error> {
    for collection in wanted(source, request).await? {
        if collection.kind == Kind::View
            || CollectionState::read(target, &collection.name)
                .await?
                .is_none()
        {
            continue;
        }
        let all = std::slice::from_ref(&collection);
        let mut failed = write::build_indexes(target, all, false).await;
        failed.extend(write::build_indexes(target, all, true).await);
        match failed.into_iter().next() {
            None => {}
            Some(failed) if failed.error == DatabaseError::DuplicateKey => return Ok(false),
            Some(failed) => return Err(failed.into()),
        }
    }
    Ok(true)
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
