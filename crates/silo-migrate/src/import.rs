//! Import of a JSON backup: a folder with `_manifest.json` and one file per collection.
//!
//! Every file is read completely before the first write: its syntax, dialect, number of documents, and fields whose type JSON has lost. Each collection
//! is loaded under another name and renamed when its documents and indexes are complete, so that nothing incomplete is ever visible.

pub mod check;
mod load;
pub mod manifest;
mod skip;
mod state;

use std::cmp::Reverse;
use std::fs::{self, File};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use silo_cli::progress::Reporter;
use silo_mongo::mongodb::Database;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::json::dialect::Dialect;
use crate::json::types::Types;

pub use check::FileReport;
use load::Load;
pub use load::staging_name;
use manifest::Entry;
pub use skip::DISPOSABLE;
pub(crate) use state::is_complete;

/// Collections that are loaded at once: while one waits for the server's journal or an index, another is read.
const CONCURRENT_LOADS: usize = 3;

/// Request for an import.
pub struct Request {
    /// Folder of the backup.
    pub folder: PathBuf,
    /// `false` if the folder has no manifest.
    pub manifest: bool,
    /// Types of fields.
    pub types: Types,
    /// Dialect of all files; `None` to detect that of each.
    pub dialect: Option<Dialect>,
    /// Collections; empty for all.
    pub only: Vec<String>,
    /// Collections that are left out; `disposable` for the list [`DISPOSABLE`].
    pub skip: Vec<String>,
    /// Folder to which the files of left out collections are copied.
    pub archive: Option<PathBuf>,
}

/// Result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Files that were read.
    pub files: Vec<FileReport>,
    /// Collections that were left out.
    pub skipped: Vec<String>,
    /// Collections that an earlier import had completed.
    pub complete_before: Vec<String>,
    /// Number of documents of all collections.
    pub documents: u64,
}

/// A checked import, before the first write.
pub struct Plan {
    request: Request,
    entries: Vec<Entry>,
    skipped: Vec<Entry>,
    files: Vec<FileReport>,
    /// Held until the end, so that two imports of a folder do not disturb each other.
    _lock: File,
}

/// Checks the files, the largest first, on two threads.
fn check_all(
    entries: &[Entry],
    request: &Request,
    progress: &Reporter,
    stop: &CancellationToken,
) -> Result<Vec<FileReport>, Error> {
    let size = |at: &usize| fs::metadata(&entries[*at].file).map_or(0, |file| file.len());
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|at| Reverse(size(at)));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut reports = Vec::new();
        while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let entry = &entries[*at];
            let types = request.types.of(&entry.name);
            let report = check::check(entry, &types, request.dialect, progress, stop);
            let failed = report.is_err();
            reports.push((*at, report));
            if failed {
                break;
            }
        }
        reports
    };
    let mut reports = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut reports = work();
        reports.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        reports
    });
    reports.sort_by_key(|(at, _)| *at);
    reports.into_iter().map(|(_, report)| report).collect()
}

impl Plan {
    /// Reads the manifest and every file.
    ///
    /// # Errors
    /// The first problem of a file, or what does not fit together.
    pub fn new(
        request: Request,
        progress: &Reporter,
        stop: &CancellationToken,
    ) -> Result<Self, Error> {
        let folder = &request.folder;
        let lock = File::open(folder).map_err(Error::file(folder))?;
        lock.try_lock().map_err(|_locked| {
            Error::Refused(format!("another import of {} is running", folder.display()))
        })?;
        let all = if request.manifest {
            manifest::read(folder)?
        } else {
            manifest::without(folder)?
        };
        let (entries, skipped) = skip::select(all, &request.only, &request.skip)?;
        let total = entries.iter().map(|entry| entry.documents).sum();
        progress.begin("checking", total, "documents");
        let files = check_all(&entries, &request, progress, stop)?;
        Ok(Self {
            request,
            entries,
            skipped,
            files,
            _lock: lock,
        })
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &[FileReport] {
        &self.files
    }

    /// Collections that are left out.
    pub fn skipped(&self) -> impl Iterator<Item = &str> {
        self.skipped.iter().map(|entry| entry.name.as_str())
    }

    /// Proposed types file for what is ambiguous; empty if nothing is.
    #[must_use]
    pub fn proposal(&self) -> String {
        let tables: Vec<&str> = self
            .files
            .iter()
            .filter_map(|file| file.proposal.as_deref())
            .collect();
        tables.join("\n")
    }

    /// Refuses an import whose types are not known.
    ///
    /// # Errors
    /// Every field whose type must be declared.
    pub fn decided(&self) -> Result<(), Error> {
        let open: Vec<String> = self
            .files
            .iter()
            .flat_map(|file| {
                file.ambiguous
                    .iter()
                    .map(|field| format!("  {}: {field}", file.file))
            })
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "plain JSON does not say of which type these fields are; declare them (--types; --infer proposes a file), nothing was written:\n{}",
            open.join("\n")
        )))
    }

    /// Imports.
    ///
    /// # Errors
    /// The first error. Collections that are complete by then stay; the next import goes on with the others.
    pub async fn run(
        self,
        database: &Database,
        progress: &Reporter,
        stop: &CancellationToken,
    ) -> Result<Imported, Error> {
        self.decided()?;
        let mut names = self.entries.iter().map(|entry| &entry.name);
        if let Some(long) = names.find(|name| !load::fits(database, name)) {
            return Err(Error::Refused(format!(
                "{long} is too long a name to be imported as {} first; shorten it in the manifest, nothing was written",
                staging_name(long)
            )));
        }
        if let Some(folder) = &self.request.archive {
            skip::archive(&self.skipped, folder)?;
        }
        let documents = self.files.iter().map(|file| file.documents).sum();
        progress.begin("inserting", Some(documents), "documents");
        let loads = self
            .entries
            .iter()
            .zip(&self.files)
            .map(async |(entry, report)| {
                if stop.is_cancelled() {
                    return Err(Error::Interrupted);
                }
                let load = Load {
                    database,
                    entry,
                    report,
                    types: &self.request.types.of(&entry.name),
                    progress,
                    stop,
                };
                let before = !load.run().await?;
                Ok(before.then(|| entry.name.clone()))
            });
        let complete_before: Vec<Option<String>> = stream::iter(loads)
            .buffered(CONCURRENT_LOADS)
            .try_collect()
            .await?;
        let complete_before = complete_before.into_iter().flatten().collect();
        Ok(Imported {
            skipped: self.skipped().map(str::to_owned).collect(),
            files: self.files,
            complete_before,
            documents,
        })
    }
}
