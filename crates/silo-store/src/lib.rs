//! A service's own data on disk: one SQLite file in a folder, to which one process writes at a time.
//!
//! The file is in WAL mode: a process that is killed loses nothing that was written, and a machine that loses power at most the last writes. A file that
//! is damaged, or of another version of its schema, is moved aside and a new one is begun.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::warn;
pub use rusqlite;
use rusqlite::{Connection, ErrorCode, Transaction};

/// Time to wait for a lock that another connection of the file holds.
const BUSY: Duration = Duration::from_secs(1);
/// Settings of a connection. Data of these services are small, so its cache is too: 256 KiB.
const PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA cache_size = -256;
    PRAGMA temp_store = MEMORY;
    PRAGMA journal_size_limit = 1048576;
";

/// Error of reading or writing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process writes to the same folder.
    #[error("another process writes to the same folder")]
    Locked,
    /// The folder or its lock cannot be used.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// SQLite's error: a full disk, a damaged file.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Schema of a file.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Name of the file in the folder.
    pub file: &'static str,
    /// Number of the schema, at least 1; it is in the file's `user_version`.
    pub version: i32,
    /// Statements that make the tables.
    pub tables: &'static str,
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    connection: Connection,
    lock: Option<File>,
}

impl Store {
    /// Opens the file in a folder; both are created if missing.
    ///
    /// # Errors
    /// When the folder or the file cannot be used.
    pub fn open(folder: &Path, schema: Schema) -> Result<Self, StoreError> {
        fs::create_dir_all(folder)?;
        let lock = lock(folder)?;
        let path = folder.join(schema.file);
        let connection = match connect(&path, schema) {
            Ok(connection) => connection,
            Err(Unusable::File(reason)) if lock.is_some() => {
                move_aside(&path, &reason)?;
                connect(&path, schema).map_err(StoreError::from)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            folder: folder.to_path_buf(),
            connection,
            lock,
        })
    }

    /// Takes the right to write, which one process at a time has until it ends; `false` while another has it.
    ///
    /// # Errors
    /// When the lock's file cannot be used.
    pub fn take_lock(&mut self) -> io::Result<bool> {
        if self.lock.is_none() {
            self.lock = lock(&self.folder)?;
        }
        Ok(self.lock.is_some())
    }

    /// Runs statements in one transaction: all of them are written, or none.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another process has the right to write; otherwise the error of a statement.
    pub fn write<T>(
        &mut self,
        statements: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if !self.take_lock()? {
            return Err(StoreError::Locked);
        }
        let transaction = self.connection.transaction()?;
        let result = statements(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Reads.
    ///
    /// # Errors
    /// The error of a statement.
    pub fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        Ok(query(&self.connection)?)
    }
}

/// Reason why a file was not opened.
enum Unusable {
    /// The file itself: damaged, no database, or of another version.
    File(String),
    /// Something else, such as a full disk: the file may be good.
    Other(rusqlite::Error),
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::File(error.to_string())
            }
            _ => Self::Other(error),
        }
    }
}

impl From<Unusable> for StoreError {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::File(reason) => Self::Io(io::Error::new(io::ErrorKind::InvalidData, reason)),
            Unusable::Other(error) => Self::Sqlite(error),
        }
    }
}

fn connect(path: &Path, schema: Schema) -> Result<Connection, Unusable> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(PRAGMAS)?;
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        let tables = format!(
            "BEGIN IMMEDIATE; {} PRAGMA user_version = {}; COMMIT;",
            schema.tables, schema.version
        );
        connection.execute_batch(&tables)?;
    } else if version != schema.version {
        let expected = schema.version;
        return Err(Unusable::File(format!(
            "its version is {version} and not {expected}"
        )));
    }
    let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check == "ok" {
        Ok(connection)
    } else {
        Err(Unusable::File(check))
    }
}

/// Renames a file that cannot be used, so that an operator may look at it.
fn move_aside(path: &Path, reason: &str) -> io::Result<()> {
    let mut damaged = path.as_os_str().to_owned();
    damaged.push(".damaged");
    warn!(
        "{} cannot be used ({reason}); it is kept as {} and a new one is begun",
        path.display(),
        damaged.display()
    );
    fs::rename(path, &damaged)?;
    for rest in ["-wal", "-shm"] {
        let mut rest_of = path.as_os_str().to_owned();
        rest_of.push(rest);
        match fs::remove_file(&rest_of) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

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

    const SCHEMA: Schema = Schema {
        file: "test.db",
        version: 1,
        tables: "CREATE TABLE number (value INTEGER NOT NULL) STRICT;",
    };

    fn add(store: &mut Store, value: i64) -> Result<(), StoreError> {
        store.write(|tx| {
            tx.execute("INSERT INTO number VALUES (?1)", [value])?;
            Ok(())
        })
    }

    fn numbers(store: &Store) -> Vec<i64> {
        let read = store.read(|connection| {
            let mut statement = connection.prepare("SELECT value FROM number ORDER BY rowid")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect()
        });
        read.unwrap()
    }

    #[test]
    fn what_was_written_is_there_after_a_process_that_never_closed_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("deep/er"), SCHEMA).unwrap();
        add(&mut store, 1).unwrap();
        add(&mut store, 2).unwrap();
        // As after a kill: the log of the file was not written back.
        let killed = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(folder.path().join("deep/er")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), killed.path().join(entry.file_name())).unwrap();
        }
        let again = Store::open(killed.path(), SCHEMA).unwrap();
        assert_eq!(numbers(&again), [1, 2]);
    }

    #[test]
    fn a_log_that_is_cut_at_any_place_loses_whole_writes_only() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), SCHEMA).unwrap();
        for value in 0..5 {
            add(&mut store, value).unwrap();
        }
        let (file, log) = (
            fs::read(folder.path().join("test.db")).unwrap(),
            fs::read(folder.path().join("test.db-wal")).unwrap(),
        );
        for end in (0..=log.len()).step_by(501) {
            let cut = tempfile::tempdir().unwrap();
            fs::write(cut.path().join("test.db"), &file).unwrap();
            fs::write(cut.path().join("test.db-wal"), &log[..end]).unwrap();
            let mut again = Store::open(cut.path(), SCHEMA).unwrap();
            let found = numbers(&again);
            let wanted: Vec<i64> = (0..).take(found.len()).collect();
            assert_eq!(found, wanted, "{end} bytes of the log");
            add(&mut again, 9).unwrap();
        }
    }

    #[test]
    fn a_damaged_file_and_one_of_another_version_are_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.db");
        fs::write(
            &file,
            "this is no database, and long enough to be seen as none",
        )
        .unwrap();
        let mut store = Store::open(folder.path(), SCHEMA).unwrap();
        add(&mut store, 7).unwrap();
        assert!(folder.path().join("test.db.damaged").exists());
        drop(store);
        let newer = Schema {
            version: 2,
            ..SCHEMA
        };
        let store = Store::open(folder.path(), newer).unwrap();
        assert_eq!(numbers(&store), []);
    }

    #[test]
    fn one_process_writes_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Store::open(folder.path(), SCHEMA).unwrap();
        let mut second = Store::open(folder.path(), SCHEMA).unwrap();
        add(&mut first, 1).unwrap();
        assert!(matches!(add(&mut second, 2), Err(StoreError::Locked)));
        assert_eq!(numbers(&second), [1], "reading is possible");
        drop(first);
        add(&mut second, 2).unwrap();
        assert_eq!(numbers(&second), [1, 2]);
    }

    #[test]
    fn a_write_that_fails_in_the_middle_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), SCHEMA).unwrap();
        let failed = store.write(|tx| {
            tx.execute("INSERT INTO number VALUES (1)", [])?;
            tx.execute("INSERT INTO number VALUES ('text')", [])?;
            Ok(())
        });
        assert!(failed.is_err());
        assert_eq!(numbers(&store), []);
    }
}
