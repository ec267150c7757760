//! `status.txt`: the overview in a few lines of text, in a file that Caddy serves while every service is stopped. It is public, so it contains no
//! names of people or services; and it contains the time of writing.

use std::fmt::Write;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use crate::overview::{Overview, Part};
use crate::services::Counts;

/// Writes it, whole or not at all.
///
/// # Errors
/// When the folder cannot be written to.
pub fn write(path: &Path, overview: &Overview, now: Timestamp) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, text(overview, now).as_bytes())?;
    // Everybody may read it; a temporary file is its owner's alone.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn text(overview: &Overview, now: Timestamp) -> String {
    let mut text = format!(
        "silo at {now:.0}\n\nWritten every ten seconds. If the time above is older, silo-services-probe is not running, and this is the last known status.\n\n"
    );
    line(
        &mut text,
        "database",
        overview.database.as_ref(),
        |database| database.status.clone(),
    );
    line(
        &mut text,
        "collections",
        overview.collections.as_ref(),
        |found| {
            format!(
                "{}, {} documents, {} bytes",
                number(found.total.collections),
                number(found.total.documents),
                number(found.total.data_bytes)
            )
        },
    );
    line(&mut text, "storage", overview.storage.as_ref(), |storage| {
        format!(
            "{} objects, {} bytes",
            number(storage.objects),
            number(storage.bytes)
        )
    });
    line(
        &mut text,
        "last backup",
        overview.backup.as_ref(),
        |backup| {
            let last = backup.last_good.as_ref().map_or("none".into(), |last| {
                format!("good, as of {:.0}", last.as_of)
            });
            let overdue = if backup.overdue { ", OVERDUE" } else { "" };
            let problems = match backup.problems {
                0 => String::new(),
                problems => format!(", {problems} PROBLEMS"),
            };
            format!("{last}{overdue}{problems}")
        },
    );
    line(&mut text, "services", overview.services.as_ref(), counts);
    text
}

fn counts(counts: &Counts) -> String {
    format!(
        "{} up, {} degraded, {} down, {} unknown",
        counts.up, counts.degraded, counts.down, counts.unknown
    )
}

/// One line: what, its figures, how fresh, when measured.
fn line<T>(text: &mut String, what: &str, part: Option<&Part<T>>, figures: impl Fn(&T) -> String) {
    // Writing to a string does not fail.
    let _ = match part {
        None => writeln!(text, "{what:<12} not known"),
        Some(part) => {
            let age = part
                .as_of
                .map_or(String::new(), |as_of| format!(", measured {as_of:.0}"));
            let state = format!("{:?}", part.state).to_lowercase();
            writeln!(text, "{what:<12} {} ({state}{age})", figures(&part.figures))
        }
    };
}

fn number(known: Option<u64>) -> String {
    known.map_or("unknown".into(), |known| known.to_string())
}

#[cfg(test)]
mod tests {
    use silo_web::snapshot::Freshness;

    use super::*;

    #[test]
    fn unknown_values_are_marked_and_all_parts_have_times() {
        let now: Timestamp = "2026-11-24T01:02:03.9Z".parse().unwrap();
        let mut overview = Overview::default();
        let page = text(&overview, now);
        assert!(page.starts_with("silo at 2026-11-24T01:02:03Z\n"), "{page}");
        assert_eq!(page.matches("not known").count(), 5, "{page}");
        overview.services = Some(Part {
            figures: Counts {
                total: 3,
                up: 2,
                down: 1,
                ..Counts::default()
            },
            as_of: Some(now),
            state: Freshness::Stale,
        });
        let page = text(&overview, now);
        let line = "services     2 up, 0 degraded, 1 down, 0 unknown (stale, measured 2026-11-24T01:02:03Z)";
        assert!(page.contains(line), "{page}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("status.txt");
        for _ in 0..2 {
            write(&file, &overview, now).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), page);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(Path::new("/nowhere/status.txt"), &overview, now).is_err());
    }
}
