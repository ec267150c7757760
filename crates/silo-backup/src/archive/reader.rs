//! Strict reader of archives: validates every length, document and checksum.

use std::collections::HashMap;
use std::io::{self, Read};

use crc64fast::Digest;
use silo_mongo::collections::Kind;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Document, RawDocument};

use super::structure::invalid_strings;
use super::{LARGEST, MAGIC, Namespace, Prelude, TERMINATOR, VERSION};

/// Size in bytes of a document whose memory is given back once it was visited.
pub const LARGE: usize = 1024 * 1024;

/// Error of reading an archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive is malformed; with the problem and its position.
    #[error("{0}")]
    Corrupt(String),
    /// The archive could not be read, decompressed or decrypted.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// Receives the archive's contents in order. Returning an error stops the reader.
pub trait Visitor {
    /// The namespaces, before any document.
    fn prelude(&mut self, prelude: &Prelude) -> Result<(), Error>;
    /// A document of more than [`LARGE`] bytes comes next. It is read when this returns.
    fn before_large(&mut self) -> Result<(), Error> {
        Ok(())
    }
    /// A document of the namespace at this place of the prelude.
    fn document(&mut self, place: usize, document: &RawDocument) -> Result<(), Error>;
    /// A namespace has ended, and its checksum was right.
    fn end(&mut self, place: usize) -> Result<(), Error>;
}

/// State of a namespace while it is read.
#[derive(Default)]
struct Seen {
    crc: Digest,
    ended: bool,
}

/// An archive that was read completely.
#[derive(Clone, Debug)]
pub struct ReadArchive {
    /// Header and namespaces.
    pub prelude: Prelude,
    /// Number of strings in documents that are not valid UTF-8.
    pub invalid_strings: u64,
}

/// Reads a whole archive, to the last byte of `input`.
///
/// # Errors
/// [`Error::Corrupt`] for a malformed archive, [`Error::Read`] for an error of `input`.
pub fn read(input: impl Read, visitor: &mut impl Visitor) -> Result<ReadArchive, Error> {
    let mut input = Input {
        input,
        at: 0,
        buffer: Vec::new(),
        invalid_strings: 0,
    };
    let prelude = read_prelude(&mut input)?;
    visitor.prelude(&prelude)?;
    let places: HashMap<(String, String), usize> = prelude
        .namespaces
        .iter()
        .enumerate()
        .map(|(place, namespace)| ((namespace.database.clone(), namespace.data_name()), place))
        .collect();
    if places.len() != prelude.namespaces.len() {
        return corrupt("a namespace is announced twice");
    }
    let mut seen: Vec<Seen> = prelude.namespaces.iter().map(|_| Seen::default()).collect();
    while let Some(header) = input.first()? {
        let header = Document::try_from(header).map_err(|_why| input.bad("a block's header"))?;
        let text = |name| field::text(&header, name).unwrap_or_default().to_owned();
        let names = (text("db"), text("collection"));
        let Some(place) = places.get(&names).copied() else {
            return corrupt(format!(
                "documents of {}.{}, which was not announced",
                names.0, names.1
            ));
        };
        let state = &mut seen[place];
        if state.ended {
            return corrupt(format!("{} continues after its end", names.1));
        }
        if field::flag(&header, "EOF") == Some(true) {
            let expected = header.get_i64("CRC").map(i64::cast_unsigned);
            if expected.ok() != Some(state.crc.sum64()) {
                return corrupt(format!(
                    "the checksum of {} is not that of its documents",
                    names.1
                ));
            }
            if input.document()?.is_some() {
                return corrupt(format!("documents after the end of {}", names.1));
            }
            state.ended = true;
            visitor.end(place)?;
            continue;
        }
        while let Some(length) = input.length()? {
            let large = size_of(length) > LARGE;
            if large {
                visitor.before_large()?;
            }
            let document = input.rest(length)?;
            state.crc.write(document.as_bytes());
            visitor.document(place, document)?;
            if large {
                input.buffer = Vec::new();
            }
        }
    }
    let open = seen.iter().position(|state| !state.ended);
    match open.map(|place| &prelude.namespaces[place].collection) {
        Some(name) => corrupt(format!("the archive ends before {name} does")),
        None => Ok(ReadArchive {
            prelude,
            invalid_strings: input.invalid_strings,
        }),
    }
}

fn read_prelude(input: &mut Input<impl Read>) -> Result<Prelude, Error> {
    let mut magic = [0; 4];
    if !input.fill(&mut magic)? || magic != MAGIC {
        return corrupt("this is no archive of mongodump's format");
    }
    let header = input.owned("the archive's header")?;
    let text =
        |document: &Document, name| field::text(document, name).unwrap_or_default().to_owned();
    if text(&header, "version") != VERSION {
        return corrupt("the archive is of a version that is not known here");
    }
    let mut prelude = Prelude {
        server_version: text(&header, "server_version"),
        tool_version: text(&header, "tool_version"),
        namespaces: Vec::new(),
    };
    while let Some(announced) = input.document()? {
        let announced = Document::try_from(announced);
        let announced = announced.map_err(|_why| input.bad("what announces a namespace"))?;
        prelude.namespaces.push(Namespace {
            database: text(&announced, "db"),
            collection: text(&announced, "collection"),
            kind: Kind::of_word(&text(&announced, "type")),
            metadata: text(&announced, "metadata"),
        });
    }
    Ok(prelude)
}

/// Bytes, and how many of them were read.
struct Input<R> {
    input: R,
    at: u64,
    buffer: Vec<u8>,
    invalid_strings: u64,
}

impl<R: Read> Input<R> {
    /// The first document of a block; `None` at the end of the archive.
    fn first(&mut self) -> Result<Option<&RawDocument>, Error> {
        let mut length = [0; 4];
        if !self.fill(&mut length)? {
            return Ok(None);
        }
        if length == TERMINATOR {
            return corrupt(format!("a block without a header at byte {}", self.at));
        }
        self.rest(length).map(Some)
    }

    /// The next document of a block; `None` at its end.
    fn document(&mut self) -> Result<Option<&RawDocument>, Error> {
        let length = self.length()?;
        length.map(|length| self.rest(length)).transpose()
    }

    /// The length field of the next document of a block; `None` at its end.
    fn length(&mut self) -> Result<Option<[u8; 4]>, Error> {
        let mut length = [0; 4];
        if !self.fill(&mut length)? {
            return corrupt(format!(
                "the archive ends in the middle of a block, at byte {}",
                self.at
            ));
        }
        Ok((length != TERMINATOR).then_some(length))
    }

    fn owned(&mut self, what: &str) -> Result<Document, Error> {
        let Some(document) = self.document()? else {
            return corrupt(format!("{what} is missing"));
        };
        let document = Document::try_from(document);
        document.map_err(|_why| self.bad(what))
    }

    /// The rest of a document whose length was read.
    fn rest(&mut self, length: [u8; 4]) -> Result<&RawDocument, Error> {
        let begins = self.at - 4;
        let size = size_of(length);
        if !(5..=LARGEST).contains(&size) {
            return corrupt(format!("a document of {size} bytes at byte {begins}"));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(size, 0);
        buffer[..4].copy_from_slice(&length);
        let whole = self.fill(&mut buffer[4..])?;
        self.buffer = buffer;
        if !whole {
            return corrupt(format!(
                "the archive ends in the middle of the document at byte {begins}"
            ));
        }
        let bad = || Error::Corrupt(format!("the document at byte {begins} is no BSON"));
        self.invalid_strings += invalid_strings(&self.buffer).ok_or_else(bad)?;
        RawDocument::from_bytes(&self.buffer).map_err(|_why| bad())
    }

    /// Fills `bytes`; `false` when there is nothing more at all.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<bool, Error> {
        let mut done = 0;
        while done < bytes.len() {
            match self.input.read(&mut bytes[done..]) {
                Ok(0) if done == 0 => return Ok(false),
                Ok(0) => return corrupt(format!("the archive is cut short at byte {}", self.at)),
                Ok(read) => {
                    done += read;
                    self.at += u64::try_from(read).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn bad(&self, what: &str) -> Error {
        Error::Corrupt(format!("{what} cannot be read, before byte {}", self.at))
    }
}

fn size_of(length: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX)
}

fn corrupt<T>(reason: impl Into<String>) -> Result<T, Error> {
    Err(Error::Corrupt(reason.into()))
}
