//! Measuring processes, and printing tables.

use std::time::Duration;

use anyhow::{Context, Result};

/// MiB of KiB, with one decimal place.
pub(super) fn mib(kib: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure in a table")]
    let mib = kib as f64 / 1024.0;
    format!("{mib:.1}")
}

/// Prints a row of a table.
pub(super) fn row(name: &str, cells: &[impl AsRef<str>]) {
    let cells: String = cells
        .iter()
        .map(|cell| format!("{:>12}", cell.as_ref()))
        .collect();
    println!("{name:<44}{cells}");
}

/// Resident memory of a process in KiB, from /proc.
pub(super) fn resident(id: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.context("/proc has no VmRSS")?.trim().parse()?)
}

/// CPU time and peak memory (KiB) of a process so far, from /proc.
pub(super) fn spent(id: u32) -> Option<(Duration, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    // A tick is a hundredth of a second on every Linux that Silo runs on.
    Some((
        Duration::from_millis(ticks * 10),
        peak.trim().strip_suffix(" kB")?.trim().parse().ok()?,
    ))
}
