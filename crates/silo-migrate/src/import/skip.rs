//! Collections that are left out of an import.

use std::fs;
use std::path::Path;

use super::check::name_of;
use super::manifest::Entry;
use crate::error::Error;

/// Word for the list of [`DISPOSABLE`] collections.
const WORD: &str = "disposable";

/// Collections that AC's migration report of February 2026 lists as not to migrate. Some have got readers since: `boots` is evidence of incidents, and
/// `oven-grabs` and `oven-cache` are needed to find and erase files in Spaces.
pub const DISPOSABLE: [&str; 11] = [
    "boots",
    "bundle-telemetry",
    "false.work-builds",
    "false.work-reports",
    "jas-stretched-paintings",
    "jas-tags",
    "logs",
    "oven-bakes",
    "oven-cache",
    "oven-frozen-pieces",
    "oven-grabs",
];

/// Splits collections into those to import and those to leave out.
pub(super) fn select(
    all: Vec<Entry>,
    only: &[String],
    skip: &[String],
) -> Result<(Vec<Entry>, Vec<Entry>), Error> {
    let unknown = only
        .iter()
        .chain(skip)
        .find(|name| *name != WORD && all.iter().all(|entry| entry.name != **name));
    if let Some(name) = unknown {
        return Err(Error::Usage(format!(
            "there is no collection {name} in the backup"
        )));
    }
    let disposable = skip.iter().any(|name| name == WORD);
    let named = |names: &[String], name: &str| names.iter().any(|other| other == name);
    Ok(all.into_iter().partition(|entry| {
        let left_out =
            named(skip, &entry.name) || (disposable && DISPOSABLE.contains(&entry.name.as_str()));
        (only.is_empty() || named(only, &entry.name)) && !left_out
    }))
}

/// Copies the files of left out collections into a folder, and compares the copies.
pub(super) fn archive(skipped: &[Entry], folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::file(folder))?;
    for entry in skipped {
        let to = folder.join(name_of(&entry.file));
        let partial = to.with_extension("partial");
        let copied = fs::copy(&entry.file, &partial).map_err(Error::file(&partial))?;
        let bytes = fs::metadata(&entry.file)
            .map_err(Error::file(&entry.file))?
            .len();
        if copied != bytes {
            return Err(Error::File(format!(
                "{} was not copied completely",
                entry.file.display()
            )));
        }
        fs::File::open(&partial)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&partial, &to))
            .map_err(Error::file(&to))?;
    }
    Ok(())
}
