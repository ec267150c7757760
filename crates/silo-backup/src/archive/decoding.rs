//! Decoding of a stored archive: checksum, decryption, decompression.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use silo_core::secret::Secret;
use tokio::sync::mpsc;

use crate::archive::encoding::Compression;

/// Decompressed bytes that are handed over at once.
const PIECE: usize = 256 * 1024;
/// Pieces decompressed before they are needed.
const PIECES_AHEAD: usize = 2;

/// Parses an identity `AGE-SECRET-KEY-1...`, also in a file of `age-keygen` with comments.
#[must_use]
pub fn identity_of(text: &Secret) -> Option<age::x25519::Identity> {
    let line = text
        .expose()
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    line?.parse().ok()
}

/// Reader of downloaded bytes, which counts and hashes them.
pub struct Incoming {
    from: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
    bytes: u64,
    sha256: Sha256,
    /// Error that interrupted the download, if any.
    pub broke: Option<String>,
}

impl Incoming {
    /// Reader of the chunks of a channel.
    #[must_use]
    pub fn new(from: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self {
            from,
            chunk: Bytes::new(),
            bytes: 0,
            sha256: Sha256::new(),
            broke: None,
        }
    }

    /// Reads the remaining bytes, and returns the total number of bytes and their SHA-256 in hexadecimal.
    ///
    /// # Errors
    /// When the download was interrupted.
    pub fn rest(&mut self) -> io::Result<(u64, String)> {
        io::copy(self, &mut io::sink())?;
        Ok((self.bytes, format!("{:x}", self.sha256.clone().finalize())))
    }
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.from.blocking_recv() {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => {
                    self.broke = Some(error.to_string());
                    return Err(error);
                }
                None => return Ok(0),
            }
            self.bytes += u64::try_from(self.chunk.len()).unwrap_or_default();
            self.sha256.update(&self.chunk);
        }
        let size = into.len().min(self.chunk.len());
        into[..size].copy_from_slice(&self.chunk.split_to(size));
        Ok(size)
    }
}

/// Reader of the archive in stored bytes: decrypts and decompresses.
///
/// # Errors
/// When the archive cannot be decrypted with `identity`, or its first bytes could not be read.
pub fn open<'a>(
    stored: impl Read + Send + 'a,
    compression: Compression,
    identity: Option<&age::x25519::Identity>,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let plain: Box<dyn Read + Send + 'a> = match identity {
        None => Box::new(stored),
        Some(identity) => {
            let decryptor = age::Decryptor::new(stored).map_err(decryption)?;
            let identities = std::iter::once(identity as &dyn age::Identity);
            Box::new(decryptor.decrypt(identities).map_err(decryption)?)
        }
    };
    decompress(plain, compression)
}

/// Decompressing reader.
///
/// # Errors
/// When its memory cannot be allocated.
pub fn decompress<'a>(
    from: impl Read + Send + 'a,
    compression: Compression,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(from)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(from)?),
    })
}

/// Calls `work` with a reader of the bytes of `from`, which is read ahead on a second thread: decompression and what is done with the documents each take
/// about half of the time.
pub fn read_ahead<T>(from: impl Read + Send, work: impl FnOnce(Ahead) -> T) -> T {
    let (out, pieces) = sync_channel(PIECES_AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || send_pieces(from, &out));
        work(Ahead {
            pieces,
            piece: Vec::new(),
            at: 0,
        })
    })
}

/// Reader of bytes that a second thread has read.
pub struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    /// Bytes of the piece that were read.
    at: usize,
}

impl Read for Ahead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            // Without a sender the last piece was sent.
            let Ok(piece) = self.pieces.recv() else {
                return Ok(0);
            };
            (self.piece, self.at) = (piece?, 0);
        }
        let size = into.len().min(self.piece.len() - self.at);
        into[..size].copy_from_slice(&self.piece[self.at..self.at + size]);
        self.at += size;
        Ok(size)
    }
}

/// Sends pieces until the end, an error, or until nobody needs them. No piece is empty.
fn send_pieces(mut from: impl Read, out: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = from.by_ref().take(PIECE as u64).read_to_end(&mut piece);
        let error = read.err();
        let ended = error.is_some() || piece.is_empty();
        let sent = piece.is_empty() || out.send(Ok(piece)).is_ok();
        if let Some(error) = error.filter(|_| sent) {
            drop(out.send(Err(error)));
        }
        if ended || !sent {
            return;
        }
    }
}

fn decryption(error: age::DecryptError) -> io::Error {
    match error {
        age::DecryptError::Io(error) => error,
        other => io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the archive cannot be decrypted: {other}"),
        ),
    }
}
