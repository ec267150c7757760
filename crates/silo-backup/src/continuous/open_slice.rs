//! Entries that were read and are in no slice yet.

use std::time::{Duration, Instant};

use super::slice::{FORMAT, SliceHeader};
use super::spool::{Chain, Head};
use crate::oplog::Position;
use crate::oplog::deletions::Deletions;

/// Age of the oldest entry at which a slice is cut.
const OLDEST: Duration = Duration::from_secs(20);
/// Bytes at which a slice is cut.
const LARGEST: usize = 4 * 1024 * 1024;
/// Interval of slices while nothing happens: they say that nothing did.
pub const IDLE: Duration = Duration::from_secs(300);

/// Entries that were read and are in no slice.
pub(super) struct OpenSlice {
    pub(super) head: Head,
    /// Raw, one after the other.
    pub(super) bytes: Vec<u8>,
    /// When the first of them was read.
    since: Option<Instant>,
    /// Up to here the server was read.
    pub(super) reached: Position,
    /// SHA-256 of the entry there.
    pub(super) anchor: String,
    /// When the last slice was cut.
    cut: Instant,
    /// Mass deletions that were read.
    pub(super) deletions: Deletions,
    /// Since when the server's last entry is before the one that was read.
    pub(super) behind: Option<Instant>,
    /// `true` after the parts were read of transactions that began before the chain.
    pub(super) has_parts: bool,
}

impl OpenSlice {
    pub(super) fn new(head: Head) -> Self {
        Self {
            bytes: Vec::new(),
            since: None,
            reached: head.through,
            anchor: head.anchor.clone(),
            cut: Instant::now(),
            deletions: Deletions::default(),
            behind: None,
            has_parts: head.link.is_some(),
            head,
        }
    }

    pub(super) fn add(&mut self, entry: &[u8]) {
        if entry.len() > LARGEST / 4 {
            // Not twice as much as is needed.
            self.bytes.reserve_exact(entry.len());
        }
        self.bytes.extend_from_slice(entry);
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn is_due(&self) -> bool {
        let is_old = self.since.is_some_and(|since| since.elapsed() >= OLDEST);
        let is_idle = self.reached > self.head.through && self.cut.elapsed() >= IDLE;
        is_old || is_idle || self.is_large()
    }

    pub(super) fn has_something(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Begins the slice after the one that was cut, whose header has this SHA-256.
    pub(super) fn begin_next(&mut self, link: String) {
        let head = Head {
            through: self.reached,
            anchor: self.anchor.clone(),
            link: Some(link),
        };
        *self = Self {
            deletions: std::mem::take(&mut self.deletions),
            ..Self::new(head)
        };
    }

    /// `true` if there is enough for a slice.
    pub(super) fn is_large(&self) -> bool {
        self.bytes.len() >= LARGEST
    }

    /// Header of the slice that is cut now.
    pub(super) fn header(&self, chain: &Chain) -> SliceHeader {
        SliceHeader {
            format: FORMAT,
            chain: chain.id.clone(),
            after: self.head.through,
            through: self.reached,
            entries: 0,
            bytes: 0,
            sha256: String::new(),
            anchor: self.anchor.clone(),
            server_version: chain.server_version.clone(),
            feature_compatibility_version: chain.feature_compatibility_version.clone(),
            previous: self.head.link.clone(),
            merged_up_to: None,
        }
    }
}
