//! Writing an archive, one namespace after the other.

use std::io::{self, Write};

use crc64fast::Digest;
use silo_mongo::mongodb::bson::{Document, doc};

use super::{MAGIC, Prelude, TERMINATOR, VERSION};

/// An archive that is being written.
pub struct Writer<W> {
    out: W,
    prelude: Prelude,
}

/// A namespace of it whose documents are being written.
pub struct Open {
    names: (String, String),
    crc: Digest,
}

impl<W: Write> Writer<W> {
    /// Begins an archive: everything but the documents.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn begin(mut out: W, prelude: Prelude) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        let header = doc! {
            "concurrent_collections": 1,
            "version": VERSION,
            "server_version": &prelude.server_version,
            "tool_version": &prelude.tool_version,
        };
        write_document(&mut out, &header)?;
        for namespace in &prelude.namespaces {
            let announced = doc! {
                "db": &namespace.database,
                "collection": &namespace.collection,
                "metadata": &namespace.metadata,
                "size": 0,
                "type": namespace.kind.word(),
            };
            write_document(&mut out, &announced)?;
        }
        out.write_all(&TERMINATOR)?;
        Ok(Self { out, prelude })
    }

    /// Begins a namespace, by its place in the prelude.
    ///
    /// # Errors
    /// When `out` fails, or the prelude has no such place.
    pub fn open(&mut self, place: usize) -> io::Result<Open> {
        let namespace = self.prelude.namespaces.get(place);
        let namespace = namespace.ok_or(io::ErrorKind::InvalidInput)?;
        let open = Open {
            names: (namespace.database.clone(), namespace.data_name()),
            crc: Digest::new(),
        };
        self.header(&open, None)?;
        Ok(open)
    }

    /// Writes a document of the namespace that is open.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn document(&mut self, open: &mut Open, document: &[u8]) -> io::Result<()> {
        open.crc.write(document);
        self.out.write_all(document)
    }

    /// Ends a namespace with its checksum, after its last document.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn close(&mut self, open: &Open) -> io::Result<()> {
        self.out.write_all(&TERMINATOR)?;
        self.header(open, Some(open.crc.sum64()))?;
        self.out.write_all(&TERMINATOR)
    }

    /// The underlying writer.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn header(&mut self, open: &Open, crc: Option<u64>) -> io::Result<()> {
        let (database, collection) = &open.names;
        let header = doc! {
            "db": database,
            "collection": collection,
            "EOF": crc.is_some(),
            "CRC": crc.unwrap_or_default().cast_signed(),
        };
        write_document(&mut self.out, &header)
    }
}

fn write_document(out: &mut impl Write, document: &Document) -> io::Result<()> {
    let bytes = document.to_vec().map_err(io::Error::other)?;
    out.write_all(&bytes)
}
