//! Slice: a stretch of the oplog, as it is stored.
//!
//! Format: entries of the database, raw and one after the other as in mongodump's `oplog.bson`; gzip, and age if a recipient is set. The first document
//! is a header in the form of a noop (`op: "n"`), which every stock tool skips. Each header has the SHA-256 of the one before it, and of its own
//! entries, so that slices form a chain: one that is missing, changed, moved or of another chain does not fit.
//!
//! A slice without entries says that nothing concerned the database up to its end.

use std::io::{Read, Write};

use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use silo_mongo::mongodb::bson::{self, Bson, Document, doc};

use crate::archive::LARGEST;
use crate::archive::decoding;
use crate::archive::encoding::Compression;
use crate::oplog::Position;
use crate::oplog::entry::Entry;
use crate::repository::manifest::sha256;

/// Version of the format.
pub const FORMAT: u32 = 1;
/// Name of the header's fields in the noop's `o`.
const HEADER: &str = "silo";
/// The largest header, in bytes.
const LARGEST_HEADER: usize = 16 * 1024;
/// Extension of a slice's file.
const EXTENSION: &str = ".bson.gz";

/// Positions of a slice, which are its file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Entries are after this position,
    pub after: Position,
    /// and up to and with this one.
    pub through: Position,
}

/// Header of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceHeader {
    /// Version of the format.
    pub format: u32,
    /// Id of the chain: that of the backup that it begins at.
    pub chain: String,
    /// Entries are after this position; the first slice has parts from before it of transactions that end after it, too.
    pub after: Position,
    /// The last position of the slice.
    pub through: Position,
    /// Number of entries.
    pub entries: u64,
    /// Size of the entries in bytes.
    pub bytes: u64,
    /// SHA-256 of the entries' bytes, in hexadecimal.
    pub sha256: String,
    /// SHA-256 of the entry at `through`, of whatever database: by it a server is known to have the same history.
    pub anchor: String,
    /// Version of the server, which the format of the entries depends on.
    pub server_version: String,
    /// Feature compatibility version.
    pub feature_compatibility_version: Option<String>,
    /// SHA-256 of the header before this one; `None` for the first of a chain.
    pub previous: Option<String>,
    /// SHA-256 of the last header of the slices that this one was merged from: the next slice names that one. `None` for a slice as it was cut.
    pub merged_up_to: Option<String>,
}

/// A slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The header.
    pub header: SliceHeader,
    /// SHA-256 of the header, or of the last one that was merged, which the next one names.
    pub link: String,
    /// The header, as a document.
    noop: Vec<u8>,
    /// The entries' bytes.
    bytes: Vec<u8>,
}

/// Reason why bytes are no slice, or one that does not continue a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// The bytes are not those of a slice.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Another slice than the next one of the chain.
    #[error("it does not continue the chain: {0}")]
    NotNext(&'static str),
}

impl Span {
    /// Name of the slice's file, before encryption. Names sort in the order of the slices, and the end of one is the beginning of the next.
    #[must_use]
    pub fn file_name(&self) -> String {
        let text = |at: Position| format!("{:010}-{:010}", at.seconds, at.increment);
        format!("{}_{}{EXTENSION}", text(self.after), text(self.through))
    }

    /// The positions in a file name, also of an encrypted slice; `None` if it is none.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        let (after, through) = name
            .strip_suffix(".age")
            .unwrap_or(name)
            .strip_suffix(EXTENSION)?
            .split_once('_')?;
        let position = |text: &str| {
            let (seconds, increment) = text.split_once('-')?;
            Some(Position {
                seconds: seconds.parse().ok()?,
                increment: increment.parse().ok()?,
            })
        };
        let (after, through) = (position(after)?, position(through)?);
        (after <= through).then_some(Self { after, through })
    }
}

impl SliceHeader {
    /// Positions of the slice.
    #[must_use]
    pub fn span(&self) -> Span {
        Span {
            after: self.after,
            through: self.through,
        }
    }
}

impl Slice {
    /// A slice of entries, one after the other. Their number and SHA-256 in the header are set here.
    ///
    /// # Errors
    /// [`SliceError::Damaged`] when they are not entries between the header's positions.
    pub fn new(mut header: SliceHeader, bytes: Vec<u8>) -> Result<Self, SliceError> {
        header.sha256 = sha256(&bytes);
        header.entries = Entries(&bytes).map(|_| 1).sum();
        header.bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let encoded = |error: bson::error::Error| SliceError::Damaged(error.to_string());
        let document = bson::serialize_to_document(&header).map_err(encoded)?;
        let noop = doc! {
            "op": "n", "ns": "", "o": { HEADER: document }, "v": 2_i64,
            "ts": Bson::from(header.after),
        };
        let noop = noop.to_vec().map_err(encoded)?;
        Self::checked(header, noop, bytes)
    }

    fn checked(header: SliceHeader, noop: Vec<u8>, bytes: Vec<u8>) -> Result<Self, SliceError> {
        let slice = Self {
            link: link(&header, &noop),
            header,
            noop,
            bytes,
        };
        slice.check()?;
        Ok(slice)
    }

    /// Merges several slices that follow each other into one.
    ///
    /// # Errors
    /// [`SliceError::NotNext`] when they do not.
    pub fn merged(slices: &[Self]) -> Result<Self, SliceError> {
        let (Some(first), Some(last)) = (slices.first(), slices.last()) else {
            return Err(SliceError::NotNext("there is none"));
        };
        for (slice, next) in slices.iter().zip(&slices[1..]) {
            slice.continued_by(&next.header)?;
        }
        let header = SliceHeader {
            through: last.header.through,
            anchor: last.header.anchor.clone(),
            merged_up_to: Some(last.link.clone()),
            ..first.header.clone()
        };
        let bytes = slices.iter().flat_map(|slice| &slice.bytes).copied();
        Self::new(header, bytes.collect())
    }

    /// Writes the slice, compressed.
    ///
    /// # Errors
    /// The error of the writer.
    pub fn write(&self, out: impl Write) -> std::io::Result<()> {
        let mut gzip = GzEncoder::new(out, flate2::Compression::fast());
        gzip.write_all(&self.noop)?;
        gzip.write_all(&self.bytes)?;
        gzip.finish().map(drop)
    }

    /// Reads a slice, and checks all of it.
    ///
    /// # Errors
    /// [`SliceError::Damaged`].
    pub fn read(
        from: impl Read + Send,
        identity: Option<&age::x25519::Identity>,
    ) -> Result<Self, SliceError> {
        let (noop, header, mut rest) = open(from, identity)?;
        // Not more than this machine has, whatever the header says.
        let capacity = usize::try_from(header.bytes).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(capacity.min(2 * LARGEST));
        rest.read_to_end(&mut bytes)?;
        Self::checked(header, noop, bytes)
    }

    /// Reads a slice that was checked when it was cut, and checks that its bytes are the same, without keeping them.
    ///
    /// # Errors
    /// [`SliceError::Damaged`].
    pub fn verify(from: impl Read + Send) -> Result<SliceHeader, SliceError> {
        let (_, header, mut rest) = open(from, None)?;
        let mut digest = Sha256::new();
        std::io::copy(&mut rest, &mut digest)?;
        if format!("{:x}", digest.finalize()) == header.sha256 {
            Ok(header)
        } else {
            Err(SliceError::Damaged("the checksum does not match".into()))
        }
    }

    /// The entries, in their order.
    #[must_use]
    pub fn entries(&self) -> Entries<'_> {
        Entries(&self.bytes)
    }

    /// Size of the entries in bytes.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The same, without its entries: what the next one is compared with.
    #[must_use]
    pub fn without_entries(&self) -> Self {
        Self {
            bytes: Vec::new(),
            ..self.clone()
        }
    }

    /// Checks that a slice is the next one after this.
    ///
    /// # Errors
    /// [`SliceError::NotNext`].
    pub fn continued_by(&self, next: &SliceHeader) -> Result<(), SliceError> {
        for (holds, why) in [
            (self.header.chain == next.chain, "it is of another chain"),
            (
                self.header.through == next.after,
                "its beginning is not the end of the one before",
            ),
            (
                next.previous.as_ref() == Some(&self.link),
                "it was made after another one",
            ),
        ] {
            if !holds {
                return Err(SliceError::NotNext(why));
            }
        }
        Ok(())
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
        let first = header.previous.is_none();
        let mut last = if first {
            Position::default()
        } else {
            header.after
        };
        let (mut count, mut entries) = (0, self.entries());
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

/// The header of a slice, as it is and decoded, and a reader of its entries.
type Opened<'a> = (Vec<u8>, SliceHeader, Box<dyn Read + Send + 'a>);

/// Reads the header of a slice.
fn open<'a>(
    from: impl Read + Send + 'a,
    identity: Option<&age::x25519::Identity>,
) -> Result<Opened<'a>, SliceError> {
    let mut plain = decoding::open(from, Compression::Gzip, identity)?;
    let mut noop = vec![0; 4];
    plain.read_exact(&mut noop)?;
    let length = i32::from_le_bytes(noop.first_chunk().copied().unwrap_or_default());
    let length = usize::try_from(length).ok();
    let length = length.filter(|length| (5..=LARGEST_HEADER).contains(length));
    let length = length.ok_or_else(|| SliceError::Damaged("it has no header".into()))?;
    noop.resize(length, 0);
    plain.read_exact(&mut noop[4..])?;
    let header =
        header(&noop).ok_or_else(|| SliceError::Damaged("its header is malformed".into()))?;
    Ok((noop, header, plain))
}

impl From<std::io::Error> for SliceError {
    fn from(error: std::io::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

fn link(header: &SliceHeader, noop: &[u8]) -> String {
    header.merged_up_to.clone().unwrap_or_else(|| sha256(noop))
}

fn header(noop: &[u8]) -> Option<SliceHeader> {
    let noop = Document::from_reader(noop).ok()?;
    let header = noop.get_document("o").ok()?.get_document(HEADER).ok()?;
    bson::deserialize_from_document(header.clone()).ok()
}

#[cfg(test)]
mod tests;
