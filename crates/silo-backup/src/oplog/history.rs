//! History of changes: positions, kinds and names of top-level fields, never values.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;

use jiff::Timestamp;
use serde::Serialize;

use super::entry::{ApplyOps, Entry, Operation, OperationKind, decoded};
use super::{Error, Position};
use crate::archive::structure::elements;

/// Most names of fields of one change.
const FIELDS: usize = 10;

/// Changes to look for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Name of the database.
    pub database: String,
    /// Name of a collection, as it was when it was changed; `None` for all.
    pub collection: Option<String>,
    /// Type and value of `_id`, each a possible meaning of what the operator wrote; empty for all documents.
    pub ids: Vec<Vec<u8>>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Position of its entry, as `1764126000:7`: `--until-before` leaves it out, `--at` takes it.
    pub position: String,
    /// The position's second.
    pub at: Timestamp,
    /// Name of the collection; of a command without one, empty.
    pub collection: String,
    /// `insert`, `update`, `replace`, `delete`, or the name of a command.
    pub kind: String,
    /// Names of the changed top-level fields of an update, at most ten.
    pub fields: Vec<String>,
    /// `true` for a part of a transaction or of a grouped insert, whose changes have one position.
    pub grouped: bool,
}

/// Changes of one kind, one after another in one second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The first one.
    #[serde(flatten)]
    pub first: Change,
    /// Position of the last one: `--at` takes them all.
    pub last: String,
    /// Number of changes, at least 1.
    pub count: u64,
}

/// The last runs of changes.
pub struct Runs {
    limit: NonZeroUsize,
    joins: bool,
    last: VecDeque<Run>,
    left_out: u64,
}

/// Changes of one collection in one minute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Minute {
    /// Beginning of the minute.
    pub at: Timestamp,
    /// Name of the collection.
    pub collection: String,
    /// Position of the first change.
    pub first: String,
    /// Number of inserted documents.
    pub inserted: u64,
    /// Number of updated or replaced documents.
    pub updated: u64,
    /// Number of deleted documents.
    pub deleted: u64,
    /// Number of commands, such as `drop`.
    pub commands: u64,
}

impl Wanted {
    /// The changes in an entry that are wanted.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn changes(&self, entry: &[u8]) -> Result<Vec<Change>, Error> {
        let entry = Entry::parse(entry)?;
        let mut changes = Vec::new();
        self.collect(entry.at, &entry.operation, false, &mut changes)?;
        Ok(changes)
    }

    fn collect(
        &self,
        at: Position,
        operation: &Operation<'_>,
        grouped: bool,
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        if let OperationKind::Command { command, .. } = operation.kind
            && let Some(inner) = ApplyOps::parse(command)?
        {
            for operation in inner.operations() {
                self.collect(at, &operation?, true, changes)?;
            }
            return Ok(());
        }
        let (database, name) = operation.namespace;
        let Some((kind, collection, fields)) = described(operation, name) else {
            return Ok(());
        };
        let is_wanted = database == self.database
            && self
                .collection
                .as_ref()
                .is_none_or(|wanted| *wanted == collection)
            && self.is_document(&operation.kind);
        if is_wanted {
            changes.push(Change {
                position: at.to_string(),
                at: Timestamp::from_second(at.seconds.into()).unwrap_or_default(),
                collection,
                kind,
                fields,
                grouped,
            });
        }
        Ok(())
    }

    fn is_document(&self, kind: &OperationKind<'_>) -> bool {
        let is = |id: &[u8]| self.ids.iter().any(|wanted| wanted == id);
        self.ids.is_empty()
            || match kind {
                OperationKind::Insert(document) => {
                    super::entry::id(document).is_some_and(|id| is(&id))
                }
                OperationKind::Update { id, .. } | OperationKind::Delete(id) => is(id),
                _ => false,
            }
    }
}

/// Kind of an operation, its collection, and changed fields.
fn described(operation: &Operation<'_>, name: &str) -> Option<(String, String, Vec<String>)> {
    let of = |kind: &str| Some((kind.to_owned(), name.to_owned(), Vec::new()));
    match &operation.kind {
        OperationKind::Noop => None,
        OperationKind::Insert(_) => of("insert"),
        OperationKind::Delete(_) => of("delete"),
        OperationKind::Unknown(what) => of(what),
        OperationKind::Update { change, .. } => {
            let (kind, fields) = fields(change);
            Some((kind.into(), name.to_owned(), fields))
        }
        OperationKind::Command { command, .. } => {
            let command = decoded(command)?;
            let (kind, value) = command.iter().next()?;
            let named = value.as_str().unwrap_or_default();
            // A rename has the database, too.
            let named = named
                .strip_prefix(&format!("{}.", operation.namespace.0))
                .unwrap_or(named);
            Some((kind.clone(), named.to_owned(), Vec::new()))
        }
    }
}

/// `update` with its top-level fields, or `replace`.
fn fields(change: &[u8]) -> (&'static str, Vec<String>) {
    let sections = elements(change).unwrap_or_default();
    let Some(diff) = sections.iter().find(|section| section.name == b"diff") else {
        return ("replace", Vec::new());
    };
    let mut names = Vec::new();
    for section in elements(diff.value).unwrap_or_default() {
        match section.name {
            b"d" | b"u" | b"i" => {
                let fields = elements(section.value).unwrap_or_default();
                names.extend(fields.iter().map(|field| text(field.name)));
            }
            [b's', name @ ..] => names.push(text(name)),
            _ => {}
        }
    }
    names.sort();
    names.truncate(FIELDS);
    ("update", names)
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

impl Runs {
    /// At most so many runs; with `joins` equal to `false`, every change is a run of its own.
    #[must_use]
    pub fn new(limit: NonZeroUsize, joins: bool) -> Self {
        Self {
            limit,
            joins,
            last: VecDeque::new(),
            left_out: 0,
        }
    }

    /// Adds a change.
    pub fn add(&mut self, change: Change) {
        if self.joins
            && let Some(run) = self.last.back_mut()
            && run.is_continued_by(&change)
        {
            run.last = change.position;
            run.count += 1;
            return;
        }
        if self.last.len() == self.limit.get() {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(Run {
            last: change.position.clone(),
            first: change,
            count: 1,
        });
    }

    /// The last runs, in their order, and the number of earlier ones.
    #[must_use]
    pub fn into_rows(self) -> (Vec<Run>, u64) {
        (self.last.into(), self.left_out)
    }
}

impl Run {
    fn is_continued_by(&self, change: &Change) -> bool {
        let first = &self.first;
        first.at == change.at
            && first.grouped == change.grouped
            && first.collection == change.collection
            && first.kind == change.kind
            && first.fields == change.fields
    }
}

/// Counts of changes in each minute and collection, in the order of their minutes.
#[derive(Default)]
pub struct Minutes(BTreeMap<(i64, String), Minute>);

impl Minutes {
    /// Counts a change.
    pub fn add(&mut self, change: &Change) {
        let minute = change.at.as_second().div_euclid(60);
        let counts = self.0.entry((minute, change.collection.clone()));
        let counts = counts.or_insert_with(|| Minute {
            at: Timestamp::from_second(minute * 60).unwrap_or_default(),
            collection: change.collection.clone(),
            first: change.position.clone(),
            ..Minute::default()
        });
        match change.kind.as_str() {
            "insert" => counts.inserted += 1,
            "update" | "replace" => counts.updated += 1,
            "delete" => counts.deleted += 1,
            _ => counts.commands += 1,
        }
    }

    /// All minutes with changes.
    #[must_use]
    pub fn into_rows(self) -> Vec<Minute> {
        self.0.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(seconds: i64, increment: u32, kind: &str) -> Change {
        Change {
            position: format!("{seconds}:{increment}"),
            at: Timestamp::from_second(seconds).unwrap(),
            collection: "moods".into(),
            kind: kind.into(),
            fields: Vec::new(),
            grouped: false,
        }
    }

    #[test]
    fn changes_of_one_kind_in_one_second_are_one_run_and_the_last_runs_are_kept() {
        let changes = [
            change(10, 1, "insert"),
            change(20, 1, "delete"),
            change(20, 2, "delete"),
            change(20, 3, "delete"),
            change(20, 4, "insert"),
            change(20, 5, "delete"),
            change(21, 1, "delete"),
        ];
        let rows = |limit, joins| {
            let mut runs = Runs::new(NonZeroUsize::new(limit).unwrap(), joins);
            changes.iter().cloned().for_each(|change| runs.add(change));
            let (rows, left_out) = runs.into_rows();
            let rows = rows.into_iter();
            let rows = rows.map(|run| (run.first.position, run.last, run.count));
            (rows.collect::<Vec<_>>(), left_out)
        };
        let row = |first: &str, last: &str, count| (first.to_owned(), last.to_owned(), count);
        let last = [
            row("20:1", "20:3", 3),
            row("20:4", "20:4", 1),
            row("20:5", "20:5", 1),
            row("21:1", "21:1", 1),
        ];
        assert_eq!(rows(4, true), (last.to_vec(), 1));
        assert_eq!(rows(5, true).0.first(), Some(&row("10:1", "10:1", 1)));
        assert_eq!(rows(2, false), (last[2..].to_vec(), 5));
    }
}
