//! Results in words.

mod operations;
mod restored;

use serde::Serialize;
use silo_web::snapshot::SourceError;

use super::chain::Newest;
use crate::archive::summary::ArchiveSummary;
use crate::continuous::proof::ProofOutcome;
use crate::repository::ProofResult;
use crate::repository::manifest::Manifest;
use crate::retention::prune::Plan;
use crate::run::outcome::RunOutcome;
use crate::status::{BackupStatus, BackupView, RecoveryView};
use crate::verification::drill::DrillOutcome;

pub(super) use operations::{adopted, audit, initialised};
pub(super) use restored::{Restored, plan};

/// Result of `verify`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    id: String,
    verdict: &'static str,
    how: &'static str,
    documents: u64,
    bytes: u64,
    notes: Vec<String>,
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
            notes: manifest.notes(),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = match self.how {
            "decoded" => format!(
                "{}: good. {} of archive read back; {} documents, options and indexes are as they were",
                self.id,
                bytes(self.bytes),
                self.documents
            ),
            _ => format!(
                "{}: good, byte for byte ({}); it is encrypted, and the private key is not here to read it as a restore would",
                self.id,
                bytes(self.bytes)
            ),
        };
        for note in &self.notes {
            text.push_str(&format!("\n  {note}"));
        }
        text
    }
}

pub(super) fn run_outcome(outcome: &RunOutcome) -> String {
    let status = if outcome.good {
        "good".to_owned()
    } else {
        format!("HELD: {}", outcome.held.join("; "))
    };
    let mut text = format!(
        "{}: {status}\n  {} documents, {} of data in {} stored, {}, in {}",
        outcome.id,
        outcome.documents,
        bytes(outcome.bytes),
        bytes(outcome.stored_bytes),
        outcome.consistency,
        seconds(outcome.duration_ms)
    );
    for at in &outcome.destinations {
        let outcome = at.error.as_ref().map_or_else(
            || "written, read back, published".to_owned(),
            |error| format!("FAILED: {error}"),
        );
        text.push_str(&format!("\n  {}: {outcome}", at.name));
    }
    for problem in &outcome.problems {
        text.push_str(&format!("\n  PROBLEM: {problem}"));
    }
    for note in &outcome.notes {
        text.push_str(&format!("\n  {note}"));
    }
    if !outcome.good {
        text.push_str(&format!("\n  stored, but not counted as good; if the difference is right: silo-backup accept {} --why \"...\"", outcome.id));
    }
    text
}

pub(super) fn drill_outcome(drill: &DrillOutcome) -> String {
    let outcome = if drill.good {
        format!("{} documents restored", drill.documents)
    } else {
        "RESTORE FAILED".into()
    };
    let mut text = format!(
        "{} of {}: {outcome}, in {}",
        drill.id,
        drill.destination,
        seconds(drill.duration_ms)
    );
    if let Some(moment) = &drill.moment {
        let what = match moment.good {
            true => format!("{} documents restored", moment.documents),
            false => format!("RESTORE FAILED: {}", moment.notes.join("; ")),
        };
        text.push_str(&format!(
            "\n  the moment {} from {} and the slices after it: {what}, in {}",
            moment.moment,
            moment.backup,
            seconds(moment.duration_ms)
        ));
    }
    for note in &drill.notes {
        text.push_str(&format!("\n  {note}"));
    }
    text
}

pub(super) fn list(backups: &[BackupView]) -> String {
    if backups.is_empty() {
        return "there are no backups yet".into();
    }
    let mut text = format!(
        "{:<24} {:<9} {:<8} {:>11} {:>10} {:<14} reason",
        "backup", "state", "drilled", "documents", "stored", "where"
    );
    for backup in backups {
        let drill = backup
            .drill
            .as_ref()
            .map_or("–", |drill| if drill.good { "yes" } else { "FAILED" });
        let reason = backup.reasons.first().map_or("", String::as_str);
        let reason = if backup.kept {
            reason.to_owned()
        } else {
            format!("will be deleted: {reason}")
        };
        text.push_str(&format!(
            "\n{:<24} {:<9} {drill:<8} {:>11} {:>10} {:<14} {reason}",
            backup.id,
            backup.state,
            backup.documents,
            bytes(backup.bytes),
            backup.destinations.join(",")
        ));
        for problem in backup.held.iter().chain(&backup.problems) {
            text.push_str(&format!("\n  {problem}"));
        }
    }
    text
}

pub(super) fn proof(outcome: &ProofOutcome) -> String {
    let ProofOutcome { id, proof, .. } = outcome;
    let base = &proof.base;
    match (proof.result, proof.operations) {
        (ProofResult::Equal, Some(operations)) => {
            format!(
                "{base} and the {operations} operations after it are {id}: every moment between them can be restored"
            )
        }
        (ProofResult::NotMade, _) => format!(
            "from {base} to {id}, no proof was possible: {}",
            proof.notes.join("; ")
        ),
        _ => format!(
            "{base} and the changes after it are NOT {id}: {}",
            proof.notes.join("; ")
        ),
    }
}

pub(super) fn plans(plans: &[Plan], dry: bool) -> String {
    let mut lines = Vec::new();
    for plan in plans {
        lines.push(format!("{}:", plan.destination));
        for decision in &plan.decisions {
            let what = match (decision.keep, dry) {
                (true, _) => "keep",
                (false, true) => "would delete",
                (false, false) => "deleted",
            };
            lines.push(format!(
                "  {} {what}: {}",
                decision.id,
                decision.reasons.join("; ")
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
        if !plan.slices.is_empty() {
            lines.push(
                format!("  {} expired slices of the oplog {what}", plan.slices.len())
                    .replace(" was ", " were "),
            );
        }
        if plan.decisions.is_empty() {
            lines.push("  there are no backups yet".into());
        }
    }
    lines.join("\n")
}

pub(super) fn status(
    status: &BackupStatus,
    continuous: &[Newest],
    errors: &[SourceError],
) -> String {
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
        None if errors.iter().any(|error| error.source == "mongod") => {
            "last run: not known".to_owned()
        }
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
                format!("restored in {}", seconds(drill.duration_ms))
            } else {
                format!("FAILED: {}", drill.notes.join("; "))
            };
            format!("last drill: {} at {}, {outcome}", drill.id, drill.at)
        }
    });
    for place in &status.destinations {
        let known = place.backups.zip(place.bytes).map_or_else(
            || "not known".to_owned(),
            |(backups, size)| {
                let plural = if backups == 1 { "" } else { "s" };
                format!("{backups} backup{plural}, {}", bytes(size))
            },
        );
        lines.push(format!("{}: {known}", place.name));
    }
    lines.extend(continuous.iter().map(Newest::text));
    lines.push(recovery(&status.recovery));
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

/// Readiness for a recovery in one line.
fn recovery(recovery: &RecoveryView) -> String {
    let drilled = recovery.last_drilled.map_or_else(
        || "no backup was restored by a drill yet".to_owned(),
        |at| format!("a drill has restored the backup of {at}"),
    );
    let estimate = recovery
        .estimated_restore_seconds
        .map_or_else(String::new, |seconds| {
            format!("; a restore takes about {}", age(seconds))
        });
    let key = match recovery.key_available {
        Some(false) => "; the private key is not here",
        Some(true) => "; the private key is here",
        None => "",
    };
    format!("recovery: {drilled}{estimate}{key}")
}

/// Bytes in the largest unit that they fill.
pub(super) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

fn seconds(millis: u64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

/// An age in the unit in which it is a small number.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
