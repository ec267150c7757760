//! Counters of `serverStatus` and `top`, since the server started.

use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Document, doc};

use super::{Gateway, Run};

/// Number of runs of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandCount {
    /// The command.
    pub name: String,
    /// Number of runs.
    pub total: u64,
    /// Number of failures.
    pub failed: Option<u64>,
}

/// Counters since the server started. `None` is a value that the server does not report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Uptime in milliseconds.
    pub uptime_ms: Option<u64>,
    /// The run of mongod that they are from.
    pub run: Option<Run>,
    /// Read operations (`opLatencies`): find, getMore, aggregate, count, distinct.
    pub reads: Option<u64>,
    /// Write operations (`opLatencies`): insert, update, delete, findAndModify.
    pub writes: Option<u64>,
    /// Commands by kind, those that ran at least once.
    pub commands: Option<Vec<CommandCount>>,
    /// Transactions started.
    pub transactions: Option<u64>,
    /// Change streams opened.
    pub change_streams: Option<u64>,
}

/// Time spent in one collection since the server started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionTime {
    /// The collection.
    pub name: String,
    /// All time, in microseconds.
    pub total_micros: u64,
    /// Time under a read lock, in microseconds.
    pub read_micros: Option<u64>,
    /// Time under a write lock, in microseconds.
    pub write_micros: Option<u64>,
    /// Operations.
    pub operations: Option<u64>,
}

impl Gateway {
    /// Reads the counters of `serverStatus`.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn counters(&self) -> Result<Counters, DatabaseError> {
        let status = self
            .admin(
                doc! { "serverStatus": 1, "wiredTiger": 0, "locks": 0, "tcmalloc": 0, "repl": 0 },
            )
            .await?;
        let count = |path: &str| field::count(&status, path);
        let stages = field::document(&status, "metrics.aggStageCounters");
        Ok(Counters {
            uptime_ms: count("uptimeMillis"),
            run: Run::of(&status),
            reads: count("opLatencies.reads.ops"),
            writes: count("opLatencies.writes.ops"),
            commands: field::document(&status, "metrics.commands").map(command_counts),
            transactions: count("transactions.totalStarted"),
            change_streams: stages.and_then(|stages| field::count_of(stages.get("$changeStream")?)),
        })
    }

    /// Reads the time spent on each collection of this database.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn time_by_collection(&self) -> Result<Vec<CollectionTime>, DatabaseError> {
        let top = self.admin(doc! { "top": 1 }).await?;
        let prefix = format!("{}.", self.database);
        let totals = field::document(&top, "totals").ok_or(DatabaseError::Unreadable)?;
        let read = |(name, entry): (&String, &silo_mongo::mongodb::bson::Bson)| {
            let (name, entry) = (name.strip_prefix(&prefix)?, entry.as_document()?);
            (!name.starts_with("system.") && !name.starts_with('$')).then_some(())?;
            Some(CollectionTime {
                name: name.to_owned(),
                total_micros: field::count(entry, "total.time")?,
                read_micros: field::count(entry, "readLock.time"),
                write_micros: field::count(entry, "writeLock.time"),
                operations: field::count(entry, "total.count"),
            })
        };
        Ok(totals.iter().filter_map(read).collect())
    }
}

fn command_counts(commands: &Document) -> Vec<CommandCount> {
    let read = |(name, entry): (&String, &silo_mongo::mongodb::bson::Bson)| {
        let entry = entry.as_document()?;
        let total = field::count(entry, "total").filter(|total| *total > 0)?;
        Some(CommandCount {
            name: name.clone(),
            total,
            failed: field::count(entry, "failed"),
        })
    };
    commands.iter().filter_map(read).collect()
}
