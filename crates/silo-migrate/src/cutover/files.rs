//! Finding `.env` files, and replacing them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::COPY;
use crate::error::Error;

/// Folders that have no `.env` files of services.
const SKIPPED: [&str; 3] = [".git", "node_modules", "target"];
/// Folders that are searched below a given one.
const DEEPEST: usize = 8;

/// `.env` files of files and folders: `.env`, `.env.*` and `*.env`. A symbolic link leads to its file; links to folders are not followed.
///
/// # Errors
/// When a folder cannot be read.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            search(path, 0, &mut found)?;
        } else {
            found.push(fs::canonicalize(path).map_err(Error::file(path))?);
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn search(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let entry = entry.map_err(Error::file(folder))?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let kind = entry.file_type().map_err(Error::file(&path))?;
        if kind.is_dir() {
            if depth < DEEPEST && !SKIPPED.contains(&&*name) {
                search(&path, depth + 1, found)?;
            }
        } else if (name == ".env" || name.starts_with(".env.") || name.ends_with(".env"))
            && !name.contains(COPY)
            && path.is_file()
        {
            found.push(fs::canonicalize(&path).map_err(Error::file(&path))?);
        }
    }
    Ok(())
}

/// Checks that a file can be replaced: that its folder can be written to, and that it has no second name, which would keep the old contents.
pub(super) fn check(file: &Path) -> Result<(), String> {
    let metadata = fs::metadata(file).map_err(|error| error.to_string())?;
    if metadata.nlink() > 1 {
        return Err("it has a second name (hard link), which would keep the old contents".into());
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    tempfile::NamedTempFile::new_in(folder)
        .map_err(|error| format!("its folder cannot be written to: {error}"))?;
    Ok(())
}

/// Writes a file at once, with the mode and owner of another.
pub(super) fn write_like(file: &Path, contents: &[u8], like: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(like).map_err(Error::file(like))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(Error::file(folder))?;
    new.write_all(contents).map_err(Error::file(file))?;
    let mode = fs::Permissions::from_mode(metadata.mode() & 0o7777);
    new.as_file()
        .set_permissions(mode)
        .map_err(Error::file(file))?;
    let owner =
        std::os::unix::fs::fchown(new.as_file(), Some(metadata.uid()), Some(metadata.gid()));
    owner.map_err(Error::file(file))?;
    new.as_file().sync_all().map_err(Error::file(file))?;
    new.persist(file)
        .map_err(|error| Error::file(file)(error.error))?;
    // The new name is on the disk when the folder is.
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::file(folder))
}
