//! Decoding of a stored archive: checksum, decryption, decompression.

use std::io::{self, BufReader, Read};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use silo_core::secret::Secret;
use tokio::sync::mpsc;

use crate::archive::encoding::Compression;

/// Decompressed bytes that are buffered.
const PIECE: usize = 256 * 1024;

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
    stored: &'a mut Incoming,
    compression: Compression,
    identity: Option<&age::x25519::Identity>,
) -> io::Result<Box<dyn Read + 'a>> {
    let plain: Box<dyn Read + 'a> = match identity {
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
    from: impl Read + 'a,
    compression: Compression,
) -> io::Result<Box<dyn Read + 'a>> {
    // Documents are small, and a decompressor is quicker with large pieces.
    Ok(match compression {
        Compression::Gzip => Box::new(BufReader::with_capacity(
            PIECE,
            flate2::read::MultiGzDecoder::new(from),
        )),
        Compression::Zstd => Box::new(BufReader::with_capacity(
            PIECE,
            zstd::stream::read::Decoder::new(from)?,
        )),
    })
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
