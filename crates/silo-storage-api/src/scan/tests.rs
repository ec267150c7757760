use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use silo_spaces::error::Kind;

use super::*;
use crate::totals::Sum;

/// A bucket in memory whose pages are small, and in which objects come and go between any two of them.
struct Bucket {
    objects: Mutex<BTreeMap<String, u64>>,
    page: usize,
    /// Keys that come and go; they have no bytes.
    passing: Vec<String>,
    rng: Mutex<SmallRng>,
    pages: AtomicU64,
    fails_after: Option<u64>,
    /// Keys after which a listing may start without a split: the last key of each page, and the keys at which the scan split the bucket at its start.
    ends: Mutex<BTreeSet<String>>,
    /// Number of pages requested at another key than the last one: splits of another worker's range.
    splits: AtomicU64,
}

struct Nobody;

impl TapeOwners for Nobody {
    async fn owners(&self, _: Vec<String>) -> Result<BTreeMap<String, String>, SourceError> {
        Ok(BTreeMap::new())
    }
}

impl List for Bucket {
    async fn page(&self, after: Option<&str>) -> Result<Page, StorageError> {
        let waits = self.rng.lock().unwrap().random_range(0..6);
        for _ in 0..waits {
            tokio::task::yield_now().await;
        }
        let number = self.pages.fetch_add(1, Ordering::Relaxed);
        if self.fails_after.is_some_and(|after| number >= after) {
            return Err(StorageError {
                kind: Kind::ServerFailed,
                detail: "down".into(),
                retry_after: None,
            });
        }
        self.churn();
        let objects = self.objects.lock().unwrap();
        let from = after.unwrap_or_default().to_owned();
        let mut found = objects
            .range(from..)
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let page: Vec<_> = found
            .by_ref()
            .take(self.page)
            .map(|(key, bytes)| (key.clone(), *bytes))
            .collect();
        let truncated = found.next().is_some();
        let mut ends = self.ends.lock().unwrap();
        let is_split = after.is_some_and(|after| !ends.contains(after));
        self.splits
            .fetch_add(u64::from(is_split), Ordering::Relaxed);
        ends.extend(page.last().map(|(key, _)| key.clone()));
        Ok(Page::of(page, truncated))
    }

    async fn split_keys(&self) -> Result<Vec<String>, StorageError> {
        let mut rng = self.rng.lock().unwrap();
        let count = rng.random_range(0..4);
        let objects = self.objects.lock().unwrap();
        let keys: Vec<_> = objects.keys().cloned().collect();
        let mut split_keys: Vec<_> = keys.choose_multiple(&mut *rng, count).cloned().collect();
        split_keys.sort();
        self.ends.lock().unwrap().extend(split_keys.iter().cloned());
        Ok(split_keys)
    }
}

impl Bucket {
    fn churn(&self) {
        let mut rng = self.rng.lock().unwrap();
        let mut objects = self.objects.lock().unwrap();
        for _ in 0..rng.random_range(0..3) {
            if let Some(key) = self.passing.choose(&mut *rng)
                && objects.remove(key).is_none()
            {
                objects.insert(key.clone(), 0);
            }
        }
    }
}

/// Keys of many shapes: those of AC, numbers, one long beginning, borders, other scripts.
fn key(rng: &mut SmallRng) -> String {
    let hex = |rng: &mut SmallRng, digits: usize| -> String {
        (0..digits)
            .map(|_| char::from_digit(rng.random_range(0..16), 16).unwrap())
            .collect()
    };
    match rng.random_range(0..7) {
        0 => format!("auth0|{}/painting/{}.png", hex(rng, 3), hex(rng, 4)),
        1 => format!("google-oauth2|{}/x.zip", rng.random_range(0..1000)),
        2 => format!("{:06}.png", rng.random_range(0..5000)),
        3 => format!("tapes/{}.mp4", hex(rng, 2)),
        4 => hex(rng, 1),
        5 => "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned() + &hex(rng, 2),
        _ => [
            "ü",
            "日本",
            "🎨",
            " ",
            "~",
            "\u{1}",
            "\u{10ffff}",
            "zz",
            "z",
        ]
        .choose(rng)
        .unwrap()
        .repeat(rng.random_range(1..4)),
    }
}

fn bucket(seed: u64, fails_after: Option<u64>) -> (Bucket, Sum) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let count = rng.random_range(0..300);
    let objects: BTreeMap<_, _> = (0..count)
        .map(|_| (key(&mut rng), rng.random_range(1..1 << 40)))
        .collect();
    // Keys next to existing ones, where ranges may meet, and others.
    let beside = objects
        .keys()
        .flat_map(|key| [format!("{key}\u{0}"), format!("{key}0")]);
    let mut passing: Vec<String> = beside
        .chain((0..50).map(|_| key(&mut rng)))
        .filter(|key| !objects.contains_key(key))
        .collect();
    if seed.is_multiple_of(3) {
        passing.clear();
    }
    let truth = Sum {
        objects: objects.len() as u64,
        bytes: objects.values().sum(),
    };
    let page = rng.random_range(1..12);
    let bucket = Bucket {
        objects: Mutex::new(objects),
        page,
        passing,
        rng: Mutex::new(rng),
        pages: AtomicU64::new(0),
        fails_after,
        ends: Mutex::default(),
        splits: AtomicU64::new(0),
    };
    (bucket, truth)
}

fn assert_counted(seed: u64, bucket: &Bucket, truth: Sum, all: Sum) {
    assert_eq!(
        all.bytes, truth.bytes,
        "seed {seed}: what stayed is counted once"
    );
    let most = truth.objects + bucket.passing.len() as u64;
    assert!(
        (truth.objects..=most).contains(&all.objects),
        "seed {seed}: {} objects, {} stayed, at most {most}",
        all.objects,
        truth.objects
    );
}

fn scan_of<'a, L: List>(
    list: &'a L,
    progress: &'a Progress,
    from: Option<Checkpoint>,
) -> Scan<'a, L, Nobody> {
    let begun = Timestamp::UNIX_EPOCH;
    Scan::new(list, &Nobody, Layout::Plain, progress, begun, from)
}

/// A scan from its beginning.
async fn whole<L: List>(scan: &Scan<'_, L, Nobody>, workers: usize) -> Result<(), StorageError> {
    scan.begin().await?;
    scan.run(workers).await
}

#[tokio::test]
async fn ranges_overlap_nowhere_and_miss_nothing() {
    let mut splits = 0;
    for seed in 0..1500 {
        let (bucket, truth) = bucket(seed, None);
        let progress = Progress::default();
        let scan = scan_of(&bucket, &progress, None);
        let workers = SmallRng::seed_from_u64(seed).random_range(1..20);
        whole(&scan, workers).await.unwrap();
        let checkpoint = scan.checkpoint();
        assert_eq!(checkpoint.remaining, [], "seed {seed}");
        assert_counted(seed, &bucket, truth, checkpoint.totals.all);
        let split = bucket.splits.load(Ordering::Relaxed);
        assert!(
            workers > 1 || split == 0,
            "seed {seed}: one worker has nobody to split with"
        );
        splits += split;
    }
    assert!(splits > 1000, "{splits} splits");
}

#[tokio::test]
async fn an_interrupted_scan_resumes_from_its_checkpoint() {
    let (mut broken, mut saved) = (0, 0);
    for seed in 0..600 {
        let (bucket, truth) = bucket(
            seed,
            Some(SmallRng::seed_from_u64(seed).random_range(0..40)),
        );
        let progress = Progress::default();
        let scan = scan_of(&bucket, &progress, None);
        let outcome = whole(&scan, 5).await;
        let written = serde_json::to_string(&scan.checkpoint()).unwrap();
        let checkpoint: Checkpoint = serde_json::from_str(&written).unwrap();
        if outcome.is_err() {
            broken += 1;
            saved += u64::from(checkpoint.totals.all.objects > 0);
        }
        let bucket = Bucket {
            fails_after: None,
            ..bucket
        };
        let scan = scan_of(&bucket, &progress, Some(checkpoint));
        scan.run(5).await.unwrap();
        assert_counted(seed, &bucket, truth, scan.finish().0.all);
    }
    assert!(
        broken > 200 && saved > 200,
        "{broken} broke off, {saved} had counted something"
    );
}

#[tokio::test]
async fn sixteen_workers_need_far_fewer_round_trips() {
    // Flat names, subs and hexadecimal names: without folders to split at, workers still share the work.
    let shapes: [fn(usize) -> String; 4] = [
        // As the benchmark makes them: 20 keys for each of 5,000 users, spread over all digits.
        |at| {
            format!(
                "auth0|{:024x}/painting/{:06}.png",
                (at as u128 / 20) * (u64::MAX as u128 / 5000) * 0x1_0000_0001,
                at % 20
            )
        },
        |at| format!("{at:07}.png"),
        |at| {
            // As Auth0 makes them: the second of registration, then chance.
            let user = at / 20;
            let chance = user.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            format!(
                "auth0|{:08x}{chance:016x}/painting/{at}.png",
                0x5f00_0000 + user * 9_973
            )
        },
        |at| format!("img/{:016x}", at.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    ];
    for shape in shapes {
        let objects: BTreeMap<_, _> = (0..100_000).map(|at| (shape(at), 1)).collect();
        let bucket = BatchedBucket {
            objects,
            gate: tokio::sync::Notify::new(),
            waiting: AtomicU64::new(0),
            pages: AtomicU64::new(0),
        };
        let progress = Progress::default();
        let scan = scan_of(&bucket, &progress, None);
        let mut rounds = 0_u64;
        let mut run = std::pin::pin!(whole(&scan, 16));
        // Every page that is being waited for arrives at once: that is one round trip.
        loop {
            tokio::select! {
                biased;
                outcome = &mut run => break outcome.unwrap(),
                () = std::future::ready(()) => {
                    rounds += u64::from(bucket.waiting.swap(0, Ordering::Relaxed) > 0);
                    bucket.gate.notify_waiters();
                    tokio::task::yield_now().await;
                }
            }
        }
        assert_eq!(
            scan.checkpoint().totals.all.objects,
            bucket.objects.len() as u64
        );
        // One worker needs a thousand, and so does listing every page once.
        let pages = bucket.pages.load(Ordering::Relaxed);
        assert!(pages <= 1_300, "{pages} pages for keys like {}", shape(7));
        assert!(rounds <= 105, "{rounds} rounds for keys like {}", shape(7));
    }
}

/// Bucket that answers all pending page requests at once, to count round trips.
struct BatchedBucket {
    objects: BTreeMap<String, u64>,
    gate: tokio::sync::Notify,
    waiting: AtomicU64,
    pages: AtomicU64,
}

impl List for BatchedBucket {
    async fn page(&self, after: Option<&str>) -> Result<Page, StorageError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.gate.notified().await;
        let from = after.unwrap_or_default().to_owned();
        let mut found = self
            .objects
            .range(from..)
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let page: Vec<_> = found
            .by_ref()
            .take(100)
            .map(|(key, bytes)| (key.clone(), *bytes))
            .collect();
        Ok(Page::of(page, found.next().is_some()))
    }

    async fn split_keys(&self) -> Result<Vec<String>, StorageError> {
        // Split as a bucket whose storage lists the first thousand folders.
        let keys: Vec<_> = self.objects.keys().take(20_000).cloned().collect();
        let mut split_keys: Vec<_> = keys
            .chunks(1_250)
            .skip(1)
            .map(|piece| {
                piece[0]
                    .split_once('/')
                    .map_or(String::new(), |(folder, _)| format!("{folder}/"))
            })
            .filter(|split_initially| !split_initially.is_empty())
            .collect();
        split_keys.dedup();
        Ok(split_keys)
    }
}
