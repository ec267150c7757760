//! Spool: slices on this machine's disk, and how far they are stored elsewhere. After a restart the tail continues where the spool ends.
//!
//! `BACKUP_FOLDER/oplog/CHAIN/` has `chain.json` and slices. Only one process writes there, the one with the lease `oplog`, which
//! locks the folder.

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::{error, warn};
use tokio::sync::watch;

use super::slice::{Slice, Span};
use crate::oplog::Position;
use disk::{
    CHAIN, SpooledChain, read, remove_unfinished, set_damaged_aside, sync_folder, write_chain,
    write_file,
};
pub use disk::{Chain, make_folder, slices};

/// Folder in `BACKUP_FOLDER`.
pub(super) const FOLDER: &str = "oplog";
/// Stored slices are kept for a proof for so many seconds: those since the backup before last night's are needed,
const KEPT_SECONDS: u32 = 50 * 3600;
/// and for so many bytes.
const KEPT_BYTES: u64 = 256 * 1024 * 1024;

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

/// Room for slices that wait on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is some.
    Enough,
    /// There is none, and no destination takes slices.
    Full,
    /// Every destination misses slices of the chain.
    AllIncomplete,
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
    /// as there is room for them. A folder that cannot be read is empty until [`Self::reload`], so that backups go on without it.
    #[must_use]
    pub fn open(parent: &Path, keeps_stored: bool) -> Self {
        let folder = parent.join(FOLDER);
        let chains = make_folder(&folder).and_then(|()| read(&folder));
        let chains = chains.unwrap_or_else(|error| {
            error!("{} cannot be read: {error}", folder.display());
            Vec::new()
        });
        Self {
            chains: Mutex::new(chains),
            folder,
            keeps_stored,
            changes: watch::Sender::new(()),
        }
    }

    /// Reads the folder anew, because another process wrote there until now, deletes the unfinished files of one that was killed, and sets aside
    /// chains whose description is damaged, whose ids it returns.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file not be deleted.
    pub fn reload(&self) -> io::Result<Vec<String>> {
        remove_unfinished(&self.folder)?;
        let damaged = set_damaged_aside(&self.folder)?;
        *self.chains() = read(&self.folder)?;
        self.changes.send_replace(());
        Ok(damaged)
    }

    /// Locks the folder for as long as the file is open; `None` if another process has it locked.
    ///
    /// # Errors
    /// When it cannot be locked.
    pub fn lock(&self) -> io::Result<Option<File>> {
        make_folder(&self.folder)?;
        let folder = File::open(&self.folder)?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(folder)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
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
        self.note(destination, slice, false)
    }

    /// Leaves out a slice: the destination's copy of the chain has a gap from now on.
    fn leave_out(&self, destination: &str, slice: &Unstored) -> io::Result<()> {
        self.note(destination, slice, true)
    }

    /// Makes room where more than `limit` bytes wait for a destination. One alone that does not take slices misses the oldest: its copy of the chain
    /// has a gap.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn make_room(&self, destinations: &[&str], limit: u64) -> io::Result<Room> {
        let is_over = |name: &&str| self.unstored_bytes(name) >= limit;
        if destinations.iter().all(is_over) {
            return Ok(Room::Full);
        }
        for name in destinations.iter().copied().filter(is_over) {
            if let Some(oldest) = self.next_unstored(name) {
                warn!(destination = name, chain = oldest.chain.as_str(); "a slice is left out, because there is no more room for slices that wait: {}", oldest.span.file_name());
                self.leave_out(name, &oldest)?;
            }
        }
        let incomplete = self.current().map(|chain| chain.incomplete);
        let misses = |name: &&str| incomplete.as_ref().is_some_and(|all| all.contains(*name));
        match destinations.iter().all(misses) {
            true => Ok(Room::AllIncomplete),
            false => Ok(Room::Enough),
        }
    }

    fn note(&self, destination: &str, slice: &Unstored, left_out: bool) -> io::Result<()> {
        let mut chains = self.chains();
        let mine = |spooled: &&mut SpooledChain| spooled.chain.id == slice.chain;
        let Some(spooled) = chains.iter_mut().find(mine) else {
            return Ok(());
        };
        let stored = &mut spooled.chain.stored;
        stored.insert(destination.to_owned(), slice.span.through);
        if left_out {
            let incomplete = &mut spooled.chain.incomplete;
            incomplete.insert(destination.to_owned());
        }
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

#[cfg(test)]
mod tests;
