//! Following the source after a copy: its changes are applied until the cut-over.

use jiff::Timestamp;
use serde::Serialize;
use silo_cli::progress::Reporter;
use silo_mongo::collections;
use silo_mongo::error::{ActionError, DatabaseError};
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Document, RawArrayBuf, RawDocumentBuf, cstr, doc};
use silo_mongo::mongodb::options::FullDocumentType;
use tokio_util::sync::CancellationToken;

use super::changes::{Change, Event, token};
use super::state::{CollectionState, CopyState, Phase};
use super::{Request, create, finish, of_silo, refuse_existing};
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
    progress.begin("following", None, "changes");
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
    let action = "following the changes of the source";
    let mut stream = stream
        .await
        .map_err(ActionError::of(action))?
        .with_type::<RawDocumentBuf>();
    let mut followed = Followed::default();
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
            if request.includes(&event.collection) {
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
        }
        progress.at(&format!("{} s behind", followed.lag_seconds));
        if caught_up && until_caught_up {
            break;
        }
    }
    // What was received and not applied is received again.
    Ok(followed)
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
                    updates.push(upsert(document));
                    while let Some(next) = events.next_if(|next| {
                        next.collection == name && matches!(next.change, Change::Write(_))
                    }) {
                        if let Change::Write(document) = next.change {
                            updates.push(upsert(document));
                        }
                    }
                    write(target, &name, cstr!("update"), cstr!("updates"), updates).await?;
                }
                Change::Delete(key) => {
                    let mut deletes = RawArrayBuf::new();
                    deletes.push(deletion(&key));
                    while let Some(next) = events.next_if(|next| {
                        next.collection == name && matches!(next.change, Change::Delete(_))
                    }) {
                        if let Change::Delete(key) = next.change {
                            deletes.push(deletion(&key));
                        }
                    }
                    write(target, &name, cstr!("delete"), cstr!("deletes"), deletes).await?;
                }
                Change::Drop => drop_copied(target, &name).await?,
                Change::Other(kind) => {
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
    refuse_existing(target, name).await?;
    CollectionState::default().write(target, name).await?;
    let all = collections::list(source).await;
    let all = all.map_err(ActionError::of("listing the source"))?;
    // One that is dropped by now is created by its first document, and dropped again later.
    if let Some(collection) = all.iter().find(|collection| collection.name == name) {
        create(target, collection).await?;
        finish(target, collection).await?;
    }
    CollectionState {
        phase: Phase::Complete,
        last: None,
    }
    .write(target, name)
    .await
}

/// Drops a collection that the source has dropped, if this copy has written it.
async fn drop_copied(target: &Database, name: &str) -> Result<(), Error> {
    if CollectionState::read(target, name).await?.is_none() {
        return Ok(());
    }
    let dropped = target.collection::<Document>(name).drop().await;
    dropped.map_err(ActionError::of(format!("dropping {name}")))?;
    let id = format!("{}.{name}", target.name());
    let forgotten = of_silo(target, "copies")
        .delete_one(doc! { "_id": id })
        .await;
    forgotten.map_err(ActionError::of("recording the state of the copy"))?;
    Ok(())
}

/// Selects a document by its `_id`, whatever its type.
fn selector(document: &RawDocumentBuf) -> RawDocumentBuf {
    let mut equal = RawDocumentBuf::new();
    if let Ok(Some(id)) = document.get("_id") {
        equal.append(cstr!("$eq"), id);
    }
    let mut selector = RawDocumentBuf::new();
    selector.append(cstr!("_id"), equal);
    selector
}

fn upsert(document: RawDocumentBuf) -> RawDocumentBuf {
    let mut update = RawDocumentBuf::new();
    update.append(cstr!("q"), selector(&document));
    update.append(cstr!("u"), document);
    update.append(cstr!("upsert"), true);
    update
}

fn deletion(key: &RawDocumentBuf) -> RawDocumentBuf {
    let mut delete = RawDocumentBuf::new();
    delete.append(cstr!("q"), selector(key));
    delete.append(cstr!("limit"), 1);
    delete
}

/// Runs a command of writes, in their order.
async fn write(
    target: &Database,
    collection: &str,
    name: &silo_mongo::mongodb::bson::raw::CStr,
    list: &silo_mongo::mongodb::bson::raw::CStr,
    writes: RawArrayBuf,
) -> Result<(), Error> {
    let action = format!("applying changes to {collection}");
    let mut command = RawDocumentBuf::new();
    command.append(name, collection);
    command.append(cstr!("ordered"), true);
    command.append(list, writes);
    if name == cstr!("update") {
        command.append(cstr!("bypassDocumentValidation"), true);
    }
    let answer = target.run_raw_command(command).await;
    let answer = answer.map_err(ActionError::of(action.as_str()))?;
    let errors = answer.get_array("writeErrors").ok();
    let code = errors.and_then(|errors| errors.first()?.as_document()?.get_i32("code").ok());
    match code {
        None => Ok(()),
        Some(code) => Err(ActionError::of(action)(DatabaseError::from_server_code(code)).into()),
    }
}
