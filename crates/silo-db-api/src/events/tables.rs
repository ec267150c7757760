//! Tables of the events on disk.

use jiff::Timestamp;
use silo_store::Schema;
use silo_store::rusqlite::{self, Connection, OptionalExtension, Row, Transaction, params};

use super::DatabaseEvent;
use super::view::{MINUTES_KEPT, minute_of};

/// Age of the oldest event before the newest, in milliseconds: two days.
const MAX_AGE_MS: i64 = 2 * 24 * 3_600_000;

/// The file. `event.at` and `stream.since` are in milliseconds since 1970; `fields` are separated by spaces, which no name has. `stream` has one row.
pub(super) const SCHEMA: Schema = Schema {
    file: "events.db",
    version: 1,
    tables: "
        CREATE TABLE event (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at INTEGER NOT NULL,
            collection TEXT NOT NULL,
            operation TEXT NOT NULL,
            count INTEGER NOT NULL,
            document TEXT,
            user TEXT,
            label TEXT,
            fields TEXT NOT NULL
        ) STRICT;
        CREATE TABLE minute (minute INTEGER PRIMARY KEY, count INTEGER NOT NULL) STRICT;
        CREATE TABLE stream (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            position TEXT,
            since INTEGER NOT NULL,
            minute INTEGER NOT NULL
        ) STRICT;
    ",
};

/// The position after the last event.
pub(super) fn position(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let select = "SELECT position FROM stream";
    let row = connection.query_row(select, [], |row| row.get(0));
    Ok(row.optional()?.flatten())
}

/// Time from which on all events are kept.
pub(super) fn since(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let row = connection.query_row("SELECT since FROM stream", [], |row| row.get(0));
    Ok(row.optional()?.map(time))
}

/// Begins anew without a position.
pub(super) fn begin_anew(tx: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO stream VALUES (1, NULL, ?1, ?2)",
        params![now.as_millisecond(), minute_of(now)],
    )?;
    Ok(())
}

/// Adds an event, and returns its number.
pub(super) fn add(tx: &Transaction<'_>, event: &DatabaseEvent) -> rusqlite::Result<u64> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO event (at, collection, operation, count, document, user, label, fields)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let id = statement.insert(params![
        event.at.as_millisecond(),
        event.collection,
        event.operation,
        i64::try_from(event.count).unwrap_or(i64::MAX),
        event.document,
        event.user,
        event.label,
        event.fields.join(" "),
    ])?;
    Ok(id.unsigned_abs())
}

/// Adds the events to their minutes, and notes that the minutes up to `until` are known.
pub(super) fn note(
    tx: &Transaction<'_>,
    events: &[DatabaseEvent],
    position: Option<&str>,
    until: Option<Timestamp>,
) -> rusqlite::Result<()> {
    let mut minute = tx.prepare_cached(
        "INSERT INTO minute VALUES (?1, ?2) ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    for event in events {
        let count = i64::try_from(event.count).unwrap_or(i64::MAX);
        minute.execute(params![minute_of(event.at), count])?;
    }
    tx.execute(
        "UPDATE stream SET position = coalesce(?1, position)",
        [position],
    )?;
    let Some(until) = until.map(minute_of) else {
        return Ok(());
    };
    let known: Option<i64> = tx
        .query_row("SELECT minute FROM stream", [], |row| row.get(0))
        .optional()?;
    // After a step of the clock nothing is known of the time in between.
    let known = known
        .filter(|known| (0..MINUTES_KEPT).contains(&(until - known)))
        .unwrap_or(until);
    for each in known..=until {
        minute.execute(params![each, 0])?;
    }
    tx.execute("UPDATE stream SET minute = ?1", [until])?;
    // Those of a clock that was ahead.
    tx.execute("DELETE FROM minute WHERE minute > ?1", [until + 1])?;
    Ok(())
}

/// Keeps the newest `most` events, of two days before the newest, and the newest minutes: not by the clock, which may be wrong for a while.
pub(super) fn prune(tx: &Transaction<'_>, most: u64) -> rusqlite::Result<()> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let by_number = tx.execute(
        "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?1",
        [most],
    )?;
    let by_age = tx.execute(
        "DELETE FROM event WHERE at < (SELECT at FROM event ORDER BY id DESC LIMIT 1) - ?1",
        [MAX_AGE_MS],
    )?;
    if by_number + by_age > 0 {
        tx.execute(
            "UPDATE stream SET since = max(since, (SELECT at FROM event ORDER BY id LIMIT 1))",
            [],
        )?;
    }
    tx.execute(
        "DELETE FROM minute WHERE minute IN (SELECT minute FROM minute ORDER BY minute DESC LIMIT -1 OFFSET ?1)",
        [MINUTES_KEPT],
    )?;
    Ok(())
}

/// Numbers of the oldest and the newest event.
pub(super) fn numbers(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let select = "SELECT coalesce(min(id), 1), coalesce(max(id), 0) FROM event";
    connection.query_row(select, [], |row| Ok((number(row, 0)?, number(row, 1)?)))
}

/// The newest events since `since` and before `until`, newest first.
pub(super) fn newest(
    connection: &Connection,
    since: Timestamp,
    until: Option<Timestamp>,
    limit: usize,
) -> rusqlite::Result<Vec<DatabaseEvent>> {
    let mut statement = connection.prepare(
        "SELECT id, at, collection, operation, count, document, user, label, fields FROM event
         WHERE at >= ?1 AND (?2 IS NULL OR at < ?2) ORDER BY id DESC LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters = params![
        since.as_millisecond(),
        until.map(Timestamp::as_millisecond),
        limit
    ];
    let rows = statement.query_map(parameters, event)?;
    rows.collect()
}

/// The events after a number, oldest first.
pub(super) fn after(connection: &Connection, last: u64) -> rusqlite::Result<Vec<DatabaseEvent>> {
    let mut statement = connection.prepare(
        "SELECT id, at, collection, operation, count, document, user, label, fields FROM event
         WHERE id > ?1 ORDER BY id",
    )?;
    let last = i64::try_from(last).unwrap_or(i64::MAX);
    let rows = statement.query_map([last], event)?;
    rows.collect()
}

/// Number of changes in each known minute from `first` on.
pub(super) fn minutes(connection: &Connection, first: i64) -> rusqlite::Result<Vec<(i64, u64)>> {
    let mut statement = connection
        .prepare("SELECT minute, count FROM minute WHERE minute >= ?1 ORDER BY minute")?;
    let rows = statement.query_map([first], |row| Ok((row.get(0)?, number(row, 1)?)))?;
    rows.collect()
}

fn event(row: &Row<'_>) -> rusqlite::Result<DatabaseEvent> {
    let fields: String = row.get(8)?;
    Ok(DatabaseEvent {
        id: number(row, 0)?,
        at: time(row.get(1)?),
        collection: row.get(2)?,
        operation: row.get(3)?,
        count: number(row, 4)?,
        document: row.get(5)?,
        user: row.get(6)?,
        label: row.get(7)?,
        fields: fields.split_whitespace().map(str::to_owned).collect(),
    })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    Ok(value.unsigned_abs())
}

fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}
