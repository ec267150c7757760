//! Cut-over: replacing the connection string of the old cluster in `.env` files, and undoing it.

pub mod env_file;
mod files;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use silo_core::secret::Secret;

use crate::error::Error;
use env_file::Assignment;
pub use files::find;

/// Part of the name of a file's copy, between the file's name and the time.
const COPY: &str = ".before-silo-";

/// A connection string in a file, without its password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// File.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Name of the variable.
    pub name: String,
    /// Hosts.
    pub hosts: String,
    /// User; `null` if there is none.
    pub user: Option<String>,
    /// `true` if it is that of the old cluster.
    pub old: bool,
    /// `true` if the line is commented out; such lines are never changed.
    pub commented: bool,
}

/// Connection strings of the files, by file and line.
///
/// # Errors
/// When a file cannot be read.
pub fn list(files: &[PathBuf], old_host: &str) -> Result<Vec<Found>, Error> {
    let mut all = Vec::new();
    for file in files {
        let text = fs::read(file).map_err(Error::file(file))?;
        for assignment in parse(file, &text)? {
            all.extend(found(file, &assignment, old_host));
        }
    }
    Ok(all)
}

/// The connection strings themselves, with where they are.
///
/// # Errors
/// When a file cannot be read.
pub fn strings(files: &[PathBuf], old_host: &str) -> Result<Vec<(Found, Secret)>, Error> {
    let mut all = Vec::new();
    for file in files {
        let text = fs::read(file).map_err(Error::file(file))?;
        for assignment in parse(file, &text)?.into_iter().filter(|it| !it.commented) {
            if let Some(found) = found(file, &assignment, old_host) {
                all.push((found, Secret::new(assignment.value)));
            }
        }
    }
    Ok(all)
}

fn parse(file: &Path, text: &[u8]) -> Result<Vec<Assignment>, Error> {
    env_file::assignments(text)
        .map_err(|problem| Error::Input(format!("{}: {problem}", file.display())))
}

fn found(file: &Path, assignment: &Assignment, old_host: &str) -> Option<Found> {
    let rest = ["mongodb://", "mongodb+srv://"]
        .iter()
        .find_map(|scheme| assignment.value.strip_prefix(scheme))?;
    let server = rest.split(['/', '?']).next().unwrap_or_default();
    // A password may have an @ that should have been escaped.
    let (account, hosts) = match server.rsplit_once('@') {
        Some((account, hosts)) => (Some(account), hosts),
        None => (None, server),
    };
    let user = account.map(|account| account.split(':').next().unwrap_or_default().to_owned());
    let host = |host: &str| {
        host.split(':')
            .next()
            .unwrap_or_default()
            .eq_ignore_ascii_case(old_host)
    };
    let below = |host: &str| {
        let name = host
            .split(':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        // A seed list has the members of the cluster: NAME-shard-00-00.DOMAIN.
        let (cluster, domain) = old_host.split_once('.').unwrap_or((old_host, ""));
        !domain.is_empty() && name.ends_with(&format!(".{domain}")) && name.starts_with(cluster)
    };
    Some(Found {
        file: file.to_owned(),
        line: assignment.line,
        name: assignment.name.clone(),
        hosts: hosts.to_owned(),
        user,
        old: hosts.split(',').any(|it| host(it) || below(it)),
        commented: assignment.commented,
    })
}

/// A file whose old connection strings are replaced.
pub struct Change {
    file: PathBuf,
    before: Vec<u8>,
    after: Vec<u8>,
    /// Lines that change.
    pub lines: Vec<usize>,
}

/// Computes the changes of all files, without writing anything.
///
/// # Errors
/// When a file cannot be changed safely.
pub fn plan(files: &[PathBuf], old_host: &str, new: &Secret) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for file in files {
        let before = fs::read(file).map_err(Error::file(file))?;
        let assignments = parse(file, &before)?;
        let old: Vec<&Assignment> = assignments
            .iter()
            .filter(|it| !it.commented && found(file, it, old_host).is_some_and(|found| found.old))
            .collect();
        if old.is_empty() {
            continue;
        }
        let refuse = |problem: String| {
            Error::Refused(format!(
                "{}: {problem}; nothing was changed",
                file.display()
            ))
        };
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for assignment in assignments.iter().filter(|it| !it.commented) {
            *names.entry(&assignment.name).or_default() += 1;
        }
        if let Some(twice) = old.iter().find(|it| names.get(it.name.as_str()) > Some(&1)) {
            return Err(refuse(format!(
                "{} is set twice, and which one counts depends on the reader",
                twice.name
            )));
        }
        files::check(file).map_err(refuse)?;
        let mut after = before.clone();
        for assignment in old.iter().rev() {
            let value = env_file::write(new.expose(), assignment).map_err(refuse)?;
            after.splice(assignment.range.clone(), value.bytes());
        }
        changes.push(Change {
            file: file.clone(),
            before,
            after,
            lines: old.iter().map(|it| it.line).collect(),
        });
    }
    Ok(changes)
}

impl Change {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Replaces the file at once, with its mode and owner, and keeps a copy beside it. Returns the copy.
    ///
    /// # Errors
    /// When it cannot be written, or has changed since it was read.
    pub fn apply(&self, now: Timestamp) -> Result<PathBuf, Error> {
        let current = fs::read(&self.file).map_err(Error::file(&self.file))?;
        if current != self.before {
            return Err(Error::Refused(format!(
                "{} was changed meanwhile",
                self.file.display()
            )));
        }
        let time = now.strftime("%Y%m%dT%H%M%SZ");
        let copy = with_suffix(&self.file, &format!("{COPY}{time}-{}", digest(&self.after)));
        files::write_like(&copy, &self.before, &self.file)?;
        files::write_like(&self.file, &self.after, &self.file)?;
        Ok(copy)
    }
}

/// Restores each file from its newest copy. Returns the files.
///
/// # Errors
/// When a file was changed since the cut-over, or cannot be written.
pub fn undo(files: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut copies = Vec::new();
    for file in files {
        let Some(copy) = newest_copy(file)? else {
            continue;
        };
        let current = fs::read(file).map_err(Error::file(file))?;
        let name = copy.to_string_lossy().into_owned();
        if !name.ends_with(&digest(&current)) {
            return Err(Error::Refused(format!(
                "{} was changed since the cut-over; its copy is {}; nothing was changed",
                file.display(),
                copy.display()
            )));
        }
        copies.push((file, copy));
    }
    let mut restored = Vec::new();
    for (file, copy) in copies {
        let before = fs::read(&copy).map_err(Error::file(&copy))?;
        files::write_like(file, &before, file)?;
        fs::remove_file(&copy).map_err(Error::file(&copy))?;
        restored.push(file.clone());
    }
    Ok(restored)
}

fn newest_copy(file: &Path) -> Result<Option<PathBuf>, Error> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let prefix = with_suffix(file, COPY);
    let mut newest = None;
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let path = entry.map_err(Error::file(folder))?.path();
        let is_copy = path
            .to_string_lossy()
            .starts_with(&*prefix.to_string_lossy());
        if is_copy && newest.as_ref().is_none_or(|other| path > *other) {
            newest = Some(path);
        }
    }
    Ok(newest)
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The first twelve digits of the SHA-256.
fn digest(bytes: &[u8]) -> String {
    let digest = format!("{:x}", Sha256::digest(bytes));
    digest[..12].to_owned()
}
