//! Merging: small slices of a day become one, so that a restore reads a few objects instead of thousands. The small ones are deleted seven days later.

use futures_util::TryStreamExt;
use log::info;

use super::local_copy;
use super::slice::Slice;
use super::spool;
use super::stored::{Range, SliceSource, StoredEntries};
use crate::archive::decoding::identity_of;
use crate::archive::encoding::encrypted;
use crate::context::Context;
use crate::error::Error;
use crate::repository::{Repository, StoredSlice};

/// Bytes of a slice that is merged with others.
const SMALL: u64 = 256 * 1024;
/// Bytes of slices that are merged into one.
const LARGEST: u64 = 1024 * 1024;
/// Seconds of a merged slice: slices are deleted as a whole.
const LONGEST: u32 = 24 * 3600;
/// Slices of the last seconds are not merged yet: they are still in the spool.
const NEWEST: u32 = 3600;

/// Merges slices of a destination. Returns the number of slices that were merged.
///
/// # Errors
/// When one cannot be read or written. Those before it are merged.
pub async fn run(context: &Context, repository: &Repository) -> Result<usize, Error> {
    let settings = &context.settings;
    let has_copies = local_copy::is_needed(settings);
    let mut merged = 0;
    for chain in repository.chains().await? {
        for range in chain.ranges() {
            for group in groups(&range) {
                let (source, slices) = if has_copies {
                    let Some(copies) = copies(context, &range.chain, &group)? else {
                        continue;
                    };
                    (SliceSource::Files, copies)
                } else {
                    let identity = settings.identity.as_ref().and_then(identity_of);
                    (SliceSource::Stored(repository.clone(), identity), group)
                };
                let number = slices.len();
                let part = Range::new(&range.chain, slices);
                let slices = StoredEntries::new(source, part, &settings.database).all();
                let slices: Vec<Slice> = slices.try_collect().await?;
                store(context, repository, &range.chain, slices).await?;
                merged += number;
            }
        }
    }
    if merged > 0 {
        info!(destination = repository.name, merged; "small slices of the oplog were merged");
    }
    Ok(merged)
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
    repository
        .store_slice(chain, span, bytes.into(), is_encrypted)
        .await
}

/// The same slices in the spool; `None` if it does not have all of them.
fn copies(
    context: &Context,
    chain: &str,
    group: &[StoredSlice],
) -> Result<Option<Vec<StoredSlice>>, Error> {
    let chains = spool::slices(&context.settings.folder)?;
    let here = chains
        .iter()
        .filter(|here| here.id == chain)
        .flat_map(|here| &here.slices);
    let here: Vec<&StoredSlice> = here.collect();
    let copy = |slice: &StoredSlice| {
        here.iter()
            .find(|copy| copy.span == slice.span)
            .map(|copy| (*copy).clone())
    };
    Ok(group.iter().map(copy).collect())
}

/// Small slices that follow each other, in groups that become one each.
fn groups(range: &Range) -> Vec<Vec<StoredSlice>> {
    let newest = range.through().seconds.saturating_sub(NEWEST);
    let mut groups: Vec<Vec<StoredSlice>> = vec![Vec::new()];
    for slice in range.slices() {
        let is_small = slice.bytes <= SMALL && slice.span.through.seconds <= newest;
        let group = groups.last_mut();
        let fits = group.is_some_and(|group| {
            let bytes: u64 = group.iter().map(|slice| slice.bytes).sum();
            let begin = group
                .first()
                .map_or(slice.span.after, |first| first.span.after);
            bytes + slice.bytes <= LARGEST && slice.span.through.seconds - begin.seconds <= LONGEST
        });
        if !is_small || !fits {
            groups.push(Vec::new());
        }
        if is_small && let Some(group) = groups.last_mut() {
            group.push(slice.clone());
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
        groups(&range(slices)).iter().map(Vec::len).collect()
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
