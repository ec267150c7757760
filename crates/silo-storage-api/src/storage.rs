//! Published result of a scan: sums by bucket, kind and user, rankings and growth, computed once.

mod view;

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use silo_core::units::{count_from_usize, share};

use crate::history::History;
use crate::owners::{Kind, Layout};
use crate::scan_results::{Failure, ScanResult, ScanResults};
use crate::totals::{Kinds, Prefix, Prefixes, Sum};

pub use view::{BucketView, ClassSum, GrowthView, KindSum, OwnerView, PrefixSum, Storage, Usage};

/// Days of the history.
const HISTORY_DAYS: i32 = 90;
/// Folders in the list of the largest.
const MAX_PREFIXES: usize = 20;

impl Storage {
    /// Computes everything. `layouts` are those of the settings; a bucket that is no longer there is left out of `results` before.
    #[must_use]
    pub fn of(
        results: &ScanResults,
        layouts: &HashMap<String, Layout>,
        history: &History,
        today: Date,
    ) -> Self {
        let owners = owners(results);
        let names: Vec<_> = results
            .buckets
            .iter()
            .map(|bucket| bucket.name.as_str())
            .collect();
        let ranks = owners
            .iter()
            .enumerate()
            .map(|(at, owner)| (owner.sub.clone(), at))
            .collect();
        let view = |bucket: &crate::scan_results::Bucket| {
            let layout = layouts.get(&bucket.name).copied().unwrap_or(Layout::Plain);
            bucket_view(
                &bucket.name,
                layout,
                bucket.found.as_ref(),
                bucket.failure.clone(),
            )
        };
        Self {
            buckets: results.buckets.iter().map(view).collect(),
            usage: usage(results, owners.len(), history, today),
            history: history.days(today, HISTORY_DAYS, &names),
            owners,
            ranks,
        }
    }

    /// A user's objects and rank, from 1; `None` for a user without any.
    #[must_use]
    pub fn owner(&self, sub: &str) -> Option<(usize, &OwnerView)> {
        let at = *self.ranks.get(sub)?;
        Some((at + 1, self.owners.get(at)?))
    }

    /// A part of all known bytes, from 0 to 1.
    #[must_use]
    pub fn share(&self, bytes: u64) -> Option<f64> {
        share(bytes, self.usage.known_bytes)
    }
}

fn bucket_view(
    name: &str,
    layout: Layout,
    found: Option<&ScanResult>,
    error: Option<Failure>,
) -> BucketView {
    let totals = found.map(|found| &found.totals);
    let class = |(class, sum): (&String, &Sum)| ClassSum {
        class: class.clone(),
        objects: sum.objects,
        bytes: sum.bytes,
    };
    BucketView {
        name: name.to_owned(),
        layout,
        objects: totals.map(|totals| totals.all.objects),
        bytes: totals.map(|totals| totals.all.bytes),
        newest_object: totals.and_then(|totals| totals.newest),
        kinds: totals
            .map(|totals| kind_sums(&totals.kinds))
            .unwrap_or_default(),
        classes: totals
            .map(|totals| totals.classes.iter().map(class).collect())
            .unwrap_or_default(),
        sizes: totals
            .map(|totals| totals.sizes.classes().collect())
            .unwrap_or_default(),
        ages: totals
            .map(|totals| totals.ages.classes().collect())
            .unwrap_or_default(),
        largest_prefixes: totals
            .map(|totals| prefix_sums(&totals.prefixes))
            .unwrap_or_default(),
        prefixes_missing_bytes: totals.map(|totals| totals.prefixes.missing_bytes()),
        owners: totals.map(|totals| count_from_usize(totals.owners.len())),
        unattributed: totals.map(|totals| totals.unattributed),
        unfinished_uploads: found.and_then(|found| found.unfinished.clone()),
        older_versions: found.and_then(|found| found.older_versions),
        as_of: found.map(|found| found.begun),
        error,
    }
}

fn prefix_sums(prefixes: &Prefixes) -> Vec<PrefixSum> {
    let sum = |largest: Prefix<'_>| PrefixSum {
        prefix: largest.prefix.to_owned(),
        objects: largest.sum.objects,
        bytes: largest.sum.bytes,
    };
    let largest = prefixes.largest(MAX_PREFIXES).into_iter();
    largest.map(sum).collect()
}

/// The kinds of which there are any, the largest first.
#[must_use]
pub fn kind_sums(kinds: &Kinds) -> Vec<KindSum> {
    let sum = |(kind, sum): (Kind, Sum)| KindSum {
        kind,
        objects: sum.objects,
        bytes: sum.bytes,
    };
    let mut sums: Vec<_> = kinds.present().map(sum).collect();
    sums.sort_by_key(|sum| std::cmp::Reverse(sum.bytes));
    sums
}

fn usage(results: &ScanResults, owners: usize, history: &History, today: Date) -> Usage {
    let (mut known, mut unattributed, mut kinds) =
        (Sum::default(), Sum::default(), Kinds::default());
    let mut sums = Vec::new();
    let mut oldest: Option<Timestamp> = None;
    for bucket in &results.buckets {
        let Some(found) = &bucket.found else { continue };
        known.add(found.totals.all);
        unattributed.add(found.totals.unattributed);
        kinds.add_all(&found.totals.kinds);
        sums.push((bucket.name.as_str(), found.totals.all));
        oldest = Some(oldest.map_or(found.begun, |oldest| oldest.min(found.begun)));
    }
    let any = !sums.is_empty();
    let whole = sums.len() == results.buckets.len();
    let growth = |days| whole.then(|| history.growth(today, days, &sums)).flatten();
    Usage {
        bytes: whole.then_some(known.bytes),
        objects: whole.then_some(known.objects),
        known_bytes: known.bytes,
        known_objects: known.objects,
        buckets: count_from_usize(results.buckets.len()),
        kinds: kind_sums(&kinds),
        owners: any.then(|| count_from_usize(owners)),
        unattributed: any.then_some(unattributed),
        growth: GrowthView {
            last_day: growth(1),
            last_week: growth(7),
            first_day: history.first(),
        },
        last_full_scan: oldest.filter(|_| whole),
    }
}

/// Every owner over all buckets, the one with the most bytes first, of equals the first by sub.
fn owners(results: &ScanResults) -> Vec<OwnerView> {
    let mut owners = HashMap::<&str, OwnerView>::new();
    for (place, bucket) in results.buckets.iter().enumerate() {
        for (sub, share) in bucket.found.iter().flat_map(|found| &found.totals.owners) {
            let owner = owners.entry(sub).or_default();
            let sum = share.kinds.sum();
            owner.sum.add(sum);
            owner.buckets.push((place, sum));
            owner.kinds.add_all(&share.kinds);
            let largest = share.largest.iter();
            owner
                .largest
                .extend(largest.map(|(bytes, key)| (*bytes, place, key.clone())));
        }
    }
    let mut owners: Vec<_> = owners
        .into_iter()
        .map(|(sub, mut owner)| {
            sub.clone_into(&mut owner.sub);
            owner
                .largest
                .sort_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
            owner.largest.truncate(5);
            owner.largest.shrink_to_fit();
            owner
        })
        .collect();
    owners.sort_by(|a, b| {
        b.sum
            .bytes
            .cmp(&a.sum.bytes)
            .then_with(|| a.sub.cmp(&b.sub))
    });
    owners
}

/// The day of a moment, in UTC.
#[must_use]
pub fn day(moment: Timestamp) -> Date {
    Offset::UTC.to_datetime(moment).date()
}
