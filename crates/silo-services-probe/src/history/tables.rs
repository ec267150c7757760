//! Tables of the history on disk.

use jiff::Timestamp;
use silo_alerts::alarms::Alarm;
use silo_store::Schema;
use silo_store::rusqlite::{self, Connection, Row, Transaction, params};

use super::minutes::PER_HOUR;
use super::series::{HOURS, MINUTES};
use super::tally::Tally;
use crate::changes::Change;
use crate::status::Status;

/// The file. Times are in minutes since 1970 for tallies and in milliseconds since 1970 for changes; `minutes` is the length of what a tally counts.
pub(super) const SCHEMA: Schema = Schema {
    file: "history.db",
    version: 1,
    tables: "
        CREATE TABLE tally (
            name TEXT NOT NULL,
            minutes INTEGER NOT NULL,
            at INTEGER NOT NULL,
            up INTEGER NOT NULL,
            degraded INTEGER NOT NULL,
            failed INTEGER NOT NULL,
            down INTEGER NOT NULL,
            answered_ms INTEGER NOT NULL,
            PRIMARY KEY (name, minutes, at)
        ) WITHOUT ROWID, STRICT;
        CREATE TABLE change (
            id INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            name TEXT NOT NULL,
            before TEXT NOT NULL,
            after TEXT NOT NULL,
            code TEXT,
            detail TEXT
        ) STRICT;
        CREATE TABLE alarm (code TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID, STRICT;
    ",
};

/// A minute or an hour of a service.
pub(super) struct Kept {
    pub(super) name: String,
    /// Length in minutes: 1 or 60.
    pub(super) minutes: u32,
    /// Start, in units of that length since 1970.
    pub(super) at: u32,
    pub(super) tally: Tally,
}

/// Adds checks to their minute and to their hour.
pub(super) fn add(
    tx: &Transaction<'_>,
    name: &str,
    minute: u32,
    tally: Tally,
) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO tally VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET
            up = up + excluded.up, degraded = degraded + excluded.degraded,
            failed = failed + excluded.failed, down = down + excluded.down,
            answered_ms = answered_ms + excluded.answered_ms",
    )?;
    let Tally {
        up,
        degraded,
        failed,
        down,
        answered_ms,
    } = tally;
    for (minutes, at) in [(1, minute), (PER_HOUR, minute / PER_HOUR)] {
        statement.execute(params![
            name,
            minutes,
            at,
            up,
            degraded,
            failed,
            down,
            answered_ms
        ])?;
    }
    Ok(())
}

/// Removes the oldest minutes and hours of a service: by their number and not by their age, so that a clock that is wrong for a while removes nothing.
pub(super) fn prune(tx: &Transaction<'_>, name: &str) -> rusqlite::Result<()> {
    let mut statement = tx.prepare_cached(
        "DELETE FROM tally WHERE name = ?1 AND minutes = ?2 AND at <= (
            SELECT at FROM tally WHERE name = ?1 AND minutes = ?2 ORDER BY at DESC LIMIT 1 OFFSET ?3)",
    )?;
    for (minutes, most) in [(1, MINUTES), (PER_HOUR, HOURS)] {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        statement.execute(params![name, minutes, most])?;
    }
    Ok(())
}

/// Removes a service.
pub(super) fn forget(tx: &Transaction<'_>, name: &str) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM tally WHERE name = ?1", [name])?;
    Ok(())
}

/// Adds a change, and removes all but the last `most`.
pub(super) fn add_change(
    tx: &Transaction<'_>,
    change: &Change,
    most: usize,
) -> rusqlite::Result<()> {
    let Change {
        id,
        at,
        name,
        from,
        to,
        code,
        detail,
    } = change;
    let id = i64::try_from(*id).unwrap_or(i64::MAX);
    let at = at.as_millisecond();
    tx.execute(
        "INSERT INTO change VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![id, at, name, from.word(), to.word(), code, detail],
    )?;
    let last_removed = id.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
    tx.execute("DELETE FROM change WHERE id <= ?1", [last_removed])?;
    Ok(())
}

/// Replaces the open alarms.
pub(super) fn replace_alarms(tx: &Transaction<'_>, alarms: &[Alarm]) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM alarm", [])?;
    for alarm in alarms {
        // An alarm has nothing that cannot be written.
        let json = serde_json::to_string(alarm).unwrap_or_default();
        tx.execute(
            "INSERT INTO alarm VALUES (?1, ?2)",
            params![alarm.code, json],
        )?;
    }
    Ok(())
}

/// Reads all minutes and hours, the oldest of each service first.
pub(super) fn read(connection: &Connection, mut take: impl FnMut(Kept)) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT * FROM tally ORDER BY name, minutes, at")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // A sum that has no room any more is as much as there is room for.
        let small = |column: usize| -> rusqlite::Result<u16> {
            Ok(u16::try_from(row.get::<_, i64>(column)?).unwrap_or(u16::MAX))
        };
        take(Kept {
            name: row.get(0)?,
            minutes: row.get(1)?,
            at: row.get(2)?,
            tally: Tally {
                up: small(3)?,
                degraded: small(4)?,
                failed: small(5)?,
                down: small(6)?,
                answered_ms: u32::try_from(row.get::<_, i64>(7)?).unwrap_or(u32::MAX),
            },
        });
    }
    Ok(())
}

/// Reads the changes, oldest first.
pub(super) fn read_changes(connection: &Connection) -> rusqlite::Result<Vec<Change>> {
    let mut statement = connection.prepare("SELECT * FROM change ORDER BY id")?;
    let rows = statement.query_map([], read_change)?;
    rows.filter_map(Result::transpose).collect()
}

/// `None` for a change that this version does not understand.
fn read_change(row: &Row<'_>) -> rusqlite::Result<Option<Change>> {
    let status = |column: usize| -> rusqlite::Result<Option<Status>> {
        Ok(Status::from_word(&row.get::<_, String>(column)?))
    };
    let at = Timestamp::from_millisecond(row.get(1)?).ok();
    let (Some(at), Some(from), Some(to)) = (at, status(3)?, status(4)?) else {
        return Ok(None);
    };
    Ok(Some(Change {
        id: u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default(),
        at,
        name: row.get(2)?,
        from,
        to,
        code: row.get(5)?,
        detail: row.get(6)?,
    }))
}

/// Reads the open alarms.
pub(super) fn read_alarms(connection: &Connection) -> rusqlite::Result<Vec<Alarm>> {
    let mut statement = connection.prepare("SELECT json FROM alarm ORDER BY code")?;
    let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
    let alarms = texts.map(|text| Ok(serde_json::from_str(&text?).ok()));
    alarms.filter_map(Result::transpose).collect()
}

/// Number of services with tallies, for tests.
#[cfg(test)]
pub(super) fn services(connection: &Connection) -> rusqlite::Result<i64> {
    let count = "SELECT count(DISTINCT name) FROM tally";
    connection.query_row(count, [], |row| row.get(0))
}
