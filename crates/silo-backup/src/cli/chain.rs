//! `silo-backup chain`.

use std::process::ExitCode;

use clap::Args;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;
use silo_core::units::count_from_usize;

use super::show;
use crate::archive::decoding::identity_of;
use crate::catalog::Catalog;
use crate::context::Context;
use crate::continuous::status::{UNSAFE_FOR, age_of_change};
use crate::continuous::stored::{Range, SliceSource, StoredEntries};
use crate::error::{EXIT_CORRUPT, Error};
use crate::oplog::Position;
use crate::oplog::continuity::position;
use crate::oplog::server::{Edge, ServerOplog, Until};
use crate::repository::{Repository, StoredChain};
use silo_cli::print::Printer;
use silo_cli::progress::Reporter;

#[derive(Args)]
pub(super) struct Chain {
    /// Read every slice, and check that each continues the one before
    #[arg(long)]
    verify: bool,
}

/// A stretch of which every moment can be restored from a backup in it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    destination: &'static str,
    /// Id of the chain: that of the backup at which it begins.
    chain: String,
    /// Positions between which every moment is there.
    after: String,
    through: String,
    /// Times of these positions.
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    slices: u64,
    bytes: u64,
    /// Number of entries, and the reason why the slices are damaged; `null` if they were not read.
    entries: Option<u64>,
    problem: Option<String>,
}

impl Chain {
    pub(super) async fn run(
        self,
        context: &Context,
        out: &Printer,
        report: &Reporter,
    ) -> Result<ExitCode, Error> {
        let mut rows = Vec::new();
        for repository in context.repositories() {
            for chain in repository.chains().await? {
                for range in chain.ranges() {
                    let mut row = Row::new(repository.name, &range);
                    if self.verify {
                        match verify(context, repository, range, report).await {
                            Ok(entries) => row.entries = Some(entries),
                            Err(Error::Corrupt(problem)) => row.problem = Some(problem),
                            Err(error) => return Err(error),
                        }
                    }
                    rows.push(row);
                }
            }
        }
        out.result(&rows, || text(&rows));
        let is_damaged = rows.iter().any(|row| row.problem.is_some());
        Ok(ExitCode::from(if is_damaged { EXIT_CORRUPT } else { 0 }))
    }
}

/// Reads all slices of a range: the number of entries.
async fn verify(
    context: &Context,
    repository: &Repository,
    range: Range,
    report: &Reporter,
) -> Result<u64, Error> {
    let settings = &context.settings;
    report.begin(
        "verifying",
        Some(count_from_usize(range.slices().len())),
        "slices",
    );
    let identity = settings.identity.as_ref().and_then(identity_of);
    let source = SliceSource::Stored(repository.clone(), identity);
    let slices = StoredEntries::new(source, range, &settings.database);
    let mut slices = std::pin::pin!(slices.all());
    let mut entries = 0;
    while let Some(slice) = slices.try_next().await? {
        entries += slice.header.entries;
        report.add(1);
    }
    Ok(entries)
}

impl Row {
    fn new(destination: &'static str, range: &Range) -> Self {
        let time = |at: Position| Timestamp::from_second(at.seconds.into()).ok();
        Self {
            destination,
            chain: range.chain.clone(),
            after: range.after().to_string(),
            through: range.through().to_string(),
            from: time(range.after()),
            to: time(range.through()),
            slices: count_from_usize(range.slices().len()),
            bytes: range.slices().iter().map(|slice| slice.bytes).sum(),
            entries: None,
            problem: None,
        }
    }
}

/// What continuous backup has stored last, for `status`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stored {
    /// The stretch of each destination that goes on longest; nothing for one without slices.
    newest: Vec<Row>,
    /// Age in seconds of the oldest change that is in no destination, neither in a slice nor in a backup; 0 if all are stored, `null` if nothing is.
    unsafe_seconds: Option<u64>,
}

impl Stored {
    /// Measures it; `None` if continuous backup is off.
    pub(super) async fn measure(
        context: &Context,
        catalog: &Catalog,
    ) -> Result<Option<Self>, Error> {
        if context.settings.policy.moments == 0 {
            return Ok(None);
        }
        let mut newest = Vec::new();
        let mut through = catalog.entries().filter_map(position).max();
        for repository in context.repositories() {
            let chains = repository.chains().await?;
            let ranges = chains.iter().flat_map(StoredChain::ranges);
            if let Some(range) = ranges.max_by_key(Range::through) {
                through = through.max(Some(range.through()));
                newest.push(Row::new(repository.name, &range));
            }
        }
        let unsafe_seconds = match through {
            None => None,
            Some(through) => {
                let oplog = ServerOplog::new(&context.status_client, &context.settings.database);
                let left_out = oplog.first_left_out(Until::Through(through)).await?;
                let age = |edge: Edge| age_of_change(&edge, context.clock.now());
                Some(left_out.map_or(0, age))
            }
        };
        Ok(Some(Self {
            newest,
            unsafe_seconds,
        }))
    }

    /// `true` if changes are stored, and in time.
    pub(super) fn is_well(&self) -> bool {
        self.unsafe_seconds
            .is_some_and(|seconds| seconds <= UNSAFE_FOR)
    }

    pub(super) fn text(&self) -> String {
        let changes = match self.unsafe_seconds {
            None => "NOTHING IS STORED".to_owned(),
            Some(0) => "every change is stored".to_owned(),
            Some(seconds) if self.is_well() => format!("all but the last {seconds} s are stored"),
            Some(seconds) => format!("CHANGES OF THE LAST {seconds} s ARE NOT STORED"),
        };
        let newest = self.newest.iter().map(|row| {
            let (from, to) = (shown(row.from), shown(row.to));
            format!("\n  {}: every moment from {from} to {to}", row.destination)
        });
        format!("continuous backup: {changes}{}", newest.collect::<String>())
    }
}

fn shown(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| at.to_string())
}

fn text(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let read = match (&row.problem, row.entries) {
            (Some(problem), _) => format!(", DAMAGED: {problem}"),
            (None, Some(entries)) => format!(", {entries} entries read"),
            (None, None) => String::new(),
        };
        format!(
            "{}: every moment from {} ({}) to {} ({}), chain {}, {} slices, {}{read}",
            row.destination,
            shown(row.from),
            row.after,
            shown(row.to),
            row.through,
            row.chain,
            row.slices,
            show::bytes(row.bytes)
        )
    };
    if rows.is_empty() {
        return "there are no slices of the oplog; BACKUP_PITR_DAYS switches continuous backup on"
            .into();
    }
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_are_stored_nowhere_for_long_and_no_slices_at_all_are_not_well() {
        let stored = |unsafe_seconds| Stored {
            newest: Vec::new(),
            unsafe_seconds,
        };
        for (age, is_well, text) in [
            (Some(0), true, "continuous backup: every change is stored"),
            (
                Some(120),
                true,
                "continuous backup: all but the last 120 s are stored",
            ),
            (
                Some(121),
                false,
                "continuous backup: CHANGES OF THE LAST 121 s ARE NOT STORED",
            ),
            (None, false, "continuous backup: NOTHING IS STORED"),
        ] {
            let stored = stored(age);
            assert_eq!((stored.is_well(), stored.text().as_str()), (is_well, text));
        }
    }
}
