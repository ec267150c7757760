//! Following the source after a copy: its changes are applied until the cut-over.

use jiff::Timestamp;
use serde::Serialize;
use silo_cli::progress::Reporter;
use silo_mongo::collections::Kind;
use silo_mongo::error::{ActionError, DatabaseError};
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::RawDocumentBuf;
use silo_mongo::mongodb::change_stream::ChangeStream;
use silo_mongo::mongodb::options::FullDocumentType;
use silo_mongo::write;
use tokio_util::sync::CancellationToken;

use super::apply::Pending;
use super::changes::{Event, token};
use super::state::{CollectionState, CopyState};
use super::{Request, identity, wanted};
use crate::error::Error;

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
