//! Results in words.

use jiff::Timestamp;
use serde::Serialize;
use silo_web::snapshot::SourceError;

use crate::archive::summary::ArchiveSummary;
use crate::repository::manifest::Manifest;
use crate::restore::erasure::Erasures;
use crate::retention::prune::Plan;
use crate::run::outcome::RunOutcome;
use crate::status::{BackupStatus, BackupView};
use crate::verification::drill::DrillOutcome;

/// Result of `verify`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    id: String,
    verdict: &'static str,
    how: &'static str,
    documents: u64,
    bytes: u64,
    unique_indexes: Option<u64>,
    not_checked: Vec<String>,
}

impl Verdict {
    pub(super) fn new(manifest: &Manifest, summary: Option<&ArchiveSummary>) -> Self {
        Self {
            id: manifest.id.clone(),
            verdict: "good",
            how: if summary.is_some() {
                "decoded"
            } else {
                "bytes"
            },
            documents: manifest.documents(),
            bytes: manifest.archive.bytes,
            unique_indexes: summary.map(|summary| summary.unique_indexes),
            not_checked: summary
                .map(|summary| summary.not_checked.clone())
                .unwrap_or_default(),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = match self.unique_indexes {
            Some(unique) => format!(
                "{}: good. {} of archive read back; {} documents and the keys of {unique} unique indexes are as they were",
                self.id,
                bytes(self.bytes),
                self.documents
            ),
            None => format!(
                "{}: good, byte for byte ({}); it is encrypted, and the private key is not here to read it as a restore would",
                self.id,
                bytes(self.bytes)
            ),
        };
        for why in &self.not_checked {
            text.push_str(&format!("\n  not checked: {why}"));
        }
        text
    }
}

/// Result of `restore`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Restored {
    id: String,
    database: String,
    documents: u64,
    collections: usize,
    as_of: Timestamp,
    /// Duration in milliseconds; `null` when nothing was written.
    pub(super) took_ms: Option<u64>,
    /// Accounts that were deleted since.
    pub(super) erasures: Option<Erasures>,
    /// Reason why deleted accounts could not be looked up.
    pub(super) erasures_unknown: Option<String>,
}

impl Restored {
    pub(super) fn new(manifest: &Manifest, database: &str) -> Self {
        Self {
            id: manifest.id.clone(),
            database: database.to_owned(),
            documents: manifest.documents(),
            collections: manifest.collections.len(),
            as_of: manifest.as_of,
            took_ms: None,
            erasures: None,
            erasures_unknown: None,
        }
    }

    pub(super) fn text(&self) -> String {
        let Some(took) = self.took_ms else {
            return format!(
                "{} is good and could be restored to {}; nothing was written",
                self.id, self.database
            );
        };
        let rate = self.documents * 1000 / took.max(1);
        let mut text = format!(
            "{} of {} is in {}: {} documents in {} collections, compared, in {} ({rate} documents a second)",
            self.id,
            self.as_of,
            self.database,
            self.documents,
            self.collections,
            seconds(took)
        );
        match (&self.erasures, &self.erasures_unknown) {
            (Some(erasures), _) if erasures.tombstones == 0 => {
                text.push_str("\nno account was deleted since")
            }
            (Some(erasures), _) => {
                let documents: u64 = erasures.documents.values().sum();
                let done = if erasures.applied {
                    "were removed again"
                } else {
                    "are in it; --apply-erasures removes them"
                };
                text.push_str(&format!(
                    "\n{} accounts were deleted since: {documents} documents of {} of them {done}",
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
            (None, Some(why)) => text.push_str(&format!(
                "\nwhether accounts were deleted since is not known: {why}"
            )),
            (None, None) => {}
        }
        text
    }
}

pub(super) fn made(made: &RunOutcome) -> String {
    let status = if made.good {
        "good".to_owned()
    } else {
        format!("HELD: {}", made.held.join("; "))
    };
    let mut text = format!(
        "{}: {status}\n  {} documents, {} of data in {} stored, {}, in {}",
        made.id,
        made.documents,
        bytes(made.bytes),
        bytes(made.stored_bytes),
        made.consistency,
        seconds(made.took_ms)
    );
    for at in &made.destinations {
        let outcome = at.error.as_ref().map_or_else(
            || "written, read back, published".to_owned(),
            |error| format!("FAILED: {error}"),
        );
        text.push_str(&format!("\n  {}: {outcome}", at.name));
    }
    for problem in &made.problems {
        text.push_str(&format!("\n  PROBLEM: {problem}"));
    }
    if !made.good {
        text.push_str(&format!("\n  it is kept and does not count; if all is well, silo-backup accept {} --why \"...\"", made.id));
    }
    text
}

pub(super) fn drilled(drilled: &DrillOutcome) -> String {
    let outcome = if drilled.good {
        format!("{} documents came back", drilled.documents)
    } else {
        "DOES NOT RESTORE".into()
    };
    let mut text = format!("{}: {outcome}, in {}", drilled.id, seconds(drilled.took_ms));
    for note in &drilled.notes {
        text.push_str(&format!("\n  {note}"));
    }
    text
}

pub(super) fn list(backups: &[BackupView]) -> String {
    if backups.is_empty() {
        return "there are no backups yet".into();
    }
    let mut text = format!(
        "{:<24} {:<9} {:<8} {:>11} {:>10} {:<14} kept because",
        "backup", "state", "drilled", "documents", "stored", "where"
    );
    for backup in backups {
        let drilled = backup
            .drill
            .as_ref()
            .map_or("–", |drill| if drill.good { "yes" } else { "FAILED" });
        let why = backup.why.first().map_or("", String::as_str);
        let why = if backup.kept {
            why.to_owned()
        } else {
            format!("goes: {why}")
        };
        text.push_str(&format!(
            "\n{:<24} {:<9} {drilled:<8} {:>11} {:>10} {:<14} {why}",
            backup.id,
            backup.state,
            backup.documents,
            bytes(backup.bytes),
            backup.destinations.join(",")
        ));
        for trouble in backup.held.iter().chain(&backup.trouble) {
            text.push_str(&format!("\n  {trouble}"));
        }
    }
    text
}

pub(super) fn plans(plans: &[Plan], dry: bool) -> String {
    let mut lines = Vec::new();
    for plan in plans {
        lines.push(format!("{}:", plan.destination));
        for decision in &plan.decisions {
            let what = match (decision.keep, dry) {
                (true, _) => "stays",
                (false, true) => "would go",
                (false, false) => "went",
            };
            lines.push(format!(
                "  {} {what}: {}",
                decision.id,
                decision.why.join("; ")
            ));
        }
        let what = if dry {
            "would be deleted"
        } else {
            "was deleted"
        };
        lines.extend(
            plan.archives.iter().map(|id| {
                format!("  the archive of {id}, pruned more than seven days ago, {what}")
            }),
        );
        if plan.decisions.is_empty() {
            lines.push("  there are no backups yet".into());
        }
    }
    lines.join("\n")
}

pub(super) fn status(status: &BackupStatus, errors: &[SourceError]) -> String {
    let mut lines = Vec::new();
    lines.push(match &status.last_good {
        None => "last good backup: none".to_owned(),
        Some(good) => {
            let late = if status.overdue { ", TOO OLD" } else { "" };
            format!(
                "last good backup: {}, {} old{late}, {} documents, {}",
                good.id,
                age(good.age_seconds),
                good.documents,
                bytes(good.bytes)
            )
        }
    });
    lines.push(match &status.last_attempt {
        None => "last run: none".to_owned(),
        Some(attempt) => {
            let why = attempt
                .error
                .as_ref()
                .map_or_else(String::new, |error| format!(": {}", error.detail));
            format!("last run: {} at {}{why}", attempt.outcome, attempt.at)
        }
    });
    lines.push(match &status.last_drill {
        None => "last drill: none".to_owned(),
        Some(drill) => {
            let outcome = if drill.good {
                format!("came back in {}", seconds(drill.took_ms))
            } else {
                format!("FAILED: {}", drill.notes.join("; "))
            };
            format!("last drill: {} at {}, {outcome}", drill.id, drill.at)
        }
    });
    for place in &status.destinations {
        let known = place.backups.zip(place.bytes).map_or_else(
            || "not known".to_owned(),
            |(backups, size)| format!("{backups} backups, {}", bytes(size)),
        );
        lines.push(format!("{}: {known}", place.name));
    }
    lines.extend(
        status
            .problems
            .iter()
            .map(|problem| format!("PROBLEM: {problem}")),
    );
    lines.extend(
        errors
            .iter()
            .map(|error| format!("NOT KNOWN: {}: {}", error.source, error.detail)),
    );
    if let Some(failed_delivery) = &status.alerts.failed_delivery {
        lines.push(format!(
            "ALERT NOT DELIVERED by {}: {}",
            failed_delivery.receiver, failed_delivery.error
        ));
    }
    lines.join("\n")
}

/// Bytes in the largest unit that they fill.
pub(super) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

fn seconds(millis: u64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
