//! What a backup costs: time, CPU and memory of `silo-backup run`, which reads, stores, reads back and compares; beside the later stages
//! alone of what it replaces (`mongodump --archive --gzip | rclone rcat`), because mongodump cannot be had everywhere; and of a restore.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use mongodb::bson::{Document, doc};
use serde_json::Value;
use silo_core::secret::Secret;
use silo_spaces::Spaces;
use silo_spaces::endpoint::{Addressing, Endpoint, Limits};
use silo_testkit::demo::Demo;
use silo_testkit::mongo::{self, MongoServer};
use silo_testkit::s3::{KEY, Kind, S3Server, SECRET};
use silo_testkit::say;
use silo_testkit::tools::Tool;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{mib, row, spent};
use crate::build::build;
use crate::stack::DATABASE;

/// How often each is done; the median is told.
const TIMES: usize = 3;
const BUCKET: &str = "backups";
/// How much is in one document of the large set.
const LARGE_DOCUMENT: usize = 4096;

/// What something cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    wall: Duration,
    cpu: Duration,
    peak_kib: u64,
}

/// A database, a bucket, and the optimised binary.
struct Bench {
    program: PathBuf,
    mongo: MongoServer,
    s3: S3Server,
    folder: TempDir,
}

/// Measures the demo set and a large one.
pub(super) async fn run(scale: f64, megabytes: usize) -> Result<()> {
    let program = build(true)?.join("silo-backup");
    row("", &["wall s", "CPU s", "peak MiB"]);
    let bench = Bench::start(&program).await?;
    let demo = Demo::new(1, scale, Timestamp::now());
    demo.load(
        &bench.mongo.client().await?.database(DATABASE),
        |_, _, _| {},
    )
    .await?;
    bench.measure("the demo set").await?;
    drop(bench);
    if megabytes > 0 {
        let bench = Bench::start(&program).await?;
        say::step(&format!("loading {megabytes} MB"));
        bench.load(megabytes).await?;
        bench.measure(&format!("{megabytes} MB")).await?;
    }
    Ok(())
}

impl Bench {
    async fn start(program: &Path) -> Result<Self> {
        let mongo = MongoServer::start_with_users(mongo::Kind::Rust, DATABASE).await?;
        let s3 = S3Server::start(Kind::Files).await?;
        let bench = Self {
            program: program.into(),
            mongo,
            s3,
            folder: TempDir::with_prefix("silo-bench-")?,
        };
        bench.spaces()?.create_bucket(BUCKET).await?;
        Ok(bench)
    }

    fn spaces(&self) -> Result<Spaces> {
        let (key, secret) = (Secret::new(KEY), Secret::new(SECRET));
        let endpoint = Endpoint {
            url: self.s3.url(),
            region: "us-east-1".into(),
            key,
            secret,
            addressing: Addressing::Path,
        };
        Ok(Spaces::new(&endpoint, Limits::default())?)
    }

    /// Documents that compress about as AC's do.
    async fn load(&self, megabytes: usize) -> Result<()> {
        let large = self
            .mongo
            .client()
            .await?
            .database(DATABASE)
            .collection::<Document>("large");
        let batch = 1_000_000 / LARGE_DOCUMENT;
        for at in 0..megabytes {
            let documents = (0..batch).map(|number| {
                let seed = (at * batch + number).wrapping_mul(2_654_435_761);
                let text: String = (0..LARGE_DOCUMENT / 8)
                    .map(|word| format!("{:07x} ", seed.wrapping_mul(word + 1) % 0xfff_ffff))
                    .collect();
                doc! { "at": i64::try_from(at).unwrap_or(0), "text": text }
            });
            large.insert_many(documents).ordered(false).await?;
        }
        Ok(())
    }

    async fn measure(&self, name: &str) -> Result<()> {
        let (mut runs, mut made) = (Vec::new(), Value::Null);
        for _ in 0..TIMES {
            let (cost, result) = self.silo(&["run"]).await?;
            runs.push(cost);
            made = result;
        }
        let silo = show(&format!("silo-backup run, {name}"), runs);
        let plain = self.plain(&made).await?;
        let mut stages = Vec::new();
        for _ in 0..TIMES {
            stages.push(self.stages(&plain).await?);
        }
        let stages = show(
            &format!("gzip -6 | rclone rcat, {name} as an archive"),
            stages,
        );
        let ratio = |a: Duration, b: Duration| format!("{:.2}", a.as_secs_f64() / b.as_secs_f64());
        row(
            "silo, all of it / those two stages alone",
            &[ratio(silo.wall, stages.wall), ratio(silo.cpu, stages.cpu)],
        );
        let mut restores = Vec::new();
        let mut rate = 0;
        for at in 0..TIMES {
            let (to, database) = (self.mongo.uri(), format!("back_{at}"));
            let (cost, restored) = self
                .silo(&["restore", "latest", "--to", &to, "--database", &database])
                .await?;
            rate = restored["documents"].as_u64().unwrap_or(0) * 1000
                / restored["tookMs"].as_u64().unwrap_or(1).max(1);
            restores.push(cost);
            self.mongo
                .client()
                .await?
                .database(&database)
                .drop()
                .await?;
        }
        show(&format!("silo-backup restore, {name}"), restores);
        row(
            "documents restored and compared a second",
            &[rate.to_string()],
        );
        Ok(())
    }

    /// One command of silo-backup, and what it said.
    async fn silo(&self, arguments: &[&str]) -> Result<(Cost, Value)> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .args(["--json", "--quiet"])
            .env_clear()
            .env("MONGODB_CONNECTION_STRING", self.mongo.backup_uri())
            .env("SPACES_ENDPOINT", self.s3.url())
            .env("SPACES_KEY", KEY)
            .env("SPACES_SECRET", SECRET)
            .env("BACKUP_BUCKET", BUCKET)
            .env("BACKUP_EXPECTED", "none")
            .env("BACKUP_FOLDER", self.folder.path())
            .stdout(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn()?;
        let cost = watch(&mut [&mut child], began).await?;
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            bail!(
                "silo-backup {} ended with {}",
                arguments.join(" "),
                output.status
            );
        }
        Ok((cost, serde_json::from_slice(&output.stdout)?))
    }

    /// The archive of a backup, not compressed, in a file: what mongodump would have written.
    async fn plain(&self, made: &Value) -> Result<PathBuf> {
        use futures_util::TryStreamExt;
        let id = made["id"].as_str().context("a backup has an id")?;
        let key = format!("backups/mongo/data/{id}.archive.gz");
        let mut stored = std::pin::pin!(self.spaces()?.get(BUCKET, &key, None).await?);
        let compressed = self.folder.path().join("archive.gz");
        let mut file = tokio::fs::File::create(&compressed).await?;
        while let Some(piece) = stored.try_next().await? {
            tokio::io::AsyncWriteExt::write_all(&mut file, &piece).await?;
        }
        file.sync_all().await?;
        let status = Command::new("gzip")
            .args(["-d", "-f"])
            .arg(&compressed)
            .status()
            .await?;
        if !status.success() {
            bail!("stock gzip does not decompress the archive");
        }
        Ok(self.folder.path().join("archive"))
    }

    /// Compressing and uploading alone, by stock tools.
    async fn stages(&self, plain: &Path) -> Result<Cost> {
        let began = Instant::now();
        let mut gzip = Command::new("gzip")
            .args(["-6", "-c"])
            .arg(plain)
            .stdout(Stdio::piped())
            .spawn()?;
        let from: Stdio = gzip.stdout.take().context("gzip writes")?.try_into()?;
        let remote = format!(
            ":s3,provider=Other,access_key_id={KEY},secret_access_key={SECRET},endpoint=\"{}\",force_path_style=true:{BUCKET}/peer.gz",
            self.s3.url()
        );
        let mut rclone = Command::new(Tool::Rclone.installed()?)
            .args(["rcat", "--config", "/dev/null", &remote])
            .stdin(from)
            .stderr(Stdio::null())
            .spawn()?;
        let cost = watch(&mut [&mut gzip, &mut rclone], began).await?;
        if !(gzip.wait().await?.success() && rclone.wait().await?.success()) {
            bail!("gzip | rclone failed");
        }
        Ok(cost)
    }
}

/// Looks at processes until all have ended, and adds up what they cost.
async fn watch(children: &mut [&mut Child], began: Instant) -> Result<Cost> {
    let ids: Vec<u32> = children.iter().filter_map(|child| child.id()).collect();
    let mut last = vec![(Duration::ZERO, 0); ids.len()];
    loop {
        for (at, id) in ids.iter().enumerate() {
            if let Some((cpu, peak)) = spent(*id) {
                last[at] = (cpu, peak);
            }
        }
        // A process that has ended and was not waited for tells no memory any more.
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
fn show(name: &str, costs: Vec<Cost>) -> Cost {
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
