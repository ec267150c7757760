//! `silo-backup chain`.

use std::process::ExitCode;

use clap::Args;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;
use silo_core::units::count_from_usize;

use super::commands::read_all;
use super::show;
use crate::archive::decoding::identity_of;
use crate::catalog::Catalog;
use crate::context::Context;
use crate::continuous::IDLE;
use crate::continuous::status::UNSAFE_FOR;
use crate::continuous::stored::{Range, SliceSource, StoredEntries};
use crate::error::{EXIT_CORRUPT, Error};
use crate::oplog::Position;
use crate::oplog::continuity::position;
use crate::repository::{Repository, StoredChain};
use silo_cli::print::Printer;
use silo_cli::progress::Reporter;

#[derive(Args)]
pub(super) struct Chain {
    /// Read every slice, and check that each continues the one before
    #[arg(long)]
    verify: bool,
}

/// Slices of a chain without a gap.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    destination: &'static str,
    /// Id of the chain: that of the backup at which it begins.
    chain: String,
    /// Positions between which every change is there.
    after: String,
    through: String,
    /// Time of the first good backup in it, from which on every moment can be restored; `null` if there is none.
    from: Option<Timestamp>,
    /// Time of the last position.
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
        let (catalog, exit) = read_all(context, report).await?;
        let mut rows = Vec::new();
        for repository in catalog.destinations.iter().map(|there| &there.repository) {
            for chain in repository.chains().await? {
                for range in chain.ranges() {
                    let mut row = Row::new(repository.name, &range, &catalog);
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
        let is_on = context.settings.policy.moments > 0;
        out.result(&rows, || text(&rows, is_on));
        let is_damaged = rows.iter().any(|row| row.problem.is_some());
        Ok(ExitCode::from(if is_damaged { EXIT_CORRUPT } else { exit }))
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
    fn new(destination: &'static str, range: &Range, catalog: &Catalog) -> Self {
        let (after, through) = (range.after(), range.through());
        let bases = bases(catalog, destination);
        let first = bases.filter(|at| (after..=through).contains(at)).min();
        Self {
            destination,
            chain: range.chain.clone(),
            after: after.to_string(),
            through: through.to_string(),
            from: first.and_then(time),
            to: time(through),
            slices: count_from_usize(range.slices().len()),
            bytes: range.slices().iter().map(|slice| slice.bytes).sum(),
            entries: None,
            problem: None,
        }
    }

    /// The moments that can be restored, in words.
    fn moments(&self) -> String {
        match (self.from, self.to) {
            (Some(from), Some(to)) => format!("every moment from {from} to {to}"),
            _ => "no moment, because no good backup is in it".to_owned(),
        }
    }
}

/// What continuous backup has stored last in a destination, for `status`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Newest {
    destination: &'static str,
    /// The stretch that goes on longest; `null` if there is none, or it is not known.
    newest: Option<Row>,
    /// Number of other stretches.
    others: usize,
    /// Age in seconds of the last moment that is stored, in a slice or a backup; less than 0 if its position is ahead of the clock, `null` if nothing is
    /// stored or it is not known.
    age_seconds: Option<i64>,
    /// Reason why it is not known.
    error: Option<String>,
}

impl Newest {
    /// Measures all destinations; `None` if continuous backup is off. Asks mongod nothing: what is stored is wanted most when it is gone.
    pub(super) async fn measure(context: &Context, catalog: &Catalog) -> Option<Vec<Self>> {
        if context.settings.policy.moments == 0 {
            return None;
        }
        let mut all = Vec::new();
        for repository in context.repositories() {
            let mut failed = catalog.failed.iter();
            // One that was not reached a moment ago is not tried again.
            let failed = failed.find(|(failed, _)| failed.name == repository.name);
            let newest = match failed {
                Some((_, error)) => Err(error.clone()),
                None => Self::of(context, repository, catalog).await,
            };
            all.push(newest.unwrap_or_else(|error| Self {
                destination: repository.name,
                newest: None,
                others: 0,
                age_seconds: None,
                error: Some(error.to_string()),
            }));
        }
        Some(all)
    }

    async fn of(
        context: &Context,
        repository: &Repository,
        catalog: &Catalog,
    ) -> Result<Self, Error> {
        let chains = repository.chains().await?;
        let ranges: Vec<Range> = chains.iter().flat_map(StoredChain::ranges).collect();
        let newest = ranges.iter().max_by_key(|range| range.through());
        let end = newest.map(Range::through);
        let end = end.max(bases(catalog, repository.name).max());
        let now = context.clock.now().as_second();
        Ok(Self {
            destination: repository.name,
            newest: newest.map(|range| Row::new(repository.name, range, catalog)),
            others: ranges.len().saturating_sub(1),
            age_seconds: end.map(|end| now - i64::from(end.seconds)),
            error: None,
        })
    }

    /// `true` if this goes on up to now.
    pub(super) fn is_well(&self) -> bool {
        let ahead = i64::try_from(UNSAFE_FOR).unwrap_or(i64::MAX);
        let late = ahead.saturating_add(i64::try_from(IDLE.as_secs()).unwrap_or(i64::MAX));
        self.age_seconds
            .is_some_and(|age| (-ahead..=late).contains(&age))
    }

    pub(super) fn text(&self) -> String {
        let what = match (&self.error, &self.newest) {
            (Some(error), _) => format!("NOT KNOWN: {error}"),
            (None, Some(row)) => row.moments(),
            (None, None) => "no slice of changes".to_owned(),
        };
        let age = match self.age_seconds {
            _ if self.is_well() => String::new(),
            None if self.error.is_some() => String::new(),
            None => ", NOT STORED".to_owned(),
            Some(seconds) => match u64::try_from(seconds) {
                Ok(seconds) => format!(", NOTHING STORED FOR {}", show::age(seconds)),
                Err(_) => format!(
                    ", AHEAD OF THE CLOCK BY {}",
                    show::age(seconds.unsigned_abs())
                ),
            },
        };
        let others = match self.others {
            0 => String::new(),
            others => format!(" ({others} more in `silo-backup chain`)"),
        };
        format!(
            "continuous backup in {}: {what}{age}{others}",
            self.destination
        )
    }
}

/// Positions of the good backups in a destination.
fn bases(catalog: &Catalog, destination: &str) -> impl Iterator<Item = Position> {
    let destinations = catalog.destinations.iter();
    destinations
        .filter(move |there| there.repository.name == destination)
        .flat_map(|there| there.contents.entries.iter().filter_map(position))
}

fn time(at: Position) -> Option<Timestamp> {
    Timestamp::from_second(at.seconds.into()).ok()
}

fn text(rows: &[Row], is_on: bool) -> String {
    let line = |row: &Row| {
        let read = match (&row.problem, row.entries) {
            (Some(problem), _) => format!(", DAMAGED: {problem}"),
            (None, Some(entries)) => format!(", {entries} entries read"),
            (None, None) => String::new(),
        };
        format!(
            "{}: {}, positions {} to {}, chain {}, {} slices, {}{read}",
            row.destination,
            row.moments(),
            row.after,
            row.through,
            row.chain,
            row.slices,
            show::bytes(row.bytes)
        )
    };
    if rows.is_empty() {
        let why = if is_on {
            "`silo-backup status` shows up to when everything is stored"
        } else {
            "BACKUP_PITR_DAYS switches continuous backup on"
        };
        return format!("there are no slices of the oplog: {why}");
    }
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_slices_only_a_switch_that_is_off_is_pointed_to() {
        let names_the_switch = |is_on| text(&[], is_on).contains("BACKUP_PITR_DAYS");
        assert!(names_the_switch(false));
        assert!(!names_the_switch(true));
    }

    #[test]
    fn what_is_not_stored_up_to_now_is_not_well() {
        let newest = |age_seconds| Newest {
            destination: "primary",
            newest: None,
            others: 0,
            age_seconds,
            error: None,
        };
        for (age, is_well, text) in [
            (Some(0), true, "no slice of changes"),
            (Some(420), true, "no slice of changes"),
            (
                Some(421),
                false,
                "no slice of changes, NOTHING STORED FOR 7 min",
            ),
            (Some(-120), true, "no slice of changes"),
            (
                Some(-121),
                false,
                "no slice of changes, AHEAD OF THE CLOCK BY 2 min",
            ),
            (None, false, "no slice of changes, NOT STORED"),
        ] {
            let newest = newest(age);
            let text = format!("continuous backup in primary: {text}");
            assert_eq!((newest.is_well(), newest.text()), (is_well, text));
        }
    }
}
