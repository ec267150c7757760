//! Spool: slices on this machine's disk, and how far they are stored elsewhere. After a restart the tail continues where the spool ends.
//!
//! `BACKUP_FOLDER/oplog/CHAIN/` has `chain.json` and slices. Only one process writes there, the one with the lease `oplog`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::slice::{Slice, Span};
use crate::oplog::Position;
use crate::repository::{StoredChain, StoredSlice};

/// Folder in `BACKUP_FOLDER`.
pub(super) const FOLDER: &str = "oplog";
/// Description of a chain, in its folder.
const CHAIN: &str = "chain.json";
/// Extension of a file that is being written.
const UNFINISHED: &str = "new";

/// Stored slices are kept for a proof for so many seconds: those since the backup before last night's are needed,
const KEPT_SECONDS: u32 = 50 * 3600;
/// and for so many bytes.
const KEPT_BYTES: u64 = 256 * 1024 * 1024;

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
    /// Reason why the chain ended; `None` while it is continued.
    pub ended: Option<String>,
}

/// End of a chain, where the next slice begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// End of the last slice, or position of the base.
    pub through: Position,
    /// SHA-256 of the entry at that position.
    pub anchor: String,
    /// SHA-256 of the last slice's header; `None` if there is no slice.
    pub link: Option<String>,
}

/// A slice that a destination does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstored {
    /// Id of the slice's chain.
    pub chain: String,
    /// Positions of the slice.
    pub span: Span,
    /// File of the slice.
    pub file: PathBuf,
}

/// Slices of one chain.
#[derive(Debug)]
struct SpooledChain {
    chain: Chain,
    /// Slices, with the sizes of their files.
    slices: BTreeMap<Span, u64>,
}

/// The spool.
pub struct Spool {
    folder: PathBuf,
    /// `true` to keep slices that are stored, for a proof.
    keeps_stored: bool,
    /// In the order in which they began.
    chains: Mutex<Vec<SpooledChain>>,
    changes: watch::Sender<()>,
}

impl Spool {
    /// Opens the spool in `BACKUP_FOLDER`, which another process may be using. With `keeps_stored`, slices of the last two days stay, as far
    /// as there is room for them.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or what is in it.
    pub fn open(parent: &Path, keeps_stored: bool) -> io::Result<Self> {
        let folder = parent.join(FOLDER);
        make_folder(&folder)?;
        Ok(Self {
            chains: Mutex::new(read(&folder)?),
            folder,
            keeps_stored,
            changes: watch::Sender::new(()),
        })
    }

    /// Reads the folder anew, because another process wrote there until now, and deletes the unfinished files of one that was killed.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file not be deleted.
    pub fn reload(&self) -> io::Result<()> {
        for chain in fs::read_dir(&self.folder)? {
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
        *self.chains() = read(&self.folder)?;
        self.changes.send_replace(());
        Ok(())
    }

    /// Notifies the receiver of new slices and chains.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The chain that is continued.
    #[must_use]
    pub fn current(&self) -> Option<Chain> {
        let chains = self.chains();
        let mut chains = chains.iter().map(|spooled| &spooled.chain);
        chains.find(|chain| chain.ended.is_none()).cloned()
    }

    /// All chains that are here.
    #[must_use]
    pub fn all(&self) -> Vec<Chain> {
        self.chains()
            .iter()
            .map(|spooled| spooled.chain.clone())
            .collect()
    }

    /// End of the chain that is continued, as its last slice says.
    ///
    /// # Errors
    /// When there is none, or its last slice is damaged.
    pub fn head(&self) -> io::Result<Head> {
        let chains = self.chains();
        let spooled = chains.iter().find(|spooled| spooled.chain.ended.is_none());
        let spooled = spooled.ok_or_else(|| io::Error::other("there is no chain"))?;
        let Some(span) = spooled.slices.keys().next_back() else {
            return Ok(Head {
                through: spooled.chain.base,
                anchor: spooled.chain.anchor.clone(),
                link: None,
            });
        };
        let last = File::open(self.file(&spooled.chain.id, *span))?;
        let last = Slice::read(last, None).map_err(io::Error::other)?;
        Ok(Head {
            through: last.header.through,
            anchor: last.header.anchor,
            link: Some(last.link),
        })
    }

    /// Begins a chain. The one before it must have ended.
    ///
    /// # Errors
    /// When it cannot be written, or there was a chain of this id.
    pub fn begin(&self, chain: Chain) -> io::Result<()> {
        let folder = self.folder.join(&chain.id);
        make_folder(&folder)?;
        if folder.join(CHAIN).exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        write_chain(&folder, &chain)?;
        sync_folder(&self.folder)?;
        self.chains().push(SpooledChain {
            chain,
            slices: BTreeMap::new(),
        });
        self.changes.send_replace(());
        Ok(())
    }

    /// Adds the next slice to the chain that is continued. When this returns, it is on disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&self, slice: &Slice) -> io::Result<()> {
        let span = slice.header.span();
        let file = self.file(&slice.header.chain, span);
        write_file(&file, |out| slice.write(out))?;
        let bytes = fs::metadata(&file)?.len();
        let mut chains = self.chains();
        let mine = |spooled: &&mut SpooledChain| spooled.chain.id == slice.header.chain;
        if let Some(spooled) = chains.iter_mut().find(mine) {
            spooled.slices.insert(span, bytes);
        }
        drop(chains);
        self.changes.send_replace(());
        Ok(())
    }

    /// Ends the chain that is continued, if there is one.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn end(&self, reason: &str) -> io::Result<()> {
        let mut chains = self.chains();
        if let Some(spooled) = chains
            .iter_mut()
            .find(|spooled| spooled.chain.ended.is_none())
        {
            let mut chain = spooled.chain.clone();
            chain.ended = Some(reason.to_owned());
            write_chain(&self.folder.join(&chain.id), &chain)?;
            spooled.chain = chain;
        }
        drop(chains);
        self.changes.send_replace(());
        Ok(())
    }

    /// Ends a chain whose slices here are not those that are stored. They are stored nowhere, and deleted.
    ///
    /// # Errors
    /// When they cannot be deleted.
    pub fn abandon(&self, chain: &str) -> io::Result<()> {
        let mut chains = self.chains();
        if chains.iter().any(|spooled| spooled.chain.id == chain) {
            fs::remove_dir_all(self.folder.join(chain))?;
        }
        chains.retain(|spooled| spooled.chain.id != chain);
        drop(chains);
        self.changes.send_replace(());
        Ok(())
    }

    /// `true` if a slice of these positions is here.
    #[must_use]
    pub fn has(&self, chain: &str, span: Span) -> bool {
        let chains = self.chains();
        let mut slices = chains.iter().filter(|spooled| spooled.chain.id == chain);
        slices.any(|spooled| spooled.slices.contains_key(&span))
    }

    /// The oldest slice that a destination does not have.
    #[must_use]
    pub fn next_unstored(&self, destination: &str) -> Option<Unstored> {
        let chains = self.chains();
        chains.iter().find_map(|spooled| {
            let span = spooled.unstored(destination).next()?.0;
            Some(Unstored {
                chain: spooled.chain.id.clone(),
                span: *span,
                file: self.file(&spooled.chain.id, *span),
            })
        })
    }

    /// Bytes that a destination does not have.
    #[must_use]
    pub fn unstored_bytes(&self, destination: &str) -> u64 {
        let chains = self.chains();
        let unstored = chains
            .iter()
            .flat_map(|spooled| spooled.unstored(destination));
        unstored.map(|(_, bytes)| bytes).sum()
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let chains = self.chains();
        let slices = chains.iter().flat_map(|spooled| spooled.slices.values());
        slices.sum()
    }

    /// Notes that a destination has a slice.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn stored(&self, destination: &str, slice: &Unstored) -> io::Result<()> {
        let mut chains = self.chains();
        let mine = |spooled: &&mut SpooledChain| spooled.chain.id == slice.chain;
        let Some(spooled) = chains.iter_mut().find(mine) else {
            return Ok(());
        };
        let stored = &mut spooled.chain.stored;
        stored.insert(destination.to_owned(), slice.span.through);
        let chain = spooled.chain.clone();
        drop(chains);
        self.changes.send_replace(());
        // If that fails, it is stored again after a restart, with the same content.
        write_chain(&self.folder.join(&chain.id), &chain)
    }

    /// Deletes slices that all of these destinations have, except for the last of each chain, and ended chains of which they have everything.
    ///
    /// # Errors
    /// When one cannot be deleted.
    pub fn remove_stored(&self, destinations: &BTreeSet<&str>) -> io::Result<()> {
        let mut chains = self.chains();
        for spooled in chains.iter_mut() {
            let last = spooled.slices.keys().next_back().copied();
            let everywhere = spooled.everywhere(destinations);
            let kept_from = self.kept_from(spooled, everywhere);
            let done = |span: &Span| {
                Some(*span) != last && span.through <= everywhere && span.through < kept_from
            };
            let gone: Vec<Span> = spooled.slices.keys().copied().filter(done).collect();
            for span in gone {
                fs::remove_file(self.file(&spooled.chain.id, span))?;
                spooled.slices.remove(&span);
            }
        }
        let done = |spooled: &SpooledChain| {
            let last = spooled.slices.keys().next_back();
            let everywhere = spooled.everywhere(destinations);
            spooled.chain.ended.is_some() && last.is_none_or(|last| last.through <= everywhere)
        };
        for spooled in chains.iter().filter(|spooled| done(spooled)) {
            fs::remove_dir_all(self.folder.join(&spooled.chain.id))?;
        }
        chains.retain(|spooled| !done(spooled));
        Ok(())
    }

    /// Position from which slices are kept although they are stored.
    fn kept_from(&self, spooled: &SpooledChain, everywhere: Position) -> Position {
        let newest = spooled
            .slices
            .keys()
            .next_back()
            .filter(|_| self.keeps_stored);
        let Some(newest) = newest else {
            return Position {
                seconds: u32::MAX,
                increment: 0,
            };
        };
        let mut from = Position {
            seconds: newest.through.seconds.saturating_sub(KEPT_SECONDS),
            increment: 0,
        };
        let mut bytes = 0;
        for (span, size) in spooled
            .slices
            .iter()
            .rev()
            .filter(|(span, _)| span.through <= everywhere)
        {
            bytes += size;
            if bytes > KEPT_BYTES {
                from = from.max(span.through);
                break;
            }
        }
        from
    }

    fn file(&self, chain: &str, span: Span) -> PathBuf {
        self.folder.join(chain).join(span.file_name())
    }

    fn chains(&self) -> MutexGuard<'_, Vec<SpooledChain>> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
fn read(folder: &Path) -> io::Result<Vec<SpooledChain>> {
    let mut chains = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // A folder without description was being made, and has no slice.
        if path.is_dir() && path.join(CHAIN).exists() {
            chains.push(SpooledChain::open(&path)?);
        }
    }
    chains.sort_by_key(|spooled| (spooled.chain.ended.is_none(), spooled.chain.base));
    Ok(chains)
}

impl SpooledChain {
    fn open(folder: &Path) -> io::Result<Self> {
        let chain: Chain = serde_json::from_slice(&fs::read(folder.join(CHAIN))?)?;
        let mut slices = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(span) = Span::of_file_name(&name) {
                slices.insert(span, entry.metadata()?.len());
            }
        }
        Ok(Self { chain, slices })
    }

    fn unstored(&self, destination: &str) -> impl Iterator<Item = (&Span, &u64)> {
        let stored = self.chain.stored.get(destination).copied();
        let slices = self.slices.iter();
        slices.filter(move |(span, _)| stored.is_none_or(|stored| span.through > stored))
    }

    /// Position up to which all of these destinations have the chain.
    fn everywhere(&self, destinations: &BTreeSet<&str>) -> Position {
        let stored = |name: &&str| self.chain.stored.get(*name).copied().unwrap_or_default();
        destinations.iter().map(stored).min().unwrap_or_default()
    }
}

pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

fn write_chain(folder: &Path, chain: &Chain) -> io::Result<()> {
    let json = serde_json::to_vec(chain)?;
    write_file(&folder.join(CHAIN), |out| out.write_all(&json))
}

/// Writes a file that only this account can read; after a crash it is there as a whole, or not at all.
fn write_file(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let mut file = tempfile::Builder::new()
        .suffix(&format!(".{UNFINISHED}"))
        .tempfile_in(folder)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::continuous::slice::{FORMAT, SliceHeader};

    fn at(seconds: u32) -> Position {
        Position {
            seconds,
            increment: 1,
        }
    }

    fn chain(id: &str, base: u32) -> Chain {
        Chain {
            id: id.into(),
            base: at(base),
            anchor: "anchor of the base".into(),
            server_version: "6.0.5".into(),
            feature_compatibility_version: None,
            stored: BTreeMap::new(),
            ended: None,
        }
    }

    /// Adds an empty slice up to `through`.
    fn add(spool: &Spool, through: u32) {
        let (chain, head) = (spool.current().unwrap(), spool.head().unwrap());
        let header = SliceHeader {
            format: FORMAT,
            chain: chain.id,
            after: head.through,
            through: at(through),
            entries: 0,
            bytes: 0,
            sha256: String::new(),
            anchor: format!("anchor of {through}"),
            server_version: chain.server_version,
            feature_compatibility_version: None,
            previous: head.link,
            merged_up_to: None,
        };
        spool.add(&Slice::new(header, Vec::new()).unwrap()).unwrap();
    }

    fn store(spool: &Spool, destination: &str) -> Option<Position> {
        let next = spool.next_unstored(destination)?;
        assert!(next.file.exists());
        spool.stored(destination, &next).unwrap();
        Some(next.span.through)
    }

    fn files(parent: &Path) -> usize {
        let folder = parent.join(FOLDER).join("one");
        fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[test]
    fn a_chain_goes_on_where_the_last_slice_on_disk_ends() {
        let parent = tempfile::tempdir().unwrap();
        let spool = Spool::open(parent.path(), false).unwrap();
        assert!(spool.current().is_none() && spool.head().is_err());
        spool.begin(chain("one", 10)).unwrap();
        assert_eq!(spool.head().unwrap().anchor, "anchor of the base");
        add(&spool, 20);
        add(&spool, 30);
        // Of a process that was killed while it wrote.
        let folder = parent.path().join(FOLDER).join("one");
        fs::write(folder.join("unfinished.new"), "half").unwrap();
        let head = spool.head().unwrap();
        drop(spool);
        let spool = Spool::open(parent.path(), false).unwrap();
        assert!(
            folder.join("unfinished.new").exists(),
            "of a process that runs"
        );
        spool.reload().unwrap();
        assert_eq!(spool.head().unwrap(), head);
        assert_eq!(
            (head.through, head.anchor.as_str()),
            (at(30), "anchor of 30")
        );
        assert!(!folder.join("unfinished.new").exists());
        // The last slice was damaged on disk: nobody knows where to go on.
        let last = spool.next_unstored("primary").unwrap();
        assert_eq!(last.span.through, at(20));
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "gz")
            {
                fs::write(entry.path(), "damaged").unwrap();
            }
        }
        assert!(spool.head().is_err());
    }

    #[test]
    fn slices_stay_until_every_destination_has_them_and_the_last_one_for_ever() {
        let parent = tempfile::tempdir().unwrap();
        let spool = Spool::open(parent.path(), false).unwrap();
        spool.begin(chain("one", 10)).unwrap();
        for through in [20, 30, 40] {
            add(&spool, through);
        }
        let both = BTreeSet::from(["primary", "copy"]);
        assert_eq!(store(&spool, "primary"), Some(at(20)));
        assert_eq!(store(&spool, "primary"), Some(at(30)));
        spool.remove_stored(&both).unwrap();
        // `chain.json` and three slices.
        assert_eq!(files(parent.path()), 4);
        assert_eq!(store(&spool, "copy"), Some(at(20)));
        spool.remove_stored(&both).unwrap();
        assert_eq!(files(parent.path()), 3);
        let spool = Spool::open(parent.path(), false).unwrap();
        assert_eq!(store(&spool, "copy"), Some(at(30)));
        assert_eq!(store(&spool, "copy"), Some(at(40)));
        assert_eq!(store(&spool, "copy"), None);
        assert_eq!(store(&spool, "primary"), Some(at(40)));
        spool.remove_stored(&both).unwrap();
        assert_eq!(files(parent.path()), 2);
        assert_eq!(spool.unstored_bytes("primary"), 0);
    }

    #[test]
    fn stored_slices_are_kept_for_a_proof_for_two_days() {
        let parent = tempfile::tempdir().unwrap();
        let spool = Spool::open(parent.path(), true).unwrap();
        spool.begin(chain("one", 10)).unwrap();
        for through in [20, 30, 30 + KEPT_SECONDS] {
            add(&spool, through);
            store(&spool, "primary").unwrap();
        }
        spool.remove_stored(&BTreeSet::from(["primary"])).unwrap();
        let found = slices(parent.path()).unwrap();
        let ends: Vec<u32> = found[0]
            .slices
            .iter()
            .map(|slice| slice.span.through.seconds)
            .collect();
        assert_eq!(ends, [30, 30 + KEPT_SECONDS]);
    }

    #[test]
    fn the_slices_of_an_ended_chain_are_stored_before_those_of_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let spool = Spool::open(parent.path(), false).unwrap();
        spool.begin(chain("one", 10)).unwrap();
        add(&spool, 20);
        spool.end("a reason").unwrap();
        assert!(spool.begin(chain("one", 10)).is_err(), "an id is used once");
        spool.begin(chain("two", 30)).unwrap();
        add(&spool, 40);
        let spool = Spool::open(parent.path(), false).unwrap();
        assert_eq!(spool.all()[0].ended.as_deref(), Some("a reason"));
        assert_eq!(spool.current().unwrap().id, "two");
        let only = BTreeSet::from(["primary"]);
        assert_eq!(store(&spool, "primary"), Some(at(20)));
        spool.remove_stored(&only).unwrap();
        assert_eq!(files(parent.path()), 0);
        assert_eq!(spool.all().len(), 1);
        assert_eq!(store(&spool, "primary"), Some(at(40)));
    }
}
