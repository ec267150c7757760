//! Result of `restore` in words.

use jiff::Timestamp;
use serde::Serialize;

use super::seconds;
use crate::oplog::server::Edge;
use crate::repository::manifest::Manifest;
use crate::restore::erasure::Erasures;
use crate::restore::moment::Plan;
use crate::restore::preflight::Check;
use crate::restore::{RestoreOutcome, Selection};

/// Result of `restore`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Restored {
    id: String,
    database: String,
    documents: u64,
    collections: usize,
    as_of: Timestamp,
    /// How the moment is had; `null` where a backup is restored as it is.
    pub(in crate::cli) plan: Option<Plan>,
    /// Duration in milliseconds; `null` when nothing was written.
    pub(in crate::cli) duration_ms: Option<u64>,
    /// Checks before the first write.
    pub(in crate::cli) preflight: Vec<Check>,
    /// Differences from the backup; `null` when nothing was written.
    pub(in crate::cli) outcome: Option<RestoreOutcome>,
    /// Accounts that were deleted since.
    pub(in crate::cli) erasures: Option<Erasures>,
    /// Reason why deleted accounts could not be looked up.
    pub(in crate::cli) erasures_unknown: Option<String>,
}

/// From which backup a moment is had, and both edges of what is taken.
pub(in crate::cli) fn plan(plan: &Plan) -> String {
    let edge = |edge: &Option<Edge>| match edge {
        Some(Edge { position, at, wall }) => {
            let at = at.map_or_else(String::new, |at| at.to_string());
            let wall = wall.map_or_else(String::new, |wall| {
                format!(", by the server's clock {wall}")
            });
            format!("{position} ({at}{wall})")
        }
        None => "none".into(),
    };
    let taken = match plan.operations {
        Some(operations) => format!("{}, {operations} operations since", edge(&plan.last_taken)),
        None => "not read yet".into(),
    };
    let capped = match plan.not_of_the_moment.join(", ") {
        names if names.is_empty() => names,
        names => format!("\n  not of the moment, because they are capped: {names}"),
    };
    format!(
        "from the backup {} of {}, position {}\n  last change taken:     {taken}\n  first change left out: {}{capped}",
        plan.backup,
        plan.as_of,
        plan.from,
        edge(&plan.first_left_out)
    )
}

impl Restored {
    pub(in crate::cli) fn new(
        manifest: &Manifest,
        selection: &Selection,
        plan: Option<Plan>,
        database: &str,
        preflight: Vec<Check>,
    ) -> Self {
        let collections = manifest.collections.iter();
        let selected = collections.filter(|collection| selection.includes(&collection.name));
        Self {
            id: manifest.id.clone(),
            database: database.to_owned(),
            documents: selected.clone().map(|facts| facts.sums.documents).sum(),
            collections: selected.count(),
            as_of: plan
                .as_ref()
                .and_then(|plan| plan.moment)
                .unwrap_or(manifest.as_of),
            plan,
            duration_ms: None,
            preflight,
            outcome: None,
            erasures: None,
            erasures_unknown: None,
        }
    }

    /// The backup, or the moment after it.
    fn name(&self) -> String {
        match &self.plan {
            Some(_) => format!("the moment {}", self.as_of),
            None => format!("{} of {}", self.id, self.as_of),
        }
    }

    pub(in crate::cli) fn text(&self) -> String {
        let (Some(elapsed), Some(outcome)) = (self.duration_ms, &self.outcome) else {
            let lines = self.preflight.iter().map(|check| {
                let mark = if check.good { "ok" } else { "FAILED" };
                format!("\n  {mark:<6} {}: {}", check.name, check.detail)
            });
            let good = self.preflight.iter().all(|check| check.good);
            let verdict = if good {
                "is good and can be restored"
            } else {
                "cannot be restored"
            };
            let moment = self.plan.as_ref();
            let moment = moment.map_or_else(String::new, |moment| format!("\n{}", plan(moment)));
            return format!(
                "{} {verdict} to {}; nothing was written{}{moment}",
                self.name(),
                self.database,
                lines.collect::<String>()
            );
        };
        let compared = match (&self.plan, outcome.is_identical()) {
            (None, true) => ", identical to the backup",
            (None, false) => ", but not identical to the backup",
            (Some(_), true) => ", identical to the backup with the changes after it",
            (Some(_), false) => ", but not identical to the backup with the changes after it",
        };
        let rate = self.documents * 1000 / elapsed.max(1);
        let mut text = format!(
            "{} is in {}: {} documents in {} collections{compared}, in {} ({rate} documents a second)",
            self.name(),
            self.database,
            self.documents,
            self.collections,
            seconds(elapsed)
        );
        let missing = outcome.incomplete.iter().map(|text| ("MISSING", text));
        let different = outcome.differences.iter().map(|text| ("DIFFERENT", text));
        for (mark, line) in missing.chain(different) {
            text.push_str(&format!("\n  {mark}: {line}"));
        }
        if let Some(moment) = &self.plan {
            text.push('\n');
            text.push_str(&plan(moment));
        }
        match (&self.erasures, &self.erasures_unknown) {
            (Some(erasures), _) if erasures.tombstones == 0 => {
                text.push_str("\nno account was deleted since")
            }
            (Some(erasures), _) => {
                let documents: u64 = erasures.documents.values().sum();
                let done = if erasures.applied {
                    "were deleted"
                } else {
                    "are in the restored database; --apply-erasures deletes them"
                };
                text.push_str(&format!(
                    "\n{} accounts were deleted after the backup: {documents} documents of {} of them {done}",
                    erasures.tombstones, erasures.accounts
                ));
                for (name, count) in &erasures.documents {
                    text.push_str(&format!("\n  {name}: {count}"));
                }
                if !erasures.not_checked.is_empty() {
                    text.push_str(&format!(
                        "\n  collections without a known owner field: {}",
                        erasures.not_checked.join(", ")
                    ));
                }
            }
            (None, Some(why)) => text.push_str(&format!("\ndeleted accounts: not known: {why}")),
            (None, None) => {}
        }
        text
    }
}
