//! Results of `init`, `adopt` and `audit` in words.

use crate::audit::AuditEntry;
use crate::operations::adopt::Adopted;
use crate::operations::init::Initialised;

pub(in crate::cli) fn initialised(results: &[Initialised], dry_run: bool) -> String {
    let line = |result: &Initialised| {
        let would = if dry_run { "would be " } else { "" };
        let would = if result.action == "unchanged" {
            ""
        } else {
            would
        };
        let reason = result
            .reason
            .as_ref()
            .map_or_else(String::new, |reason| format!(" (before: {reason})"));
        format!(
            "{}: {would}{}, {} backups{reason}",
            result.destination, result.action, result.backups
        )
    };
    let mut lines: Vec<String> = results.iter().map(line).collect();
    if !dry_run && results.iter().any(|result| result.backups > 0) {
        lines.push("`silo-backup list` shows the backups, and `silo-backup chain` of which moments storage has all changes".into());
    }
    lines.join("\n")
}

pub(in crate::cli) fn adopted(adopted: &Adopted, dry_run: bool) -> String {
    let what = match (dry_run, adopted.remembered) {
        (true, _) => "can be adopted; nothing was written",
        (false, true) => "has its manifest again, and counts as good as before",
        (false, false) => {
            "has a manifest again and is held; if it is right: silo-backup accept ID --why"
        }
    };
    format!(
        "{} in {}: {} documents; it {what}",
        adopted.id,
        adopted.destinations.join(" and "),
        adopted.documents
    )
}

pub(in crate::cli) fn audit(entries: &[AuditEntry]) -> String {
    if entries.is_empty() {
        return "no commands are recorded".into();
    }
    let line = |entry: &AuditEntry| {
        format!(
            "{} {}: {}: {}",
            entry.at, entry.operator, entry.command, entry.result
        )
    };
    entries.iter().map(line).collect::<Vec<_>>().join("\n")
}
