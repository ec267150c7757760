//! Files of the spool: a folder for each chain, with its description and slices.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use log::error;
use serde::{Deserialize, Serialize};

use super::FOLDER;
use crate::continuous::slice::Span;
use crate::oplog::Position;
use crate::repository::{StoredChain, StoredSlice};

/// Description of a chain, in its folder.
pub(super) const CHAIN: &str = "chain.json";
/// Extension of a file that is being written.
const UNFINISHED: &str = "new";

/// Description of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// Id of the chain: that of the backup at whose position it begins.
    pub id: String,
    /// Position of the backup.
    pub base: Position,
    /// SHA-256 of the entry at that position.
    pub anchor: String,
    /// Version of the server.
    pub server_version: String,
    /// Feature compatibility version of the server.
    pub feature_compatibility_version: Option<String>,
    /// End of the slices that each destination has.
    pub stored: BTreeMap<String, Position>,
    /// Destinations that miss slices, which were left out while they did not take any.
    #[serde(default)]
    pub incomplete: BTreeSet<String>,
    /// Reason why the chain ended; `None` while it is continued.
    pub ended: Option<String>,
}

/// Slices of one chain.
#[derive(Debug)]
pub(super) struct SpooledChain {
    pub(super) chain: Chain,
    /// Slices, with the sizes of their files.
    pub(super) slices: BTreeMap<Span, u64>,
}

/// The slices of a chain in the spool of a folder, in their order, with their files as keys. The spool may be in use.
///
/// # Errors
/// When the folder cannot be read.
pub fn slices(parent: &Path) -> io::Result<Vec<StoredChain>> {
    let mut chains = Vec::new();
    for chain in fs::read_dir(parent.join(FOLDER))? {
        let folder = chain?.path();
        if !folder.is_dir() {
            continue;
        }
        let mut slices = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // One that is deleted meanwhile is not there.
            let bytes = entry.metadata().map(|file| file.len());
            let span = Span::of_file_name(&entry.file_name().to_string_lossy());
            if let (Some(span), Ok(bytes)) = (span, bytes) {
                slices.push(StoredSlice {
                    span,
                    key: entry.path().display().to_string(),
                    bytes,
                });
            }
        }
        slices.sort_by_key(|slice| slice.span);
        let id = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        chains.push(StoredChain { id, slices });
    }
    Ok(chains)
}

/// The chains in a folder, in the order in which they began.
pub(super) fn read(folder: &Path) -> io::Result<Vec<SpooledChain>> {
    let mut chains = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // A folder without description was being made, and has no slice.
        if !path.is_dir() || !path.join(CHAIN).exists() {
            continue;
        }
        match SpooledChain::open(&path) {
            Ok(spooled) => chains.push(spooled),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                error!("{} is damaged: {error}", path.join(CHAIN).display());
            }
            Err(error) => return Err(error),
        }
    }
    chains.sort_by_key(|spooled| (spooled.chain.ended.is_none(), spooled.chain.base));
    Ok(chains)
}

impl SpooledChain {
    fn open(folder: &Path) -> io::Result<Self> {
        let chain: Chain = serde_json::from_slice(&fs::read(folder.join(CHAIN))?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut slices = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(span) = Span::of_file_name(&name) {
                match entry.metadata() {
                    Ok(file) => drop(slices.insert(span, file.len())),
                    // Another process has deleted it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Self { chain, slices })
    }

    pub(super) fn unstored(&self, destination: &str) -> impl Iterator<Item = (&Span, &u64)> {
        let stored = self.chain.stored.get(destination).copied();
        let slices = self.slices.iter();
        slices.filter(move |(span, _)| stored.is_none_or(|stored| span.through > stored))
    }

    /// Position up to which all of these destinations have the chain.
    pub(super) fn everywhere(&self, destinations: &BTreeSet<&str>) -> Position {
        let stored = |name: &&str| self.chain.stored.get(*name).copied().unwrap_or_default();
        destinations.iter().map(stored).min().unwrap_or_default()
    }
}

/// Sets damaged chains aside, for an operator to look at. What is not stored of them is lost, unless mongod has it.
/// Returns their ids.
pub(super) fn set_damaged_aside(folder: &Path) -> io::Result<Vec<String>> {
    let mut damaged = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_damaged = SpooledChain::open(&path)
            .is_err_and(|error| error.kind() == io::ErrorKind::InvalidData);
        if is_damaged {
            fs::rename(path.join(CHAIN), path.join("damaged.json"))?;
            fs::rename(&path, path.with_extension("damaged"))?;
            let id = path.file_name().unwrap_or_default();
            damaged.push(id.to_string_lossy().into_owned());
        }
    }
    Ok(damaged)
}

/// Deletes the unfinished files of a process that was killed.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for chain in fs::read_dir(folder)? {
        let chain = chain?.path();
        if !chain.is_dir() {
            continue;
        }
        for entry in fs::read_dir(chain)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == UNFINISHED)
            {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// Makes a folder that only this account can read.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

pub(super) fn write_chain(folder: &Path, chain: &Chain) -> io::Result<()> {
    let json = serde_json::to_vec(chain)?;
    write_file(&folder.join(CHAIN), |out| out.write_all(&json))
}

/// Writes a file that only this account can read; after a crash it is there as a whole, or not at all.
pub(super) fn write_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let mut file = tempfile::Builder::new()
        .suffix(&format!(".{UNFINISHED}"))
        .tempfile_in(folder)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
