//! Entries that `history` reads: those of the server's oplog, or in storage.

use std::future::ready;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_mongo::mongodb::bson::RawDocumentBuf;

use super::History;
use crate::archive::decoding::identity_of;
use crate::context::Context;
use crate::continuous::stored::{Range, SliceSource, StoredEntries};
use crate::continuous::timeline::{Part, timeline};
use crate::error::Error;
use crate::oplog::Position;
use crate::oplog::entry::Entry;
use crate::oplog::server::{ServerOplog, Until};
use crate::repository::{Repository, StoredChain};

/// Time before the end from which changes are shown.
const USUAL: SignedDuration = SignedDuration::from_hours(1);

/// Entries to look at.
pub(super) struct Source {
    /// Second from which on all are there, but for the gaps.
    pub(super) from: Timestamp,
    /// Name of the destination; `None` for the server's oplog.
    pub(super) destination: Option<&'static str>,
    /// Times of which storage has no changes.
    pub(super) gaps: Vec<Gap>,
    pub(super) entries: BoxStream<'static, Result<RawDocumentBuf, Error>>,
}

/// Time between two chains of continuous backup.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Gap {
    /// Second of the last change before it.
    pub(super) from: Timestamp,
    /// Second of the backup at which the next chain begins.
    pub(super) to: Timestamp,
}

impl History {
    /// The server's oplog; storage if that is wanted, or the oplog begins later than what is wanted.
    pub(super) async fn source(&self, context: &Context) -> Result<Source, Error> {
        if self.from_storage {
            return self.stored(context, "").await;
        }
        let oplog = ServerOplog::new(&context.client, &context.settings.database);
        let newest = oplog.majority().await?;
        let oldest = oplog.oldest().await?.unwrap_or_default();
        let oldest_second = second_of(oldest);
        let from = match self.from {
            Some(from) if first_of(from) < oldest => {
                let why = format!("the server's oplog begins later, at {oldest_second}; ");
                return self.stored(context, &why).await;
            }
            Some(from) => from,
            None => (context.clock.now() - USUAL).max(oldest_second),
        };
        let from = whole_second(from);
        let entries = oplog.entries(before(from), self.until(newest)).await?;
        let entries = entries.map_err(|error| Error::database("reading the oplog")(error));
        Ok(Source {
            from,
            destination: None,
            gaps: Vec::new(),
            entries: later_than(before(from), entries.boxed()),
        })
    }

    /// All chains in storage that have changes wanted. `why` begins the error.
    async fn stored(&self, context: &Context, why: &str) -> Result<Source, Error> {
        let name = if self.copy { "copy" } else { "primary" };
        let repository = context
            .repositories()
            .find(|repository| repository.name == name)
            .ok_or_else(|| Error::NotFound(format!("there is no destination {name}")))?;
        let chains = repository.chains().await?;
        let ranges = chains.iter().flat_map(StoredChain::ranges);
        let ranges = ranges.filter(|range| self.to.is_none_or(|to| range.after() < first_of(to)));
        let ranges: Vec<Range> = ranges.collect();
        let newest = ranges.iter().map(Range::through).max().unwrap_or_default();
        let end = self.until(newest).end();
        let from = self.from.unwrap_or(second_of(end) - USUAL);
        let parts = timeline(ranges, before(from));
        let Some(first) = parts.first() else {
            return Err(Error::Refused(format!(
                "{why}storage has no changes of then (`silo-backup chain` lists what it has)"
            )));
        };
        let gaps = parts
            .windows(2)
            .filter_map(|parts| Gap::between(&parts[0], &parts[1]));
        Ok(Source {
            from: whole_second(from.max(second_of(first.after))),
            destination: Some(repository.name),
            gaps: gaps.collect(),
            entries: self.read(context, repository, parts),
        })
    }

    fn read(
        &self,
        context: &Context,
        repository: &Repository,
        parts: Vec<Part>,
    ) -> BoxStream<'static, Result<RawDocumentBuf, Error>> {
        let settings = &context.settings;
        let identity = settings.identity.as_ref().and_then(identity_of);
        let source = SliceSource::Stored(repository.clone(), identity);
        let read = parts.into_iter().map(|part| {
            let until = self.until(part.through);
            let entries = StoredEntries::new(source.clone(), part.range, &settings.database);
            later_than(part.after, entries.read(part.after, until).boxed())
        });
        stream::iter(read.collect::<Vec<_>>()).flatten().boxed()
    }

    /// The end of what is wanted, or of what is there.
    fn until(&self, through: Position) -> Until {
        match self.to.map(first_of) {
            Some(to) if to <= through => Until::Before(to),
            _ => Until::Through(through),
        }
    }
}

impl Gap {
    fn between(one: &Part, next: &Part) -> Option<Self> {
        (one.through < next.after).then(|| Self {
            from: second_of(one.through),
            to: second_of(next.after),
        })
    }
}

/// Entries without those up to a position, which are read as parts of transactions that go on.
fn later_than(
    after: Position,
    entries: BoxStream<'static, Result<RawDocumentBuf, Error>>,
) -> BoxStream<'static, Result<RawDocumentBuf, Error>> {
    let is_later = move |entry: &RawDocumentBuf| {
        // One that cannot be read is an error later.
        Entry::parse(entry.as_bytes()).map_or(true, |entry| entry.at > after)
    };
    entries
        .try_filter(move |entry| ready(is_later(entry)))
        .boxed()
}

fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn second_of(at: Position) -> Timestamp {
    Timestamp::from_second(at.seconds.into()).unwrap_or_default()
}

/// The last position before a second.
fn before(time: Timestamp) -> Position {
    Position {
        seconds: first_of(time).seconds.saturating_sub(1),
        increment: u32::MAX,
    }
}

/// The first position of a second.
fn first_of(time: Timestamp) -> Position {
    Position {
        seconds: u32::try_from(time.as_second()).unwrap_or_default(),
        increment: 0,
    }
}
