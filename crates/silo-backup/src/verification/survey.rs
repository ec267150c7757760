//! Reading of an archive whose manifest is missing.

use std::io;
use std::path::Path;

use silo_core::secret::Secret;

use super::summarise;
use crate::archive::decoding::{self, Incoming, identity_of};
use crate::archive::encoding::Compression;
use crate::archive::reader;
use crate::archive::summary::ArchiveSummary;
use crate::error::Error;
use crate::repository::Repository;
use silo_cli::progress::Reporter;

/// Contents and checksum of an archive whose manifest is missing.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Contents.
    pub summary: ArchiveSummary,
    /// SHA-256 of the stored bytes, in hexadecimal.
    pub sha256: String,
    /// Size before compression in bytes.
    pub archive_bytes: u64,
}

/// Reads an archive of which only the size is known. Ids of documents are checked for duplicates in `ids_folder`.
///
/// # Errors
/// [`Error::Corrupt`] when it is not a complete archive, [`Error::Inconclusive`] when the storage did not answer reliably.
pub async fn survey(
    repository: &Repository,
    key: &str,
    bytes: u64,
    compression: Compression,
    identity: Option<&Secret>,
    ids_folder: &Path,
    report: &Reporter,
) -> Result<Survey, Error> {
    let chunks = repository.download(key, bytes);
    let (folder, report) = (ids_folder.to_path_buf(), report.clone());
    let identity = identity.and_then(identity_of);
    let reading = tokio::task::spawn_blocking(move || {
        let mut incoming = Incoming::new(chunks);
        let mut archive_bytes = 0;
        let summary = decoding::open(&mut incoming, compression, identity.as_ref())
            .map_err(reader::Error::from)
            .and_then(|archive| {
                let counted = Counted(archive, &mut archive_bytes);
                summarise(counted, Some(folder), report)
            });
        let rest = incoming.rest();
        if let Some(broke) = &incoming.broke {
            return Err(Error::Inconclusive(format!(
                "the archive could not be read to its end: {broke}"
            )));
        }
        let (_, sha256) = rest?;
        let summary = summary
            .map_err(|error| Error::Corrupt(format!("the archive cannot be restored: {error}")))?;
        Ok(Survey {
            summary,
            sha256,
            archive_bytes,
        })
    });
    reading
        .await
        .map_err(|_panic| Error::Engine("reading the archive was interrupted".into()))?
}

/// Reader that counts its bytes.
struct Counted<'a, R>(R, &'a mut u64);

impl<R: io::Read> io::Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(into)?;
        *self.1 += u64::try_from(read).unwrap_or_default();
        Ok(read)
    }
}
