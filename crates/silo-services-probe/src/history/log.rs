//! Log file of records: append-only, and compacted from time to time. A process that is killed leaves complete lines and at most one torn last line,
//! which the next process removes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::record::Record;

/// The file's name.
const FILE: &str = "history.log";
/// Growth after which the file is compacted, if it has also doubled in size.
const SLACK: u64 = 1024 * 1024;

/// The file, open for appending.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    file: File,
    length: u64,
    /// File size after the last compaction.
    shortest: u64,
    lock: Option<File>,
}

impl Log {
    /// Opens the file in a folder and gives each record that is whole to `take`, line by line: there may be many.
    ///
    /// # Errors
    /// When the folder or the file cannot be used.
    pub fn open(folder: &Path, mut take: impl FnMut(Record)) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = lock(folder)?;
        if lock.is_none() {
            ::log::warn!(
                "another process writes the history of checks; this one waits for the lock"
            );
        }
        let file = open(folder)?;
        let mut lines = BufReader::new(&file);
        let (mut line, mut length, mut damaged) = (Vec::new(), 0, 0_usize);
        while lines.read_until(b'\n', &mut line)? > 0 {
            if line.pop_if(|last| *last == b'\n').is_none() {
                ::log::warn!(
                    "the last line of the history of checks was incomplete and is removed"
                );
                break;
            }
            length += line.len() as u64 + 1;
            match std::str::from_utf8(&line).ok().and_then(Record::read) {
                Some(record) => take(record),
                None => damaged += 1,
            }
            line.clear();
        }
        if lock.is_some() && !line.is_empty() {
            file.set_len(length)?;
        }
        if damaged > 0 {
            ::log::warn!(damaged; "lines of the history of checks are damaged and skipped");
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            file,
            length,
            shortest: 0,
            lock,
        })
    }

    /// Appends a line. Returns whether the file has grown enough to be compacted.
    ///
    /// # Errors
    /// When the line was not written, or only a part of it.
    pub fn append(&mut self, line: &str) -> io::Result<bool> {
        if self.lock.is_none() {
            self.lock = lock(&self.folder)?;
            if self.lock.is_none() {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    "another process keeps them",
                ));
            }
            self.file = open(&self.folder)?;
            self.length = self.file.metadata()?.len();
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Remove the incomplete line, which would corrupt the next one.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(self.length > 2 * self.shortest + SLACK)
    }

    /// Replaces the file by what `write` writes. Whatever happens meanwhile, the old one or the new one is there afterwards, whole.
    ///
    /// # Errors
    /// When it is still the old one.
    pub fn replace(
        &mut self,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> io::Result<()> {
        // Not tried again at every line when it fails.
        self.shortest = self.length;
        let file = NamedTempFile::with_prefix_in("history-", &self.folder)?;
        let mut lines = BufWriter::new(file.as_file());
        write(&mut lines)?;
        lines.flush()?;
        drop(lines);
        file.as_file().sync_all()?;
        file.persist(self.folder.join(FILE))
            .map_err(|error| error.error)?;
        // The new name is on disk only when the folder is.
        File::open(&self.folder)?.sync_all()?;
        self.file = open(&self.folder)?;
        self.length = self.file.metadata()?.len();
        self.shortest = self.length;
        Ok(())
    }
}

fn open(folder: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(folder.join(FILE))
}

/// The right to append: one process at a time has it, until it ends.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = File::create(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::Change;
    use crate::history::Tally;
    use crate::status::Status;

    fn opened(folder: &Path) -> (Log, Vec<Record>) {
        let mut records = Vec::new();
        let log = Log::open(folder, |record| records.push(record)).unwrap();
        (log, records)
    }

    fn records() -> Vec<Record> {
        let tally = Tally {
            up: 1,
            degraded: 2,
            failed: 3,
            down: 4,
            answered_ms: 5,
        };
        let change = Change {
            id: 7,
            at: "2026-01-01T00:00:00.123Z".parse().unwrap(),
            name: "oven".into(),
            from: Status::Up,
            to: Status::Down,
            code: Some("reset".into()),
            detail: Some("it cut the connection".into()),
        };
        let bare = Change {
            id: 8,
            code: None,
            detail: None,
            ..change.clone()
        };
        vec![
            Record::Minute {
                name: "oven".into(),
                at: 29_000_000,
                tally,
            },
            Record::Change(change),
            Record::Hour {
                name: "session".into(),
                at: 480_000,
                tally,
            },
            Record::Change(bare),
        ]
    }

    #[test]
    fn a_process_killed_at_any_byte_loses_at_most_the_line_it_was_writing() {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, nothing) = opened(folder.path());
        assert!(nothing.is_empty());
        for record in records() {
            log.append(&record.line()).unwrap();
        }
        drop(log);
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for end in 0..=whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            let lines = whole[..end].iter().filter(|byte| **byte == b'\n').count();
            let (mut log, read) = opened(folder.path());
            assert_eq!(read, records()[..lines], "{end} bytes");
            log.append(&records()[0].line()).unwrap();
            drop(log);
            let (_, read) = opened(folder.path());
            assert_eq!(
                read.len(),
                lines + 1,
                "what is appended after {end} bytes is whole"
            );
        }
    }

    #[test]
    fn a_damaged_byte_loses_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let whole: String = records().iter().map(Record::line).collect();
        for place in 0..whole.len() {
            let mut damaged = whole.clone().into_bytes();
            damaged[place] ^= 4;
            fs::write(&path, &damaged).unwrap();
            let (_, read) = opened(folder.path());
            assert!(
                read.len() >= 2 && read.iter().all(|record| records().contains(record)),
                "byte {place}: {read:?}"
            );
        }
    }

    #[test]
    fn two_processes_do_not_write_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, _) = opened(folder.path());
        let (mut second, _) = opened(folder.path());
        let line = records()[0].line();
        first.append(&line).unwrap();
        assert!(second.append(&line).is_err());
        drop(first);
        second.append(&line).unwrap();
        assert_eq!(opened(folder.path()).1.len(), 2);
    }

    #[test]
    fn a_grown_file_is_compacted() {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, _) = opened(folder.path());
        let line = records()[0].line();
        let mut appended = 1_u64;
        while !log.append(&line).unwrap() {
            appended += 1;
        }
        assert!(appended * line.len() as u64 > SLACK, "{appended} lines");
        log.replace(|out| out.write_all(line.as_bytes())).unwrap();
        log.append(&line).unwrap();
        drop(log);
        assert_eq!(opened(folder.path()).1.len(), 2);
    }
}
