//! Every container of the default profile in one control group of a droplet's memory without swap, with as much data as AC has: a page open, fifty clients
//! of mongod, a scan, a backup and a drill. Then memory is exhausted, and mongod must survive.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use silo_testkit::say;
use silo_testkit::tools::workspace;

use super::{memory, mongod, runbook, whole};
use crate::droplet::compose::{DEFAULT, Droplet};

/// Memory of a droplet of 1 GB without 200 MB for the system, in bytes.
const AVAILABLE: u64 = 800_000_000;
/// Control group of all containers, and of the hog.
const GROUP: &str = "silo-gigabyte";
/// Clients of mongod, each with a connection of its own.
const CLIENTS: u32 = 50;
/// Interval between two requests of the overview while everything works, and the largest 95th percentile of their duration.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
const P95: Duration = Duration::from_millis(200);
/// Time limit for a new droplet to be healthy.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);

pub(super) async fn carries_a_droplet(main: &Droplet<'_>) -> Result<()> {
    let group = match ControlGroup::new() {
        Ok(group) => group,
        Err(why) => {
            say::skipped("all containers in 800 MB", &format!("{why:#}"));
            return Ok(());
        }
    };
    let name = "silo-gigabyte";
    let mut droplet = Droplet::at(main.engine, name, workspace())?;
    let services = DEFAULT
        .iter()
        .map(|name| format!("  {name}: {{cgroup_parent: /{GROUP}}}\n"));
    let more = droplet.folder.path().join("more.yml");
    std::fs::write(
        &more,
        format!("services:\n{}", services.collect::<String>()),
    )?;
    droplet.set(
        "COMPOSE_FILE",
        format!("docker-compose.yml:{}", more.display()),
    );
    droplet.set("COMPOSE_PROFILES", "demo");
    droplet.set("SILO_TAG", "droplet");
    droplet.set("DEMO_SCALE", "1");
    // More often than on a droplet.
    droplet.set("REFRESH_SECONDS", "10");
    droplet.set("PROBE_SECONDS", "5");
    droplet.leave_out("mongo-express");
    let outcome = all(&droplet, &group).await;
    let ended = droplet.end(outcome.is_err()).await;
    outcome.and(ended)
}

async fn all(droplet: &Droplet<'_>, group: &ControlGroup) -> Result<()> {
    let up = ["up", "--detach", "--no-build", "--scale", "mongo-express=0"];
    droplet.compose(&up).await?;
    droplet.until_healthy(HEALTHY_WITHIN).await?;
    let began = Instant::now();
    let overview = whole::full(droplet).await?;
    say::step(&format!(
        "{} documents after {:.0} s",
        overview["data"]["collections"]["total"]["documents"],
        began.elapsed().as_secs_f64()
    ));
    let clients = clients(droplet).await?;
    let done = AtomicBool::new(false);
    let (worked, asked) = futures_util::join!(
        async {
            let worked = work(droplet).await;
            done.store(true, Ordering::Relaxed);
            worked
        },
        ask(droplet, &done)
    );
    worked?;
    let mut durations = asked?;
    durations.sort_unstable();
    let p95 = durations[durations.len() * 95 / 100];
    say::step(&format!(
        "/api/overview during it: median {:.0} ms, 95th percentile {:.0} ms, of {}",
        durations[durations.len() / 2].as_secs_f64() * 1e3,
        p95.as_secs_f64() * 1e3,
        durations.len()
    ));
    for service in DEFAULT {
        let id = droplet.container(service).await?;
        say::step(&format!("{service:<20} {}", group.of(&id)?));
        let killed = droplet
            .inspect(service, "{{.State.OOMKilled}} {{.RestartCount}}")
            .await?;
        ensure!(
            killed == "false 0",
            "{service} was killed or restarted: {killed}"
        );
    }
    say::step(&format!("{:<20} {}", "together", group.of("")?));
    ensure!(p95 <= P95, "the overview took {p95:?}");
    is_survived(droplet).await?;
    drop(clients);
    Ok(())
}

/// A page, a scan and a backup; then a drill in a container of its own.
async fn work(droplet: &Droplet<'_>) -> Result<()> {
    super::page::drive(droplet, "memory:", async |verb, what| match verb {
        "work" => {
            memory::work(droplet).await?;
            runbook::run(droplet, "silo-backup drill latest").await
        }
        _ => bail!("the script asks to {verb} {what}, which is nothing known"),
    })
    .await
}

/// Durations of requests of the overview.
async fn ask(droplet: &Droplet<'_>, done: &AtomicBool) -> Result<Vec<Duration>> {
    let client = droplet.client().await?;
    let mut durations = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        droplet.get(&client, "/api/overview").await?;
        durations.push(began.elapsed());
        tokio::time::sleep(ASK_INTERVAL).await;
    }
    Ok(durations)
}

/// Clients that have read something, and keep their connections.
async fn clients(droplet: &Droplet<'_>) -> Result<Vec<mongodb::Client>> {
    let mut options: ClientOptions = droplet.mongo_options("mongo_demo").await?;
    options.min_pool_size = Some(1);
    options.max_pool_size = Some(1);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = mongodb::Client::with_options(options.clone())?;
        let moods = client.database("aesthetic").collection::<Document>("moods");
        moods.find_one(doc! {}).await?.context("no document")?;
        clients.push(client);
    }
    Ok(clients)
}

/// A program in the same control group takes all memory: it or a less important container is ended, mongod is not.
async fn is_survived(droplet: &Droplet<'_>) -> Result<()> {
    let started = droplet.inspect("mongo", "{{.State.StartedAt}}").await?;
    let (parent, name) = (format!("/{GROUP}"), &*format!("{}-hog", droplet.project()));
    // As far above mongod's as on a droplet; the demo leaves mongod's at 0.
    let hog = [
        "docker",
        "run",
        "--name",
        name,
        "--oom-score-adj",
        "500",
        "--cgroup-parent",
        &parent,
        "--entrypoint",
        "node",
        "silo-mongo-express:droplet",
        "-e",
        "const all = []; for (;;) all.push(Buffer.alloc(8 << 20, 1));",
    ];
    let ended = droplet.engine.output(&hog).await;
    let state = ["docker", "inspect", "--format", "{{.State.ExitCode}}", name];
    let code = droplet.engine.output(&state).await?;
    droplet.engine.output(&["docker", "rm", name]).await?;
    ensure!(
        ended.is_err() && code.trim() == "137",
        "the program that takes all memory ended with {code}"
    );
    let client = mongod::client(droplet, "mongo_demo").await?;
    let written = client.database("aesthetic").collection("hogs");
    written.insert_one(doc! { "survived": true }).await?;
    written.drop().await?;
    let again = droplet.inspect("mongo", "{{.State.StartedAt}}").await?;
    ensure!(started == again, "mongod was restarted");
    droplet.until_healthy(HEALTHY_WITHIN).await?;
    say::step("memory was exhausted, and mongod went on");
    Ok(())
}

/// A control group with a memory limit, of either version.
struct ControlGroup {
    folder: PathBuf,
    /// Names of the files with usage and limit.
    files: [&'static str; 2],
}

impl ControlGroup {
    fn new() -> Result<Self> {
        let first = Path::new("/sys/fs/cgroup/memory");
        let (folder, files) = if first.is_dir() {
            let files = ["memory.limit_in_bytes", "memory.max_usage_in_bytes"];
            (first.join(GROUP), files)
        } else {
            let files = ["memory.max", "memory.peak"];
            (Path::new("/sys/fs/cgroup").join(GROUP), files)
        };
        let made = std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join(files[0]), AVAILABLE.to_string()));
        made.with_context(|| format!("{} cannot be used", folder.display()))?;
        Ok(Self { folder, files })
    }

    /// The most memory that a container, or all of them, had at a time, with and without the cache of files.
    fn of(&self, container: &str) -> Result<String> {
        let folder = self.folder.join(container);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let peak: u64 = std::fs::read_to_string(folder.join(self.files[1]))?
            .trim()
            .parse()?;
        let stat = std::fs::read_to_string(folder.join("memory.stat"))?;
        let anonymous = stat.lines().find_map(|line| {
            let value = line
                .strip_prefix("total_rss ")
                .or_else(|| line.strip_prefix("anon "));
            value?.parse().ok()
        });
        let now = mib(anonymous.context("memory.stat has no anonymous memory")?);
        Ok(format!(
            "{now:>6.1} MiB of anonymous memory, at most {:>6.1} MiB with cached files",
            mib(peak)
        ))
    }
}
