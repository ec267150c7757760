//! Continuous backup under 50 writes a second: time from a write to its slice in storage, CPU and memory, and then the time of a proof and of
//! `restore --at`; how long the writes take with and without it; and how soon everything is stored after storage was down. Its peer is Percona Backup for
//! MongoDB.

mod pbm;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use mongodb::bson::{Document, Timestamp as Position, doc};
use silo_spaces::Spaces;
use silo_testkit::demo::Demo;
use silo_testkit::process::Process;
use silo_testkit::s3::Storage;
use silo_testkit::say;
use silo_testkit::wait::wait_for;

use super::backup::{BUCKET, Bench};
use super::measure::{mib, resident, row, show, spent};
use crate::build::build;
use crate::stack::DATABASE;

/// Writes a second, each acknowledged from mongod's journal.
const RATE: u64 = 50;
/// Interval of listings of the slices.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Time for the last slice, and for the first backup.
const LIMIT: Duration = Duration::from_secs(120);
/// Number of runs of the proof and the restore; the median is reported.
const TIMES: usize = 3;

/// Where a program stores slices of the oplog.
struct Place {
    prefix: &'static str,
    /// Position of a slice's last entry, by its key.
    through: fn(&str) -> Option<Position>,
}

const SILO: Place = Place {
    prefix: "backups/mongo/oplog/",
    through,
};

/// A write, and when it was acknowledged.
struct Write {
    at: Position,
    acknowledged: Instant,
    took: Duration,
}

/// Measures for some seconds with demo data of this scale, and with storage down for `outage` seconds.
pub(super) async fn run(scale: f64, seconds: u64, outage: u64) -> Result<()> {
    let program = build(true)?.join("silo-backup");
    let bench = Bench::start(&program, Storage::with_switch().await?).await?;
    let database = bench.mongo.client().await?.database(DATABASE);
    say::step("loading the demo set");
    Demo::new(1, scale, Timestamp::now())
        .load(&database, |_, _, _| {})
        .await?;
    let mut command = bench.command(&["serve"]);
    command
        .env("BACKUP_PITR_DAYS", "14")
        .env("BACKUP_SCHEDULE", "0 0 1 1 *")
        .env("BIND", "127.0.0.1:0");
    let mut service = Process::start("silo-backup", command, None)?;
    let id = service.id().context("it runs")?;
    let spaces = bench.spaces()?;
    say::step("waiting for the first backup");
    let begun = wait_for(LIMIT, || async {
        let page = spaces
            .page_below(BUCKET, "backups/mongo/manifests/", None)
            .await
            .ok()?;
        (page.objects().len() > 0).then_some(())
    });
    begun.await.context("there is no backup")?;
    // Pruning and a verification follow the backup.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let writes = measure("silo-backup", id, &bench, &SILO, seconds).await?;
    say::step(&format!(
        "the same writes for {outage} s while storage is down"
    ));
    bench.s3.switch_off();
    let unstored = write(database.collection("moods"), outage).await?;
    let memory = resident(id)?;
    bench.s3.switch_on().await?;
    let back = Instant::now();
    let last = unstored.last().context("there are writes")?.at;
    until_stored(&spaces, &SILO, Stored::new(), last).await?;
    row(
        &format!("from the end of {outage} s without storage until all is stored"),
        &[format!("{:.1} s", back.elapsed().as_secs_f64())],
    );
    row("  resident memory at the end of it, MiB", &[mib(memory)]);
    let backup = bench.run_silo_backup(&["run"]).await?.1;
    ensure!(backup["good"] == true, "{backup}");
    // The last slice is cut and stored.
    service.stop(LIMIT).await?;
    say::step("the same writes without silo-backup");
    let alone = write(database.collection("moods"), seconds).await?;
    row("time of a write", &["median", "99 %", "longest"]);
    show_times("  with continuous backup", &writes);
    show_times("  without silo-backup", &alone);
    let (mut proofs, mut restores) = (Vec::new(), Vec::new());
    let to = bench.uri_file()?;
    for number in 0..TIMES {
        let (cost, proof) = bench.run_silo_backup(&["prove"]).await?;
        ensure!(proof["result"] == "equal", "{proof}");
        proofs.push(cost);
        let name = format!("then_{number}");
        let moment = format!("{}:{}", last.time, last.increment);
        let restore = [
            "restore",
            "--at",
            &moment,
            "--from-storage",
            "--trust-bucket",
            "--to-file",
            &to,
            "--database",
            &name,
        ];
        restores.push(bench.run_silo_backup(&restore).await?.0);
        bench.forget(&name).await?;
    }
    row("", &["wall s", "CPU s", "peak MiB"]);
    show("silo-backup prove", proofs);
    let silo = show("silo-backup restore --at, from storage", restores);
    pbm::run(&bench, seconds, &silo).await
}

/// Measures a process that stores the oplog: while nothing is written for some seconds, and then under writes, which are returned.
async fn measure(
    name: &str,
    id: u32,
    bench: &Bench,
    place: &Place,
    seconds: u64,
) -> Result<Vec<Write>> {
    let database = bench.mongo.client().await?.database(DATABASE);
    let spaces = bench.spaces()?;
    let cpu = || spent(id).map(|(cpu, _)| cpu).context("it runs");
    let idle = cpu()?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let before = cpu()?;
    say::step(&format!("{name}: {RATE} writes a second for {seconds} s"));
    let writing = tokio::spawn(write(database.collection("moods"), seconds));
    let stored = watch_slices(&spaces, place, &writing).await?;
    let writes = writing.await??;
    let after = cpu()?;
    let memory = resident(id)?;
    let last = writes.last().context("there are writes")?.at;
    let stored = until_stored(&spaces, place, stored, last).await?;
    report(name, &writes, &stored, seconds)?;
    #[expect(clippy::cast_precision_loss, reason = "a figure in a table")]
    let share = |cpu: Duration| format!("{:.2} %", 100.0 * cpu.as_secs_f64() / seconds as f64);
    row(
        "  CPU of one core: idle, and under these writes",
        &[share(before - idle), share(after - before)],
    );
    row("  resident memory, MiB", &[mib(memory)]);
    Ok(writes)
}

/// Writes at a constant rate.
async fn write(collection: mongodb::Collection<Document>, seconds: u64) -> Result<Vec<Write>> {
    let database = collection.client().database(DATABASE);
    let mut writes = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(RATE)?);
    for number in 0..RATE * seconds {
        ticks.tick().await;
        let began = Instant::now();
        let document = doc! { "mood": format!("{number}"), "text": "x".repeat(300) };
        let insert = doc! { "insert": collection.name(), "documents": [document], "writeConcern": { "w": "majority", "j": true } };
        let done = database.run_command(insert).await?;
        writes.push(Write {
            at: done.get_timestamp("operationTime")?,
            acknowledged: Instant::now(),
            took: began.elapsed(),
        });
    }
    Ok(writes)
}

fn show_times(label: &str, writes: &[Write]) {
    let mut times: Vec<Duration> = writes.iter().map(|write| write.took).collect();
    times.sort();
    let cells = shares(&times).map(|time| format!("{:.1} ms", time.as_secs_f64() * 1000.0));
    row(label, &cells);
}

/// The median, 99 % and the longest of sorted times.
fn shares(times: &[Duration]) -> [Duration; 3] {
    [50, 99, 100].map(|share| times[(times.len() - 1) * share / 100])
}

/// Ends of slices, and when each was first seen in storage.
type Stored = Vec<(Position, Instant)>;

async fn watch_slices<T>(
    spaces: &Spaces,
    place: &Place,
    writing: &tokio::task::JoinHandle<T>,
) -> Result<Stored> {
    let mut stored = Stored::new();
    while !writing.is_finished() {
        look(spaces, place, &mut stored).await?;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(stored)
}

async fn until_stored(
    spaces: &Spaces,
    place: &Place,
    mut stored: Stored,
    last: Position,
) -> Result<Stored> {
    let began = Instant::now();
    while stored.last().is_none_or(|(through, _)| *through < last) {
        ensure!(began.elapsed() < LIMIT, "the last write is in no slice");
        look(spaces, place, &mut stored).await?;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(stored)
}

async fn look(spaces: &Spaces, place: &Place, stored: &mut Stored) -> Result<()> {
    let page = spaces.page_below(BUCKET, place.prefix, None).await?;
    for object in page.objects() {
        let through = (place.through)(object.key).context("a slice's key has its positions")?;
        if stored.iter().all(|(known, _)| *known != through) {
            stored.push((through, Instant::now()));
        }
    }
    stored.sort_by_key(|(through, _)| *through);
    Ok(())
}

/// End of a slice, by its key: `.../SECONDS-NUMBER_SECONDS-NUMBER.bson.gz`.
fn through(key: &str) -> Option<Position> {
    let (_, through) = key.strip_suffix(".bson.gz")?.rsplit_once('_')?;
    let (time, increment) = through.split_once('-')?;
    Some(Position {
        time: time.parse().ok()?,
        increment: increment.parse().ok()?,
    })
}

fn report(name: &str, writes: &[Write], stored: &Stored, seconds: u64) -> Result<()> {
    let mut times = Vec::new();
    for write in writes {
        let slice = stored.iter().find(|(through, _)| *through >= write.at);
        let (_, seen) = slice.context("every write is in a slice")?;
        times.push(seen.saturating_duration_since(write.acknowledged));
    }
    times.sort();
    let cells = shares(&times).map(|time| format!("{:.1} s", time.as_secs_f64()));
    row(
        &format!("{name}: from a write to its slice in storage"),
        &["median", "99 %", "longest"],
    );
    row(
        &format!(
            "  {} writes in {seconds} s, {} slices",
            writes.len(),
            stored.len()
        ),
        &cells,
    );
    Ok(())
}
