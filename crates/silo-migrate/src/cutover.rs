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
        let mut known = Vec::new();
        for assignment in parse(file, &text)? {
            if let Some(found) = found(file, &assignment, old_host) {
                known.push(assignment.line);
                all.push(found);
            }
        }
        let other = mentioned(&text, old_host, &known);
        all.extend(other.into_iter().map(|line| Found {
            file: file.clone(),
            line,
            name: "(not a connection string)".into(),
            hosts: old_host.to_owned(),
            user: None,
            old: true,
            commented: false,
        }));
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
    let schemes = ["mongodb://", "mongodb+srv://"];
    let rest = schemes
        .iter()
        .find_map(|scheme| assignment.value.strip_prefix(scheme))?;
    let (server, after) = match rest.find(['/', '?']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    let (account, hosts) = match server.rsplit_once('@') {
        Some((account, hosts)) => (Some(account), hosts),
        None => (None, server),
    };
    // A password with letters that should have been escaped must not be taken for a host.
    let readable = !after.contains('@') && hosts.split(',').all(is_host);
    let user = account
        .filter(|_| readable)
        .map(|account| account.split(':').next().unwrap_or_default().to_owned());
    let old = if readable {
        hosts.split(',').any(|host| is_of(host, old_host))
    } else {
        mentions(&assignment.value, old_host)
    };
    Some(Found {
        file: file.to_owned(),
        line: assignment.line,
        name: assignment.name.clone(),
        hosts: if readable {
            hosts.to_owned()
        } else {
            "(unreadable: letters of the password are not escaped)".into()
        },
        user,
        old,
        commented: assignment.commented,
    })
}

/// `true` for a name or address with an optional port.
fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    !name.is_empty() && name.chars().all(letter) && port.parse::<u16>().is_ok()
}

/// `true` for the old cluster, or for one of its members in a seed list: `CLUSTER-shard-00-00.DOMAIN`.
fn is_of(host: &str, old_host: &str) -> bool {
    let name = host
        .split(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let old_host = old_host.to_ascii_lowercase();
    let member = old_host.split_once('.').is_some_and(|(cluster, domain)| {
        name.starts_with(&format!("{cluster}-shard-")) && name.ends_with(&format!(".{domain}"))
    });
    name == old_host || member
}

/// `true` if the text has the name of the old cluster.
fn mentions(text: &str, old_host: &str) -> bool {
    text.to_ascii_lowercase()
        .contains(&old_host.to_ascii_lowercase())
}

/// Lines that have the name of the old cluster and are not commented out, without those of these assignments.
fn mentioned(text: &[u8], old_host: &str, known: &[usize]) -> Vec<usize> {
    let text = String::from_utf8_lossy(text);
    let lines = (1..).zip(text.lines());
    lines
        .filter(|(number, line)| {
            mentions(line, old_host)
                && !line.trim_start().starts_with('#')
                && !known.contains(number)
        })
        .map(|(number, _)| number)
        .collect()
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
        let refuse = |problem: String| {
            Error::Refused(format!(
                "{}: {problem}; nothing was changed",
                file.display()
            ))
        };
        let lines: Vec<usize> = old.iter().map(|it| it.line).collect();
        if let Some(line) = mentioned(&before, old_host, &lines).first() {
            return Err(refuse(format!(
                "line {line} has the name of the old cluster and is not a connection string that can be replaced"
            )));
        }
        if old.is_empty() {
            continue;
        }
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
            lines,
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

/// Restores each file from its newest copy; with `dry`, only finds out which. Returns the files.
///
/// # Errors
/// When a file was changed since the cut-over, or cannot be written.
pub fn undo(files: &[PathBuf], dry: bool) -> Result<Vec<PathBuf>, Error> {
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
        if !dry {
            let before = fs::read(&copy).map_err(Error::file(&copy))?;
            files::write_like(file, &before, file)?;
            fs::remove_file(&copy).map_err(Error::file(&copy))?;
        }
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
