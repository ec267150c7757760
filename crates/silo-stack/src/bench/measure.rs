//! Measuring processes, and printing tables.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::process::Child;

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

/// Cost of one run.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    /// Time from start to end.
    pub(super) wall: Duration,
    /// CPU time of all processes.
    pub(super) cpu: Duration,
    /// Largest resident memory.
    pub(super) peak_kib: u64,
}

/// Prints how much of the peer's time and CPU Silo takes.
pub(super) fn ratios(name: &str, silo: &Cost, peer: &Cost) {
    let ratio = |a: Duration, b: Duration| format!("{:.2}", a.as_secs_f64() / b.as_secs_f64());
    row(
        name,
        &[ratio(silo.wall, peer.wall), ratio(silo.cpu, peer.cpu)],
    );
}

/// Polls processes until all have ended, and sums their cost.
pub(super) async fn watch(children: &mut [&mut Child], began: Instant) -> Result<Cost> {
    let ids: Vec<u32> = children.iter().filter_map(|child| child.id()).collect();
    let mut last = vec![(Duration::ZERO, 0); ids.len()];
    loop {
        for (at, id) in ids.iter().enumerate() {
            if let Some((cpu, peak)) = spent(*id) {
                last[at] = (cpu, peak);
            }
        }
        // A zombie process reports no memory.
        if ids.iter().all(|id| spent(*id).is_none()) {
            let cpu = last.iter().map(|(cpu, _)| *cpu).sum();
            return Ok(Cost {
                wall: began.elapsed(),
                cpu,
                peak_kib: last.iter().map(|(_, peak)| peak).sum(),
            });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The medians, as a row.
pub(super) fn show(name: &str, costs: Vec<Cost>) -> Cost {
    let median = |mut values: Vec<Duration>| {
        values.sort();
        values[values.len() / 2]
    };
    let cost = Cost {
        wall: median(costs.iter().map(|cost| cost.wall).collect()),
        cpu: median(costs.iter().map(|cost| cost.cpu).collect()),
        peak_kib: costs
            .iter()
            .map(|cost| cost.peak_kib)
            .max()
            .unwrap_or_default(),
    };
    row(
        name,
        &[
            format!("{:.2}", cost.wall.as_secs_f64()),
            format!("{:.2}", cost.cpu.as_secs_f64()),
            mib(cost.peak_kib),
        ],
    );
    cost
}
