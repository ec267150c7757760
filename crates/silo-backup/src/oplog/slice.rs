//! Slice: a stretch of the oplog as it is stored, with entries after one position and up to another.
//!
//! The entries are those of `local.oplog.rs` that concern the database, raw and whole, one after the other as in mongodump's `oplog.bson`; gzip, and
//! age if a recipient is set. The first document is a header in the form of a noop (`op: "n"`), which every stock tool skips. Each header has the
//! SHA-256 of the slice before as it is stored, so that slices form a chain: one that is missing, changed, moved or of another chain does not fit.
//!
//! A slice without entries says that nothing concerned the database up to its end.

use std::io::{Read, Write};

use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use silo_core::secret::Secret;
use silo_mongo::mongodb::bson::{self, Bson, Document, doc};

use super::Position;
use super::entry::Entry;
use crate::archive::LARGEST;
use crate::archive::decoding::{self, identity_of};
use crate::archive::encoding::{Compression, encrypted};
use crate::repository::manifest::sha256;

/// Version of the format.
pub const FORMAT: u32 = 1;
/// Name of the header's fields in the noop's `o`.
const HEADER: &str = "silo";
/// The largest header, in bytes.
const LARGEST_HEADER: usize = 16 * 1024;

/// Header of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceHeader {
    /// Version of the format.
    pub format: u32,
    /// Id of the chain: that of the backup that it begins at.
    pub chain: String,
    /// Entries are after this position,
    pub after: Position,
    /// and up to and with this one.
    pub through: Position,
    /// Number of entries.
    pub entries: u64,
    /// SHA-256 of the entries' bytes, in hexadecimal.
    pub sha256: String,
    /// SHA-256 of the entry at `through`, of whatever database: by it a server is known to have the same history.
    pub anchor: String,
    /// Term of the primary that wrote that entry.
    pub term: i64,
    /// Id of the replica set.
    pub replica_set_id: String,
    /// Version of the server, which the format of the entries depends on.
    pub server_version: String,
    /// Feature compatibility version.
    pub feature_compatibility_version: String,
    /// SHA-256 of the slice before as it is stored; `None` for the first of a chain.
    pub previous: Option<String>,
}

/// A slice, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The header.
    pub header: SliceHeader,
    /// The entries' bytes.
    bytes: Vec<u8>,
}

/// Reason why stored bytes are no slice, or one that does not continue a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// The bytes are not those of a slice.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Another slice than the next one of the chain.
    #[error("it does not continue the chain: {0}")]
    NotNext(&'static str),
}

/// Key of a slice below a repository's prefix: names sort in the order of the slices, and the end of one is the beginning of the next.
#[must_use]
pub fn key(header: &SliceHeader, encrypted: bool) -> String {
    let day = jiff::Timestamp::from_second(header.through.seconds.into()).unwrap_or_default();
    let day = day.strftime("%Y%m%d");
    let position = |at: Position| format!("{:010}-{:010}", at.seconds, at.increment);
    let (after, through) = (position(header.after), position(header.through));
    let age = if encrypted { ".age" } else { "" };
    format!(
        "oplog/{}/{day}/{after}_{through}.bson.gz{age}",
        header.chain
    )
}

/// Positions in a slice's key; `None` if it is none.
#[must_use]
pub fn positions(key: &str) -> Option<(Position, Position)> {
    let (_, name) = key.rsplit_once('/')?;
    let name = name
        .strip_suffix(".age")
        .unwrap_or(name)
        .strip_suffix(".bson.gz")?;
    let position = |text: &str| {
        let (seconds, increment) = text.split_once('-')?;
        Some(Position {
            seconds: seconds.parse().ok()?,
            increment: increment.parse().ok()?,
        })
    };
    let (after, through) = name.split_once('_')?;
    Some((position(after)?, position(through)?))
}

impl Slice {
    /// A slice of entries, in their order.
    ///
    /// # Errors
    /// [`SliceError::Damaged`] when they are not entries between the header's positions. Number and SHA-256 in the header are set here.
    pub fn new(mut header: SliceHeader, entries: &[impl AsRef<[u8]>]) -> Result<Self, SliceError> {
        let bytes = entries.iter().fold(Vec::new(), |mut bytes, entry| {
            bytes.extend_from_slice(entry.as_ref());
            bytes
        });
        header.entries = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        header.sha256 = sha256(&bytes);
        let slice = Self { header, bytes };
        slice.check()?;
        Ok(slice)
    }

    /// The bytes to store.
    ///
    /// # Errors
    /// When the recipient is invalid.
    pub fn stored(&self, recipient: Option<&str>) -> std::io::Result<Vec<u8>> {
        let header = bson::serialize_to_document(&self.header).map_err(std::io::Error::other)?;
        let noop = doc! {
            "op": "n", "ns": "", "o": { HEADER: header }, "v": 2_i64, "t": self.header.term,
            "ts": Bson::from(self.header.after),
        };
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&noop.to_vec().map_err(std::io::Error::other)?)?;
        gzip.write_all(&self.bytes)?;
        encrypted(gzip.finish()?, recipient)
    }

    /// Opens stored bytes, and checks all of them.
    ///
    /// # Errors
    /// [`SliceError::Damaged`].
    pub fn open(stored: &[u8], identity: Option<&Secret>) -> Result<Self, SliceError> {
        let damaged = |error: std::io::Error| SliceError::Damaged(error.to_string());
        let identity = identity.and_then(identity_of);
        let mut plain =
            decoding::open(stored, Compression::Gzip, identity.as_ref()).map_err(damaged)?;
        let mut bytes = Vec::new();
        plain.read_to_end(&mut bytes).map_err(damaged)?;
        let length = length(&bytes).filter(|length| *length <= LARGEST_HEADER);
        let length = length.ok_or_else(|| SliceError::Damaged("it has no header".into()))?;
        let rest = bytes.split_off(length);
        let header =
            header(&bytes).ok_or_else(|| SliceError::Damaged("its header is malformed".into()))?;
        let slice = Self {
            header,
            bytes: rest,
        };
        slice.check()?;
        Ok(slice)
    }

    /// The entries, in their order.
    #[must_use]
    pub fn entries(&self) -> Entries<'_> {
        Entries(&self.bytes)
    }

    fn check(&self) -> Result<(), SliceError> {
        let damaged = |why: &str| Err(SliceError::Damaged(why.to_owned()));
        let header = &self.header;
        if header.format != FORMAT {
            return damaged("its format is not known here");
        }
        if sha256(&self.bytes) != header.sha256 {
            return damaged("the checksum does not match");
        }
        if header.through < header.after {
            return damaged("it ends before it begins");
        }
        let (mut count, mut last) = (0, header.after);
        let mut entries = self.entries();
        for entry in &mut entries {
            let at = Entry::parse(entry)
                .map_err(|error| SliceError::Damaged(error.to_string()))?
                .at;
            if at <= last || at > header.through {
                return damaged("an entry is not between its positions");
            }
            (count, last) = (count + 1, at);
        }
        if !entries.0.is_empty() || count != header.entries {
            return damaged("it does not have the number of entries that its header names");
        }
        Ok(())
    }
}

impl SliceHeader {
    /// Checks that a slice is the next one after this, whose stored bytes have this SHA-256.
    ///
    /// # Errors
    /// [`SliceError::NotNext`].
    pub fn continued_by(&self, stored_sha256: &str, next: &Self) -> Result<(), SliceError> {
        let same = |one: &str, other: &str| one == other;
        for (holds, why) in [
            (same(&self.chain, &next.chain), "it is of another chain"),
            (
                self.through == next.after,
                "its beginning is not the end of the one before",
            ),
            (
                next.previous.as_deref() == Some(stored_sha256),
                "it was made after another one",
            ),
            (
                same(&self.replica_set_id, &next.replica_set_id),
                "it is of another replica set",
            ),
            (self.term <= next.term, "its term is smaller"),
        ] {
            if !holds {
                return Err(SliceError::NotNext(why));
            }
        }
        Ok(())
    }
}

/// Iterator over the entries of a slice.
pub struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = length(self.0).filter(|length| *length <= LARGEST)?;
        let (entry, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(entry)
    }
}

/// Length of the document that bytes begin with.
fn length(bytes: &[u8]) -> Option<usize> {
    let length = i32::from_le_bytes(bytes.first_chunk().copied()?);
    usize::try_from(length)
        .ok()
        .filter(|length| (5..=bytes.len()).contains(length))
}

fn header(noop: &[u8]) -> Option<SliceHeader> {
    let noop = Document::from_reader(noop).ok()?;
    let header = noop.get_document("o").ok()?.get_document(HEADER).ok()?;
    bson::deserialize_from_document(header.clone()).ok()
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    use silo_mongo::mongodb::bson::Timestamp;

    use super::*;

    fn at(seconds: u32, increment: u32) -> Position {
        Position { seconds, increment }
    }

    fn entry(seconds: u32, increment: u32) -> Vec<u8> {
        let ts = Timestamp {
            time: seconds,
            increment,
        };
        let entry =
            doc! { "op": "i", "ns": "aesthetic.moods", "o": { "_id": increment }, "ts": ts };
        entry.to_vec().unwrap()
    }

    fn header(after: Position, through: Position, previous: Option<String>) -> SliceHeader {
        SliceHeader {
            format: FORMAT,
            chain: "20261126T040000Z-abcdef".into(),
            after,
            through,
            entries: 0,
            sha256: String::new(),
            anchor: "00".into(),
            term: 1,
            replica_set_id: "0102".into(),
            server_version: "6.0.5".into(),
            feature_compatibility_version: "6.0".into(),
            previous,
        }
    }

    fn slice() -> Slice {
        let entries: Vec<Vec<u8>> = (1..40).map(|number| entry(1000, number)).collect();
        Slice::new(header(at(1000, 0), at(1010, 7), None), &entries).unwrap()
    }

    #[test]
    fn a_slice_is_the_same_when_it_is_read_back() {
        let slice = slice();
        assert_eq!(
            Slice::open(&slice.stored(None).unwrap(), None),
            Ok(slice.clone())
        );
        assert_eq!(slice.entries().count(), 39);
        let key = key(&slice.header, true);
        assert_eq!(
            key,
            "oplog/20261126T040000Z-abcdef/19700101/0000001000-0000000000_0000001010-0000000007.bson.gz.age"
        );
        assert_eq!(positions(&key), Some((at(1000, 0), at(1010, 7))));
        assert_eq!(positions("oplog/x/y.json"), None);
        let empty = Slice::new(header(at(1010, 7), at(1300, 1), None), &[] as &[Vec<u8>]).unwrap();
        assert_eq!(Slice::open(&empty.stored(None).unwrap(), None), Ok(empty));
    }

    #[test]
    fn an_encrypted_slice_needs_its_key() {
        use age::secrecy::ExposeSecret;
        let identity = age::x25519::Identity::generate();
        let stored = slice()
            .stored(Some(&identity.to_public().to_string()))
            .unwrap();
        let secret = Secret::new(identity.to_string().expose_secret());
        assert_eq!(Slice::open(&stored, Some(&secret)), Ok(slice()));
        assert!(Slice::open(&stored, None).is_err());
        let other = Secret::new(
            age::x25519::Identity::generate()
                .to_string()
                .expose_secret(),
        );
        assert!(Slice::open(&stored, Some(&other)).is_err());
    }

    #[test]
    fn entries_outside_of_its_positions_are_refused() {
        for (after, through, entries) in [
            (at(1000, 5), at(1000, 9), vec![entry(1000, 5)]),
            (at(1000, 5), at(1000, 9), vec![entry(1000, 10)]),
            (
                at(1000, 5),
                at(1000, 9),
                vec![entry(1000, 7), entry(1000, 6)],
            ),
            (
                at(1000, 5),
                at(1000, 9),
                vec![entry(1000, 7), entry(1000, 7)],
            ),
            (at(1000, 9), at(1000, 5), vec![]),
        ] {
            assert!(Slice::new(header(after, through, None), &entries).is_err());
        }
    }

    #[test]
    fn every_change_of_the_stored_bytes_is_noticed() {
        let stored = slice().stored(None).unwrap();
        let first = sha256(&stored);
        let next = header(at(1010, 7), at(1020, 1), Some(first.clone()));
        assert_eq!(slice().header.continued_by(&first, &next), Ok(()));
        let mut random = SmallRng::seed_from_u64(1);
        for _ in 0..1000 {
            let mut bad = stored.clone();
            let place = random.random_range(0..bad.len());
            match random.random_range(0..3) {
                0 => bad[place] ^= 1 << random.random_range(0..8),
                1 => bad.truncate(place),
                _ => drop(bad.remove(place)),
            }
            // Some bytes of gzip's header mean nothing: the chain has the SHA-256 of all.
            let noticed = Slice::open(&bad, None).is_err() || sha256(&bad) != first;
            assert!(noticed, "byte {place}");
        }
    }

    #[test]
    fn a_slice_that_is_missing_moved_or_of_another_chain_does_not_continue() {
        let here = header(at(1, 0), at(2, 0), None);
        let good = header(at(2, 0), at(3, 0), Some("aa".into()));
        assert_eq!(here.continued_by("aa", &good), Ok(()));
        let changed = |change: fn(&mut SliceHeader)| {
            let mut next = good.clone();
            change(&mut next);
            here.continued_by("aa", &next)
        };
        for change in [
            |next: &mut SliceHeader| next.chain = "other".into(),
            |next: &mut SliceHeader| next.after = at(2, 1),
            |next: &mut SliceHeader| next.previous = None,
            |next: &mut SliceHeader| next.previous = Some("bb".into()),
            |next: &mut SliceHeader| next.replica_set_id = "03".into(),
            |next: &mut SliceHeader| next.term = 0,
        ] {
            assert!(matches!(changed(change), Err(SliceError::NotNext(_))));
        }
    }
}
