//! First reading of a file, before anything is written: its syntax, dialect, number of documents, and fields whose type is not known.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};
use silo_cli::progress::Reporter;
use tokio_util::sync::CancellationToken;

use super::manifest::Entry;
use crate::error::Error;
use crate::json::convert::Converter;
use crate::json::dialect::Dialect;
use crate::json::documents::{Documents, Layout, ReadError, decompressed};
use crate::json::types::FieldTypes;

/// Documents after which progress is reported.
const REPORT_EVERY: u64 = 500;

/// Report about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileReport {
    /// Name of the collection.
    pub collection: String,
    /// Name of the file.
    pub file: String,
    /// Dialect.
    pub dialect: Dialect,
    /// Layout; `null` of an empty file.
    pub layout: Option<Layout>,
    /// Number of documents.
    pub documents: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Fields whose type must be declared before anything is written.
    pub ambiguous: Vec<String>,
    /// Fields whose values may have had another type, which the dialect does not keep.
    pub lossy: Vec<String>,
    /// Proposed table of a types file.
    #[serde(skip)]
    pub proposal: Option<String>,
}

/// Reads a file. `dialect` overrules what its contents say.
///
/// # Errors
/// [`Error::Input`] with file, line and column of the first problem.
pub fn check(
    entry: &Entry,
    types: &FieldTypes,
    dialect: Option<Dialect>,
    report: &Reporter,
    stop: &CancellationToken,
) -> Result<FileReport, Error> {
    report.at(&entry.name);
    let mut converter = Converter::new(None, types);
    let (mut documents, mut layout) = (0, None);
    let sha256 = read(&entry.file, stop, |text, found| {
        converter.convert(text)?;
        (documents, layout) = (documents + 1, found);
        if documents % REPORT_EVERY == 0 {
            report.add(REPORT_EVERY);
        }
        Ok(())
    })?;
    report.add(documents % REPORT_EVERY);
    let in_file = |problem: String| Error::Input(format!("{}: {problem}", entry.file.display()));
    let dialect = match dialect {
        Some(dialect) => dialect,
        None => converter.markers.dialect().map_err(in_file)?,
    };
    if let Some(problem) = converter.misfits.in_dialect(dialect) {
        return Err(in_file(problem.to_owned()));
    }
    if let Some(expected) = entry.documents
        && expected != documents
    {
        return Err(Error::Different(format!(
            "{} has {documents} documents, and by the manifest {expected}",
            entry.file.display()
        )));
    }
    let mut lossy = converter.fields.lossy(dialect);
    if converter.fields.truncated {
        lossy.push("the documents have too many names of fields to list all of them".into());
    }
    Ok(FileReport {
        collection: entry.name.clone(),
        file: name_of(&entry.file),
        dialect,
        layout,
        documents,
        sha256,
        ambiguous: converter.fields.ambiguous(dialect),
        lossy,
        proposal: converter.fields.propose(&entry.name),
    })
}

pub(super) fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Reads all documents of a file. Returns the file's SHA-256.
pub(super) fn read(
    file: &Path,
    stop: &CancellationToken,
    mut each: impl FnMut(
        &crate::json::documents::DocumentText<'_>,
        Option<Layout>,
    ) -> Result<(), ReadError>,
) -> Result<String, Error> {
    let mut hashed = Hashed {
        file: File::open(file).map_err(Error::file(file))?,
        sha256: Sha256::new(),
    };
    let wrong = |error: ReadError| match error {
        ReadError::Json(error) => Error::Input(format!("{}: {error}", file.display())),
        // What gzip finds wrong.
        ReadError::Io(error) => match error.kind() {
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::UnexpectedEof => Error::Input(format!(
                "{}: the compressed data is damaged: {error}",
                file.display()
            )),
            _ => Error::file(file)(error),
        },
    };
    {
        let plain = decompressed(&mut hashed).map_err(|error| wrong(error.into()))?;
        let mut documents = Documents::new(plain);
        loop {
            if stop.is_cancelled() {
                return Err(Error::Interrupted);
            }
            let layout = documents.layout();
            match documents.next_document().map_err(wrong)? {
                Some(text) => each(&text, layout).map_err(wrong)?,
                None => break,
            }
        }
    }
    io::copy(&mut hashed, &mut io::sink()).map_err(Error::file(file))?;
    Ok(format!("{:x}", hashed.sha256.finalize()))
}

/// A file that is hashed while it is read.
struct Hashed {
    file: File,
    sha256: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.sha256.update(&into[..read]);
        Ok(read)
    }
}
