//! Encoding of an archive on its way to storage: compression, encryption, checksum.
//!
//! Streams, on a thread of its own that is connected with the upload by a channel of chunks. The way back is in [`super::decoding`].

use std::io::{self, BufWriter, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// Size of a chunk in bytes.
const CHUNK: usize = 256 * 1024;
/// Quick, and not much larger than what the slower levels make of BSON.
const GZIP_LEVEL: u32 = 3;
const ZSTD_LEVEL: i32 = 3;

/// Compression of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// RFC 1952: what stock tools read.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// File name extension.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }
}

/// Encoding of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveEncoding {
    /// Compression.
    pub compression: Compression,
    /// Public key to encrypt for (`age1...`); `None` for no encryption.
    pub recipient: Option<String>,
}

/// Size and checksum of a stored archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Stored size in bytes.
    pub bytes: u64,
    /// SHA-256 over them, in hexadecimal.
    pub sha256: String,
    /// The bytes of the archive itself.
    pub archive_bytes: u64,
}

/// Piece of the stored bytes.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// Bytes.
    Data(Bytes),
    /// End marker. A stream without it was interrupted.
    End,
}

/// Encodes an archive (compression, optional encryption) and sends the bytes. The stream is complete only after [`Sink::finish`] and
/// [`Finished::end`]; if dropped before that, the receiver treats it as interrupted.
pub struct Sink {
    /// Documents are small, and a compressor is quicker with large pieces.
    compressor: BufWriter<Compressor>,
    archive_bytes: u64,
}

enum Compressor {
    Gzip(flate2::write::GzEncoder<Encryptor>),
    Zstd(zstd::stream::write::Encoder<'static, Encryptor>),
}

/// Encrypts compressed bytes on their way to storage; the optional tee receives them before encryption.
struct Encryptor {
    output: Output,
    tee: Option<Tee>,
}

enum Output {
    Plain(Sender),
    Age(Box<age::stream::StreamWriter<Sender>>),
}

struct Tee {
    out: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Tee {
    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        let sent = self.out.blocking_send(Ok(chunk.into()));
        sent.map_err(|_gone| io::Error::other("the receiver of the unencrypted bytes has stopped"))
    }
}

struct Sender {
    out: mpsc::Sender<Chunk>,
    buffer: Vec<u8>,
    bytes: u64,
    sha256: Sha256,
}

impl Sink {
    /// Sends encoded bytes to `out`, and compressed but unencrypted bytes to `tee`.
    ///
    /// # Errors
    /// When the recipient is invalid, or a receiver has gone away.
    pub fn new(
        encoding: &ArchiveEncoding,
        out: mpsc::Sender<Chunk>,
        tee: Option<mpsc::Sender<io::Result<Bytes>>>,
    ) -> io::Result<Self> {
        let sender = Sender {
            out,
            buffer: Vec::with_capacity(CHUNK),
            bytes: 0,
            sha256: Sha256::new(),
        };
        let output = match &encoding.recipient {
            None => Output::Plain(sender),
            Some(recipient) => Output::Age(Box::new(encryptor(recipient)?.wrap_output(sender)?)),
        };
        let tee = tee.map(|out| Tee {
            out,
            buffer: Vec::new(),
        });
        let encryptor = Encryptor { output, tee };
        let compressor = match encoding.compression {
            Compression::Gzip => Compressor::Gzip(flate2::write::GzEncoder::new(
                encryptor,
                flate2::Compression::new(GZIP_LEVEL),
            )),
            Compression::Zstd => {
                Compressor::Zstd(zstd::stream::write::Encoder::new(encryptor, ZSTD_LEVEL)?)
            }
        };
        Ok(Self {
            compressor: BufWriter::with_capacity(CHUNK, compressor),
            archive_bytes: 0,
        })
    }

    /// Flushes everything, and returns size and checksum. The stream itself ends with [`Finished::end`].
    ///
    /// # Errors
    /// When the receiver has gone away.
    pub fn finish(self) -> io::Result<Finished> {
        let compressor = self
            .compressor
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        let mut encryptor = match compressor {
            Compressor::Gzip(gzip) => gzip.finish()?,
            Compressor::Zstd(zstd) => zstd.finish()?,
        };
        if let Some(mut tee) = encryptor.tee.take() {
            tee.send()?;
        }
        let mut sender = match encryptor.output {
            Output::Plain(sender) => sender,
            Output::Age(age) => age.finish()?,
        };
        sender.send()?;
        let stored = Stored {
            bytes: sender.bytes,
            sha256: format!("{:x}", sender.sha256.finalize()),
            archive_bytes: self.archive_bytes,
        };
        Ok(Finished {
            stored,
            out: sender.out,
        })
    }
}

/// All bytes were sent; the receiver still waits for the end marker.
pub struct Finished {
    /// Size and checksum of the bytes sent.
    pub stored: Stored,
    out: mpsc::Sender<Chunk>,
}

impl Finished {
    /// Sends the end marker, which makes the stream complete.
    ///
    /// # Errors
    /// When the receiver has gone away.
    pub fn end(self) -> io::Result<Stored> {
        self.out.blocking_send(Chunk::End).map_err(|_gone| gone())?;
        Ok(self.stored)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.compressor.write(bytes)?;
        self.archive_bytes += u64::try_from(written).unwrap_or_default();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Compressor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Zstd(zstd) => zstd.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Encryptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.output {
            Output::Plain(sender) => sender.write(bytes)?,
            Output::Age(age) => age.write(bytes)?,
        };
        if let Some(tee) = &mut self.tee {
            tee.buffer.extend_from_slice(&bytes[..written]);
            if tee.buffer.len() >= CHUNK {
                tee.send()?;
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sender {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.bytes += u64::try_from(chunk.len()).unwrap_or_default();
        self.sha256.update(&chunk);
        self.out
            .blocking_send(Chunk::Data(chunk.into()))
            .map_err(|_gone| gone())
    }
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "no destination accepts the archive any more",
    )
}

/// Encrypts bytes for a recipient; without one, they stay as they are.
///
/// # Errors
/// When the recipient is invalid.
pub fn encrypted(bytes: Vec<u8>, recipient: Option<&str>) -> io::Result<Vec<u8>> {
    let Some(recipient) = recipient else {
        return Ok(bytes);
    };
    let room = Vec::with_capacity(bytes.len() + CHUNK);
    let mut out = encryptor(recipient)?.wrap_output(room)?;
    out.write_all(&bytes)?;
    out.finish()
}

fn encryptor(recipient: &str) -> io::Result<age::Encryptor> {
    let recipient = recipient_of(recipient)
        .ok_or_else(|| io::Error::other("the age recipient cannot be read"))?;
    let recipients = std::iter::once(&recipient as &dyn age::Recipient);
    age::Encryptor::with_recipients(recipients).map_err(io::Error::other)
}

/// An `age1...` recipient.
#[must_use]
pub fn recipient_of(text: &str) -> Option<age::x25519::Recipient> {
    text.trim().parse().ok()
}
