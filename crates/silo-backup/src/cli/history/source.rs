//! Entries that `history` reads: those of the server's oplog, or in storage.

use std::future::ready;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
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
    /// Second in which they begin.
    pub(super) from: Timestamp,
    /// Second before which they end; `None` if they go on up to now.
    pub(super) to: Option<Timestamp>,
    /// Name of the destination; `None` for the server's oplog.
    pub(super) destination: Option<&'static str>,
    /// What is missing between these times, and where it may be.
    pub(super) notes: Vec<String>,
    pub(super) entries: BoxStream<'static, Result<RawDocumentBuf, Error>>,
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
                let mut stored = self.stored(context, &why).await?;
                stored.notes.push(format!(
                    "later changes are in the server's oplog: `--from` {oldest_second} or later lists those"
                ));
                return Ok(stored);
            }
            Some(from) => from,
            None => (context.clock.now() - USUAL).max(oldest_second),
        };
        let from = whole_second(from);
        let entries = oplog.entries(before(from), self.until(newest)).await?;
        let entries = entries.map_err(|error| Error::database("reading the oplog")(error));
        Ok(Source {
            from,
            to: self.to,
            destination: None,
            notes: Vec::new(),
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
        let is_wanted = |range: &Range| {
            self.chain.as_ref().is_none_or(|id| *id == range.chain)
                && self.to.is_none_or(|to| range.after() < first_of(to))
        };
        let ranges = chains.iter().flat_map(StoredChain::ranges);
        let mut ranges: Vec<Range> = ranges.filter(is_wanted).collect();
        ranges.sort_by_key(|range| (range.after(), range.through()));
        let end = self.until(ranges.last().map(Range::through).unwrap_or_default());
        let from = self.from.unwrap_or(end_of(end) - USUAL);
        let parts = timeline(ranges, before(from));
        let Some(first) = parts.first() else {
            return Err(Error::Refused(format!(
                "{why}{name} has no changes of then (`silo-backup chain` lists what it has)"
            )));
        };
        let mut notes = self.missing(name, &parts);
        if !notes.is_empty() && !self.copy && context.repositories().any(|at| at.name == "copy") {
            notes.push("the second copy may have them: `--from-storage --copy`".into());
        }
        notes.extend(parts.iter().filter_map(|part| self.overlap(part)));
        Ok(Source {
            from: whole_second(from.max(second_of(first.after))),
            to: Some(end_of(end)),
            destination: Some(repository.name),
            notes,
            entries: self.read(context, repository, parts),
        })
    }

    /// Times of which a destination has no slices.
    fn missing(&self, name: &str, parts: &[Part]) -> Vec<String> {
        let mut ends: Vec<Option<Position>> = vec![self.from.map(before)];
        ends.extend(parts.iter().map(|part| Some(part.through)));
        let begins = parts.iter().map(|part| Some(part.after));
        let begins = begins.chain([self.to.map(before)]);
        let gaps = ends.into_iter().zip(begins);
        gaps.filter_map(|(end, begin)| Some((end?, begin?)))
            .filter(|(end, begin)| end < begin)
            .map(|(end, begin)| {
                let (from, to) = (second_of(end), second_of(begin));
                format!("{name} has no slices of the time from {from} to {to}")
            })
            .collect()
    }

    /// Time that a chain has, and a later one, too.
    fn overlap(&self, part: &Part) -> Option<String> {
        let end = part.range.through();
        let is_wanted = self.to.is_none_or(|to| part.through < before(to));
        (part.through < end && is_wanted).then(|| {
            let (from, to) = (second_of(part.through), second_of(end));
            let chain = &part.range.chain;
            format!(
                "of {from} to {to}, another chain has changes, too, which were undone if the server was set back: `--chain {chain}` lists them"
            )
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

/// Time before which all that is taken ends.
fn end_of(until: Until) -> Timestamp {
    let end = match until {
        Until::Before(end) => end.seconds,
        Until::Through(end) => end.seconds.saturating_add(1),
    };
    Timestamp::from_second(end.into()).unwrap_or_default()
}

/// Entries without those up to a position, which are read as parts of transactions that go on.
fn later_than(
    after: Position,
    entries: BoxStream<'static, Result<RawDocumentBuf, Error>>,
) -> BoxStream<'static, Result<RawDocumentBuf, Error>> {
    let is_later = move |entry: &RawDocumentBuf| {
        // One that is malformed is an error later.
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
