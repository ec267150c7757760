//! Merging: small slices of a day become one, so that a restore reads a few objects instead of thousands. The small ones are deleted seven days later.

use futures_util::{Stream, TryStreamExt};
use log::{info, warn};

use super::local_copy;
use super::slice::Slice;
use super::spool;
use super::stored::{Range, SliceSource, StoredEntries};
use crate::archive::decoding::identity_of;
use crate::archive::encoding::encrypted;
use crate::context::Context;
use crate::error::Error;
use crate::repository::{Repository, StoredChain, StoredSlice};

/// Bytes of a slice that is merged with others.
const SMALL: u64 = 256 * 1024;
/// Bytes of slices that are merged into one,
const LARGEST: u64 = 1024 * 1024;
/// and bytes of their entries, which are in memory.
const LARGEST_ENTRIES: usize = 4 * 1024 * 1024;
/// Seconds of a merged slice: slices are deleted as a whole.
const LONGEST: u32 = 24 * 3600;
/// Slices of the last seconds are not merged yet: they are still in the spool.
const NEWEST: u32 = 3600;

/// Merges slices of a destination. Returns the number of slices that were merged. Where some cannot be read, the others are merged.
///
/// # Errors
/// When the destination cannot be listed or written.
pub async fn run(context: &Context, repository: &Repository) -> Result<usize, Error> {
    let settings = &context.settings;
    let copies = match local_copy::is_needed(settings) {
        true => Some(spool::slices(&settings.folder)?),
        false => None,
    };
    let mut merged = 0;
    for chain in repository.chains().await? {
        let copies = copies.as_deref().map(|chains| Copies {
            chains,
            chain: &chain.id,
        });
        for range in chain.ranges() {
            for group in groups(&range, copies.as_ref()) {
                let source = match &copies {
                    Some(_) => SliceSource::Files,
                    None => {
                        let identity = settings.identity.as_ref().and_then(identity_of);
                        SliceSource::Stored(repository.clone(), identity)
                    }
                };
                let part = Range::new(&chain.id, group);
                let slices = StoredEntries::new(source, part, &settings.database).all();
                match merge(context, repository, &chain.id, slices).await {
                    Ok(number) => merged += number,
                    Err(
                        error @ (Error::Corrupt(_) | Error::Inconclusive(_) | Error::Refused(_)),
                    ) => {
                        warn!(destination = repository.name, code = error.code(); "slices were not merged: {error}");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    if merged > 0 {
        info!(destination = repository.name, merged; "small slices of the oplog were merged");
    }
    Ok(merged)
}

/// Merges slices that follow each other, as many at once as fit into memory.
async fn merge(
    context: &Context,
    repository: &Repository,
    chain: &str,
    slices: impl Stream<Item = Result<Slice, Error>>,
) -> Result<usize, Error> {
    let mut slices = std::pin::pin!(slices);
    let (mut merged, mut part, mut bytes) = (0, Vec::new(), 0);
    loop {
        let next = slices.try_next().await?;
        let size = next.as_ref().map_or(0, Slice::entry_bytes);
        if next.is_none() || bytes + size > LARGEST_ENTRIES {
            let part = std::mem::take(&mut part);
            bytes = 0;
            if part.len() > 1 {
                merged += part.len();
                store(context, repository, chain, part).await?;
            }
        }
        let Some(slice) = next else {
            return Ok(merged);
        };
        bytes += size;
        part.push(slice);
    }
}

async fn store(
    context: &Context,
    repository: &Repository,
    chain: &str,
    slices: Vec<Slice>,
) -> Result<(), Error> {
    let recipient = context.settings.encoding.recipient.clone();
    let is_encrypted = recipient.is_some();
    let merging = tokio::task::spawn_blocking(move || {
        let slice = Slice::merged(&slices).map_err(|error| Error::Corrupt(error.to_string()))?;
        let mut bytes = Vec::new();
        slice.write(&mut bytes)?;
        Ok::<_, Error>((slice.header.span(), encrypted(bytes, recipient.as_deref())?))
    });
    let (span, bytes) = merging
        .await
        .map_err(|_panic| Error::Engine("merging slices was interrupted".into()))??;
    let stored = repository.store_slice(chain, span, bytes.into(), is_encrypted);
    if let Err(error) = stored.await {
        // It would stand for those that it was merged from.
        repository.delete_slice(chain, span, is_encrypted).await?;
        return Err(error);
    }
    Ok(())
}

/// Slices in the spool, which are read instead of those that are stored.
struct Copies<'a> {
    chains: &'a [StoredChain],
    chain: &'a str,
}

impl Copies<'_> {
    fn of(&self, slice: &StoredSlice) -> Option<StoredSlice> {
        let chain = self.chains.iter().find(|chain| chain.id == self.chain)?;
        let mut copies = chain.slices.iter();
        copies.find(|copy| copy.span == slice.span).cloned()
    }
}

/// Small slices that follow each other, in groups of which each becomes one. With copies, only what is there.
fn groups(range: &Range, copies: Option<&Copies<'_>>) -> Vec<Vec<StoredSlice>> {
    let newest = range.through().seconds.saturating_sub(NEWEST);
    let mut groups: Vec<Vec<StoredSlice>> = vec![Vec::new()];
    for slice in range.slices() {
        let is_small = slice.bytes <= SMALL && slice.span.through.seconds <= newest;
        let readable = match copies {
            Some(copies) => copies.of(slice),
            None => Some(slice.clone()),
        };
        let Some(readable) = readable.filter(|_| is_small) else {
            groups.push(Vec::new());
            continue;
        };
        let fits = groups.last().is_some_and(|group| {
            let bytes: u64 = group.iter().map(|slice| slice.bytes).sum();
            let begin = group
                .first()
                .map_or(slice.span.after, |first| first.span.after);
            let seconds = slice.span.through.seconds.saturating_sub(begin.seconds);
            bytes + slice.bytes <= LARGEST && seconds <= LONGEST
        });
        match groups.last_mut() {
            Some(group) if fits => group.push(readable),
            _ => groups.push(vec![readable]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::continuous::slice::Span;
    use crate::oplog::Position;

    /// Slices that follow each other, each with its seconds and bytes.
    fn range(slices: &[(u32, u64)]) -> Range {
        let position = |seconds| Position {
            seconds,
            increment: 1,
        };
        let mut end = 1000;
        let slices = slices.iter().map(|(seconds, bytes)| {
            let span = Span {
                after: position(end),
                through: position(end + seconds),
            };
            end += seconds;
            StoredSlice {
                span,
                key: String::new(),
                bytes: *bytes,
            }
        });
        Range::new("chain", slices.collect())
    }

    fn sizes(slices: &[(u32, u64)]) -> Vec<usize> {
        groups(&range(slices), None).iter().map(Vec::len).collect()
    }

    #[test]
    fn small_slices_are_merged_up_to_a_day_or_a_megabyte() {
        let newest = [(NEWEST, 1)];
        let of = |slices: &[(u32, u64)]| sizes(&[slices, &newest].concat());
        assert_eq!(of(&[(20, 100); 30]), [30]);
        assert_eq!(of(&[(20, 200 * 1024); 12]), [5, 5, 2]);
        // Hours: a day, and the rest.
        assert_eq!(of(&[(3600, 100); 30]), [24, 6]);
        // A large one stays as it is.
        assert_eq!(
            of(&[
                (20, 100),
                (20, 100),
                (20, 2 * SMALL),
                (20, 100),
                (20, 100),
                (20, 100)
            ]),
            [2, 3]
        );
        assert_eq!(of(&[(20, 100), (20, 2 * SMALL)]), <[usize; 0]>::default());
    }

    #[test]
    fn the_newest_slices_are_not_merged() {
        assert_eq!(sizes(&[(20, 100); 30]), <[usize; 0]>::default());
        assert_eq!(
            sizes(&[&[(20, 100); 30][..], &[(20, 100); 180]].concat()),
            [30]
        );
    }
}
