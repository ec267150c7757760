//! Entries in the slices that a destination has.

use std::collections::{BTreeSet, VecDeque};
use std::future::ready;

use futures_util::future::{join_all, try_join_all};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use log::warn;
use silo_mongo::mongodb::bson::RawDocumentBuf;

use super::slice::Slice;
use crate::error::Error;
use crate::oplog::Position;
use crate::oplog::entry::Entry;
use crate::oplog::server::{Edge, LONGEST_COMMIT, Until};
use crate::repository::{Repository, StoredChain, StoredSlice};

/// Slices that are read at once,
const AT_ONCE: usize = 4;
/// unless they have more bytes than this together.
const BYTES_AT_ONCE: u64 = 1024 * 1024;

/// Slices of one chain without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Id of the chain.
    pub chain: String,
    /// At least one slice.
    slices: Vec<StoredSlice>,
}

impl StoredChain {
    /// The stretches of this chain without a gap: one, if nothing is missing.
    #[must_use]
    pub fn ranges(&self) -> Vec<Range> {
        let slices = self.without_merged();
        let joined = slices.chunk_by(|one, next| one.span.through == next.span.after);
        let range = |slices: &[StoredSlice]| Range {
            chain: self.id.clone(),
            slices: slices.to_vec(),
        };
        joined.map(range).collect()
    }
}

impl StoredChain {
    /// Slices without those that were merged into others.
    fn without_merged(&self) -> Vec<StoredSlice> {
        let mut slices = self.slices.clone();
        slices.sort_by_key(|slice| (slice.span.after, std::cmp::Reverse(slice.span.through)));
        let mut end: Option<Position> = None;
        slices.retain(|slice| {
            let is_new = end.is_none_or(|end| slice.span.through > end);
            end = end.max(Some(slice.span.through));
            is_new
        });
        slices
    }

    /// Slices that were merged into others.
    #[must_use]
    pub fn merged(&self) -> Vec<&StoredSlice> {
        let rest = self.without_merged().into_iter();
        let rest: BTreeSet<String> = rest.map(|slice| slice.key).collect();
        self.slices
            .iter()
            .filter(|slice| !rest.contains(&slice.key))
            .collect()
    }
}

impl Range {
    /// Slices that follow each other.
    #[must_use]
    pub fn new(chain: &str, slices: Vec<StoredSlice>) -> Self {
        Self {
            chain: chain.to_owned(),
            slices,
        }
    }

    /// Every moment after this position can be had,
    #[must_use]
    pub fn after(&self) -> Position {
        self.slices
            .first()
            .map_or_else(Position::default, |slice| slice.span.after)
    }

    /// up to this one.
    #[must_use]
    pub fn through(&self) -> Position {
        self.slices
            .last()
            .map_or_else(Position::default, |slice| slice.span.through)
    }

    /// Slices of the range, in their order.
    #[must_use]
    pub fn slices(&self) -> &[StoredSlice] {
        &self.slices
    }
}

/// Source of slices.
#[derive(Clone)]
pub enum SliceSource {
    /// In a destination; encrypted ones need their private key.
    Stored(Repository, Option<age::x25519::Identity>),
    /// In files of this machine, which their keys name.
    Files,
}

/// Entries of a range, as they are read.
pub struct StoredEntries {
    source: SliceSource,
    range: Range,
    database: String,
}

/// Slices that are still to be read, and the entries of the last ones.
struct Reading {
    source: SliceSource,
    chain: String,
    groups: VecDeque<Vec<StoredSlice>>,
    before: Option<Slice>,
}

impl StoredEntries {
    /// Entries of a database in a range.
    #[must_use]
    pub fn new(source: SliceSource, range: Range, database: &str) -> Self {
        Self {
            source,
            range,
            database: database.to_owned(),
        }
    }

    /// Id of the chain.
    #[must_use]
    pub fn chain(&self) -> &str {
        &self.range.chain
    }

    /// All entries after a position, and those of the hour before it, with parts of transactions that end after it. Slices before it that are damaged are
    /// left out: most moments need nothing of them, and a transaction of which a part is missing is noticed at its end.
    pub fn read(
        &self,
        after: Position,
        until: Until,
    ) -> impl Stream<Item = Result<RawDocumentBuf, Error>> + use<> {
        let earliest = Position {
            seconds: after.seconds.saturating_sub(LONGEST_COMMIT),
            increment: 0,
        };
        let wanted =
            |slice: &&StoredSlice| slice.span.through > earliest && slice.span.after < until.end();
        let slices = self.range.slices.iter().filter(wanted).cloned();
        let (before, rest): (Vec<_>, Vec<_>) =
            slices.partition(|slice| slice.span.through <= after);
        let (source, chain) = (self.source.clone(), self.range.chain.clone());
        let before = stream::iter(grouped(before))
            .then(move |group| undamaged(source.clone(), chain.clone(), group))
            .map_ok(|slices| stream::iter(slices.into_iter().map(Ok)))
            .try_flatten();
        let slices = before.chain(self.slices(rest));
        let taken = move |entry: &RawDocumentBuf| {
            Entry::parse(entry.as_bytes()).is_ok_and(|entry| until.includes(entry.at))
        };
        slices
            .map_ok(|slice| stream::iter(entries(&slice)))
            .try_flatten()
            .try_filter(move |entry| ready(taken(entry)))
    }

    /// All slices, each checked to continue the one before.
    pub fn all(&self) -> impl Stream<Item = Result<Slice, Error>> + use<> {
        self.slices(self.range.slices.clone())
    }

    /// The first entry with a change of the database that is left out; `None` if there is none in this range.
    ///
    /// # Errors
    /// When a slice cannot be read.
    pub async fn first_left_out(&self, until: Until) -> Result<Option<Edge>, Error> {
        let later = |slice: &&StoredSlice| !until.includes(slice.span.through);
        let slices = self.slices(self.range.slices.iter().filter(later).cloned().collect());
        let mut slices = std::pin::pin!(slices);
        while let Some(slice) = slices.try_next().await? {
            let entries = slice.entries().filter_map(|entry| Entry::parse(entry).ok());
            let mut left_out =
                entries.filter(|entry| !until.includes(entry.at) && entry.concerns(&self.database));
            if let Some(entry) = left_out.next() {
                return Ok(Some(Edge::new(entry.at, entry.wall)));
            }
        }
        Ok(None)
    }

    /// Reads slices that follow each other, and checks that they do.
    fn slices(&self, slices: Vec<StoredSlice>) -> impl Stream<Item = Result<Slice, Error>> + use<> {
        let reading = Reading {
            source: self.source.clone(),
            chain: self.range.chain.clone(),
            groups: grouped(slices),
            before: None,
        };
        let slices = stream::try_unfold(reading, |mut reading| async move {
            let Some(group) = reading.groups.pop_front() else {
                return Ok(None);
            };
            let read = group
                .iter()
                .map(|slice| read(&reading.source, &reading.chain, slice));
            let slices = try_join_all(read).await?;
            for (slice, stored) in slices.iter().zip(&group) {
                if let Some(before) = &reading.before {
                    let continued = before.continued_by(&slice.header);
                    continued
                        .map_err(|error| Error::Corrupt(format!("{}: {error}", stored.key)))?;
                }
                reading.before = Some(slice.without_entries());
            }
            Ok::<_, Error>(Some((stream::iter(slices.into_iter().map(Ok)), reading)))
        });
        slices.try_flatten()
    }
}

/// Slices in groups that are read at once.
fn grouped(slices: Vec<StoredSlice>) -> VecDeque<Vec<StoredSlice>> {
    let mut groups = VecDeque::<Vec<StoredSlice>>::new();
    let mut bytes = 0;
    for slice in slices {
        bytes += slice.bytes;
        match groups.back_mut() {
            Some(group) if group.len() < AT_ONCE && bytes <= BYTES_AT_ONCE => group.push(slice),
            _ => {
                bytes = slice.bytes;
                groups.push_back(vec![slice]);
            }
        }
    }
    groups
}

async fn read(source: &SliceSource, chain: &str, stored: &StoredSlice) -> Result<Slice, Error> {
    let (bytes, identity) = match source {
        SliceSource::Files => (tokio::fs::read(&stored.key).await?, None),
        SliceSource::Stored(repository, identity) => {
            let is_encrypted = stored.key.ends_with(".age");
            if is_encrypted && identity.is_none() {
                return Err(Error::Refused(
                    "the slices are encrypted: set BACKUP_AGE_IDENTITY to their private key".into(),
                ));
            }
            let identity = identity.clone().filter(|_| is_encrypted);
            (download(repository, stored).await?, identity)
        }
    };
    let key = stored.key.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let slice = Slice::read(&bytes[..], identity.as_ref());
        slice.map_err(|error| Error::Corrupt(format!("{key}: {error}")))
    });
    let slice = opened
        .await
        .map_err(|_panic| Error::Engine("reading a slice was interrupted".into()))??;
    let is_other = match &slice.header {
        header if header.span() != stored.span => "it has other positions than its name",
        header if header.chain != chain => "it is of another chain",
        _ => return Ok(slice),
    };
    Err(Error::Corrupt(format!("{}: {is_other}", stored.key)))
}

/// Reads slices at once, and leaves out those that are damaged.
async fn undamaged(
    source: SliceSource,
    chain: String,
    group: Vec<StoredSlice>,
) -> Result<Vec<Slice>, Error> {
    let slices = group.iter().map(|stored| read(&source, &chain, stored));
    let mut undamaged = Vec::new();
    for slice in join_all(slices).await {
        match slice {
            Ok(slice) => undamaged.push(slice),
            Err(error @ Error::Corrupt(_)) => {
                warn!("a slice before the backup is damaged: {error}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(undamaged)
}

async fn download(repository: &Repository, stored: &StoredSlice) -> Result<Vec<u8>, Error> {
    let mut chunks = repository.download(&stored.key, stored.bytes);
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk.map_err(|error| {
            Error::Inconclusive(format!("{} cannot be read: {error}", stored.key))
        })?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn entries(slice: &Slice) -> Vec<Result<RawDocumentBuf, Error>> {
    let entry = |entry: &[u8]| {
        RawDocumentBuf::from_bytes(entry.to_vec())
            .map_err(|error| Error::Corrupt(error.to_string()))
    };
    slice.entries().map(entry).collect()
}
