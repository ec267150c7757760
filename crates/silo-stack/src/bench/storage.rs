//! Speed and cost of scanning a large bucket with silo-storage-api, compared with `rclone size --fast-list` on the same listing.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use silo_testkit::listing::{BUCKET, Listing, ListingServer};
use silo_testkit::process::Process;
use silo_testkit::say;
use silo_testkit::tools::Tool;
use silo_testkit::wait::wait_for;
use tempfile::TempDir;
use tokio::process::Command;

use super::measure::{mib, row, spent};
use crate::build::build;

/// Delay of a page of the slow storage.
const LATENCY: Duration = Duration::from_millis(100);
/// Number of users that own the keys: memory must grow with users and not with keys.
const USERS: u64 = 5_000;
/// Number of timed requests during a scan.
const ASKED: usize = 300;
/// Time limit of one run.
const WITHIN: Duration = Duration::from_secs(900);

/// Cost of one run.
struct Cost {
    wall: Duration,
    cpu: Duration,
    peak_kib: u64,
    pages: u64,
}

/// Runs both on a bucket of so many keys, then silo alone on one four times as large.
pub(super) async fn run(keys: u64) -> Result<()> {
    let binaries = build(true)?;
    let program = binaries.join("silo-storage-api");
    let small = Listing {
        keys,
        users: USERS,
        latency: LATENCY,
    };
    let quick = Listing {
        latency: Duration::ZERO,
        ..small
    };
    let large = Listing {
        keys: 4 * keys,
        ..quick
    };
    println!("\nscanning {keys} keys of {USERS} users");
    row(
        "who, and how",
        &["wall, s", "CPU, s", "peak, MiB", "pages", "CPU us/key"],
    );
    // As it is set by default, at 100 requests a second.
    let silo_slow = scan(&program, small, &[]).await?;
    show("silo-storage-api, 100 ms a page", &silo_slow, small);
    let rclone_slow = rclone(small).await?;
    show(
        "rclone size --fast-list, 100 ms a page",
        &rclone_slow,
        small,
    );
    // Without its brake, for CPU alone.
    let unbraked = [("SCAN_REQUESTS_PER_SECOND", "1500")];
    let silo_quick = scan(&program, quick, &unbraked).await?;
    show("silo-storage-api, no latency", &silo_quick, quick);
    let rclone_quick = rclone(quick).await?;
    show("rclone size --fast-list, no latency", &rclone_quick, quick);
    let silo_large = scan(&program, large, &unbraked).await?;
    show("silo-storage-api, four times the keys", &silo_large, large);
    println!();
    let ratio = |a: f64, b: f64| format!("{:.2}", a / b);
    row(
        "wall, rclone / silo, 100 ms a page",
        &[ratio(
            rclone_slow.wall.as_secs_f64(),
            silo_slow.wall.as_secs_f64(),
        )],
    );
    row(
        "CPU, silo / rclone, no latency",
        &[ratio(
            silo_quick.cpu.as_secs_f64(),
            rclone_quick.cpu.as_secs_f64(),
        )],
    );
    #[expect(clippy::cast_precision_loss, reason = "a figure in a table")]
    row(
        "memory, four times the keys / once",
        &[ratio(
            silo_large.peak_kib as f64,
            silo_quick.peak_kib as f64,
        )],
    );
    answers(&program, small).await
}

fn show(name: &str, cost: &Cost, listing: Listing) {
    #[expect(clippy::cast_precision_loss, reason = "a figure in a table")]
    let each = cost.cpu.as_secs_f64() * 1e6 / listing.keys as f64;
    row(
        name,
        &[
            format!("{:.2}", cost.wall.as_secs_f64()),
            format!("{:.2}", cost.cpu.as_secs_f64()),
            mib(cost.peak_kib),
            cost.pages.to_string(),
            format!("{each:.2}"),
        ],
    );
}

/// A silo-storage-api that scans this listing.
struct Scanning {
    process: Process,
    address: String,
    server: ListingServer,
    _folder: TempDir,
}

async fn start(
    program: &std::path::Path,
    listing: Listing,
    more: &[(&str, &str)],
) -> Result<Scanning> {
    let server = listing.serve().await?;
    let folder = TempDir::with_prefix("silo-bench-")?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("BIND", "127.0.0.1:0")
        .env("SPACES_ENDPOINT", server.url())
        .env("SPACES_KEY", "k")
        .env("SPACES_SECRET", "s")
        .env("BUCKETS", BUCKET)
        .env("STORAGE_FOLDER", folder.path())
        .env("DB_API_URL", "http://127.0.0.1:9")
        .envs(more.iter().copied());
    let mut process = Process::start("silo-storage-api", command, None)?;
    let port = |line: &str| {
        let (_, rest) = line.split_once("listens on 127.0.0.1:")?;
        rest.split_whitespace().next()?.parse::<u16>().ok()
    };
    let port = process.wait_for_line(Duration::from_secs(10), port).await?;
    Ok(Scanning {
        process,
        address: format!("http://127.0.0.1:{port}"),
        server,
        _folder: folder,
    })
}

impl Scanning {
    async fn usage(&self) -> Option<serde_json::Value> {
        let answer = reqwest::get(format!("{}/api/storage/usage", self.address))
            .await
            .ok()?;
        answer.json().await.ok()
    }

    /// Waits for the published result, and checks it.
    async fn ended(&self, listing: Listing) -> Result<()> {
        let found = wait_for(WITHIN, || async {
            let usage = self.usage().await?;
            let done = usage["data"]["scan"]["scanning"] == false;
            done.then(|| {
                (
                    usage["data"]["objects"].as_u64(),
                    usage["data"]["bytes"].as_u64(),
                )
            })
        });
        let found = found.await.context("the scan did not end")?;
        let truth = (Some(listing.keys), Some(listing.bytes()));
        if found != truth {
            bail!("the scan found {found:?} and not {truth:?}");
        }
        Ok(())
    }
}

async fn scan(program: &std::path::Path, listing: Listing, more: &[(&str, &str)]) -> Result<Cost> {
    let started = Instant::now();
    let mut scanning = start(program, listing, more).await?;
    let ended = wait_for(WITHIN, || async {
        let usage = scanning.usage().await?;
        (usage["data"]["scan"]["scanning"] == false).then_some(())
    });
    ended.await.context("the scan did not end")?;
    let wall = started.elapsed();
    let id = scanning.process.id().context("it runs")?;
    let (cpu, peak_kib) = spent(id).context("/proc has the CPU time")?;
    scanning.ended(listing).await?;
    let pages = scanning.server.pages();
    scanning.process.stop(Duration::from_secs(10)).await?;
    Ok(Cost {
        wall,
        cpu,
        peak_kib,
        pages,
    })
}

async fn rclone(listing: Listing) -> Result<Cost> {
    let server = listing.serve().await?;
    let url = server.url();
    let mut command = Command::new(Tool::Rclone.installed()?);
    command
        .args(["size", "--fast-list", "--json", "--config", "/dev/null"])
        .args([
            "--s3-provider",
            "Other",
            "--s3-endpoint",
            &url,
            "--s3-access-key-id",
            "k",
            "--s3-secret-access-key",
            "s",
        ])
        .args([
            "--s3-force-path-style",
            "--s3-list-version",
            "2",
            "--s3-region",
            "us-east-1",
        ])
        .arg(format!(":s3:{BUCKET}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let started = Instant::now();
    let child = command.spawn().context("cannot start rclone")?;
    let id = child.id().context("it runs")?;
    let output = child.wait_with_output();
    tokio::pin!(output);
    let mut last = None;
    let output = loop {
        tokio::select! {
            output = &mut output => break output?,
            () = tokio::time::sleep(Duration::from_millis(20)) => last = spent(id).or(last),
        }
    };
    let wall = started.elapsed();
    if !output.status.success() {
        bail!("rclone failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let size: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    if size["count"].as_u64() != Some(listing.keys)
        || size["bytes"].as_u64() != Some(listing.bytes())
    {
        bail!("rclone found {size}");
    }
    let (cpu, peak_kib) = last.context("the scan ended before it was measured")?;
    Ok(Cost {
        wall,
        cpu,
        peak_kib,
        pages: server.pages(),
    })
}

/// Measures response times while a scan is running.
async fn answers(program: &std::path::Path, listing: Listing) -> Result<()> {
    let scanning = start(
        program,
        Listing {
            latency: Duration::ZERO,
            ..listing
        },
        &[("SCAN_REQUESTS_PER_SECOND", "1500")],
    )
    .await?;
    scanning.ended(listing).await?;
    say::step("asking while a scan runs");
    let http = reqwest::Client::new();
    let asked = http
        .post(format!("{}/api/storage/rescan", scanning.address))
        .header("X-Silo-Operator", "bench");
    if asked.send().await?.status() != 202 {
        bail!("no scan was begun");
    }
    println!();
    row(
        "path, while a scan runs",
        &["p50, ms", "p99, ms", "most, ms", "scanning"],
    );
    for path in [
        "/api/storage/usage",
        "/api/storage/buckets",
        "/api/storage/top-users?limit=500",
    ] {
        let mut took = Vec::new();
        let mut running = 0;
        for _ in 0..ASKED {
            let started = Instant::now();
            let answer = http
                .get(format!("{}{path}", scanning.address))
                .send()
                .await?;
            if !answer.status().is_success() {
                bail!("{path}: {}", answer.status());
            }
            let _body = answer.bytes().await?;
            took.push(started.elapsed().as_secs_f64() * 1000.0);
            let usage = scanning.usage().await.context("usage answers")?;
            if usage["data"]["scan"]["scanning"] == true {
                running += 1;
            } else {
                drop(
                    http.post(format!("{}/api/storage/rescan", scanning.address))
                        .header("X-Silo-Operator", "bench")
                        .send()
                        .await?,
                );
            }
        }
        took.sort_by(f64::total_cmp);
        let at = |part: usize| format!("{:.2}", took[(took.len() - 1) * part / 100]);
        row(
            path,
            &[at(50), at(99), at(100), format!("{running} of {ASKED}")],
        );
    }
    Ok(())
}
