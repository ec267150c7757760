//! Tables of the history on disk.

use silo_store::Schema;
use silo_store::rusqlite::{self, Connection, OptionalExtension, Row, Transaction, params};

use super::view::Grid;
use super::{Contents, Sample};

/// The file. `quarter` is a quarter of an hour since 1970.
pub(super) const SCHEMA: Schema = Schema {
    file: "history.db",
    version: 1,
    tables: "
        CREATE TABLE sample (
            quarter INTEGER PRIMARY KEY,
            users INTEGER,
            connections INTEGER,
            reads_per_second REAL,
            writes_per_second REAL,
            disk_used_bytes INTEGER,
            disk_total_bytes INTEGER
        ) STRICT;
        CREATE TABLE collection (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
        CREATE TABLE contents (
            quarter INTEGER NOT NULL,
            collection INTEGER NOT NULL REFERENCES collection,
            documents INTEGER,
            data_bytes INTEGER,
            PRIMARY KEY (quarter, collection)
        ) WITHOUT ROWID, STRICT;
    ",
};

/// Contents of a collection at a point of the grid.
pub(super) struct ContentsAt {
    /// Index in the grid.
    pub(super) point: usize,
    pub(super) contents: Contents,
}

/// Adds a sample, unless its quarter has one.
pub(super) fn add(tx: &Transaction<'_>, sample: &Sample) -> rusqlite::Result<()> {
    let added = tx.execute(
        "INSERT OR IGNORE INTO sample VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            sample.quarter,
            integer(sample.users),
            integer(sample.connections),
            sample.reads_per_second,
            sample.writes_per_second,
            integer(sample.disk_used_bytes),
            integer(sample.disk_total_bytes),
        ],
    )?;
    if added == 0 {
        return Ok(());
    }
    let mut name = tx.prepare_cached("INSERT OR IGNORE INTO collection (name) VALUES (?1)")?;
    let mut row = tx.prepare_cached(
        "INSERT INTO contents SELECT ?1, id, ?3, ?4 FROM collection WHERE name = ?2",
    )?;
    for contents in sample.collections.iter().flatten() {
        let collection = &contents.collection;
        name.execute([collection])?;
        row.execute(params![
            sample.quarter,
            collection,
            integer(contents.documents),
            integer(contents.data_bytes),
        ])?;
    }
    Ok(())
}

/// Keeps the newest `most` samples: by their number and not by their age, so that a clock that is wrong for a while removes nothing.
pub(super) fn prune(tx: &Transaction<'_>, most: i64) -> rusqlite::Result<()> {
    let oldest = "SELECT quarter FROM sample ORDER BY quarter DESC LIMIT 1 OFFSET ?1";
    let last_removed: Option<i64> = tx.query_row(oldest, [most], |row| row.get(0)).optional()?;
    let Some(last_removed) = last_removed else {
        return Ok(());
    };
    for table in ["sample", "contents"] {
        let delete = format!("DELETE FROM {table} WHERE quarter <= ?1");
        tx.execute(&delete, [last_removed])?;
    }
    tx.execute(
        "DELETE FROM collection WHERE id NOT IN (SELECT collection FROM contents)",
        [],
    )?;
    Ok(())
}

/// Quarter of the newest sample that is not of the future, which a wrong clock has left.
pub(super) fn newest(connection: &Connection, now: i64) -> rusqlite::Result<Option<i64>> {
    let select = "SELECT max(quarter) FROM sample WHERE quarter <= ?1";
    connection.query_row(select, [now], |row| row.get(0))
}

/// The last sample of each point of the grid, with its index.
pub(super) fn samples(
    connection: &Connection,
    grid: Grid,
) -> rusqlite::Result<Vec<(usize, Sample)>> {
    // SQLite takes the other columns from the row that has the maximum.
    let mut statement = connection.prepare(
        "SELECT max(quarter), users, connections, reads_per_second, writes_per_second, disk_used_bytes, disk_total_bytes
         FROM sample WHERE quarter BETWEEN ?1 AND ?2 GROUP BY quarter / ?3",
    )?;
    let rows = statement.query_map(params![grid.first, grid.last, grid.step], |row| {
        let quarter = row.get(0)?;
        let sample = Sample {
            quarter,
            users: count(row, 1)?,
            connections: count(row, 2)?,
            reads_per_second: row.get(3)?,
            writes_per_second: row.get(4)?,
            disk_used_bytes: count(row, 5)?,
            disk_total_bytes: count(row, 6)?,
            collections: None,
        };
        Ok((grid.point(quarter), sample))
    })?;
    rows.collect()
}

/// Contents of the collections, or of one, in the last sample of each point of the grid.
pub(super) fn contents(
    connection: &Connection,
    grid: Grid,
    name: Option<&str>,
) -> rusqlite::Result<Vec<ContentsAt>> {
    let mut statement = connection.prepare(
        "SELECT quarter, name, documents, data_bytes FROM contents JOIN collection ON collection = id
         WHERE quarter IN (SELECT max(quarter) FROM sample WHERE quarter BETWEEN ?1 AND ?2 GROUP BY quarter / ?3)
         AND (?4 IS NULL OR name = ?4) ORDER BY quarter, name",
    )?;
    let parameters = params![grid.first, grid.last, grid.step, name];
    let rows = statement.query_map(parameters, |row| {
        Ok(ContentsAt {
            point: grid.point(row.get(0)?),
            contents: Contents {
                collection: row.get(1)?,
                documents: count(row, 2)?,
                data_bytes: count(row, 3)?,
            },
        })
    })?;
    rows.collect()
}

/// Quarter and used bytes of the first sample with a known size of the file system.
pub(super) fn first_disk(
    connection: &Connection,
    (from, to): (i64, i64),
) -> rusqlite::Result<Option<(i64, u64)>> {
    let select = "SELECT quarter, disk_used_bytes FROM sample
         WHERE quarter BETWEEN ?1 AND ?2 AND disk_used_bytes IS NOT NULL ORDER BY quarter LIMIT 1";
    let row = connection.query_row(select, [from, to], |row| Ok((row.get(0)?, count(row, 1)?)));
    let found = row.optional()?;
    Ok(found.and_then(|(quarter, used)| Some((quarter, used?))))
}

/// A count, as SQLite stores it. No count comes near the largest number.
fn integer(count: Option<u64>) -> Option<i64> {
    count.map(|count| i64::try_from(count).unwrap_or(i64::MAX))
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    Ok(value.and_then(|value| u64::try_from(value).ok()))
}
