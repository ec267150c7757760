//! Time, CPU and memory of `silo-backup run` and `restore` on the real mongod and Ceph RGW, beside what they replace: `mongodump --archive --gzip |
//! rclone rcat`, and mongorestore from a local file. `MONGO_TOOLS` or the `PATH` has the stock tools. Without mongodump its peer is `gzip | rclone
//! rcat` of the same archive alone, which leaves out reading the database; without mongorestore a restore has no peer.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde_json::Value;
use silo_core::secret::Secret;
use silo_spaces::Spaces;
use silo_spaces::endpoint::{Addressing, Endpoint, Limits};
use silo_testkit::demo::Demo;
use silo_testkit::mongo::MongoServer;
use silo_testkit::s3::Storage;
use silo_testkit::say;
use silo_testkit::tools::{Tool, stock_tool};
use tempfile::TempDir;
use tokio::process::Command;

use super::measure::{Cost, ratios, row, show, watch};
use crate::build::build;
use crate::stack::DATABASE;

/// Number of runs; the median is reported.
const TIMES: usize = 3;
pub(super) const BUCKET: &str = "backups";
/// Size of the demo data at scale 1, in MB.
const DEMO_MEGABYTES: f64 = 124.0;

/// A database, a bucket, and the optimised binary.
pub(super) struct Bench {
    program: PathBuf,
    pub(super) mongo: MongoServer,
    pub(super) s3: Storage,
    folder: TempDir,
}

/// Measures the demo set and a large one.
pub(super) async fn run(scale: f64, megabytes: usize) -> Result<()> {
    let program = build(true)?.join("silo-backup");
    row("", &["wall s", "CPU s", "peak MiB"]);
    measure(&program, scale, "the demo set").await?;
    if megabytes > 0 {
        #[expect(clippy::cast_precision_loss, reason = "for a scale only")]
        let scale = megabytes as f64 / DEMO_MEGABYTES;
        measure(&program, scale, &format!("{megabytes} MB")).await?;
    }
    Ok(())
}

/// Measures with so much demo data.
async fn measure(program: &Path, scale: f64, name: &str) -> Result<()> {
    let bench = Bench::start(program, Storage::new().await?).await?;
    let database = bench.mongo.client().await?.database(DATABASE);
    say::step(&format!("loading {name}"));
    let demo = Demo::new(1, scale, Timestamp::now());
    demo.load(&database, |_, _, _| {}).await?;
    bench.measure(name).await
}

impl Bench {
    pub(super) async fn start(program: &Path, s3: Storage) -> Result<Self> {
        let mongo = MongoServer::start_with_accounts(DATABASE).await?;
        let bench = Self {
            program: program.into(),
            mongo,
            s3,
            folder: TempDir::with_prefix("silo-bench-")?,
        };
        bench.spaces()?.create_bucket(BUCKET).await?;
        Ok(bench)
    }

    pub(super) fn spaces(&self) -> Result<Spaces> {
        let account = &self.s3.account;
        let endpoint = Endpoint {
            url: self.s3.url(),
            region: "us-east-1".into(),
            key: Secret::new(&account.key),
            secret: Secret::new(&account.secret),
            addressing: Addressing::Path,
        };
        Ok(Spaces::new(&endpoint, Limits::default())?)
    }

    async fn measure(&self, name: &str) -> Result<()> {
        let zstd = self.measure_run(name, "zstd").await?.0;
        let (silo, made) = self.measure_run(name, "gzip").await?;
        let plain = self.plain(&made).await?;
        let mut peers = Vec::new();
        let dump = stock_tool("mongodump");
        for _ in 0..TIMES {
            peers.push(match &dump {
                Some(mongodump) => self.dump(mongodump).await?,
                None => self.stages(&plain).await?,
            });
        }
        let peer = if dump.is_some() {
            "mongodump --gzip | rclone rcat"
        } else {
            "gzip -6 | rclone rcat of the archive alone (mongodump is not installed)"
        };
        let peer = show(&format!("{peer}, {name}"), peers);
        ratios("backup with gzip: silo / peer", &silo, &peer);
        ratios("backup with zstd: silo / peer", &zstd, &peer);
        self.measure_restore(name, &plain).await
    }

    /// Measures backups with a compression. Returns the median, and the last result.
    async fn measure_run(&self, name: &str, compression: &str) -> Result<(Cost, Value)> {
        let (mut runs, mut made) = (Vec::new(), Value::Null);
        for _ in 0..TIMES {
            self.empty().await?;
            let (cost, result) = self
                .run_silo_backup_with(&["run"], &[("BACKUP_COMPRESSION", compression)])
                .await?;
            runs.push(cost);
            made = result;
        }
        Ok((
            show(&format!("silo-backup run with {compression}, {name}"), runs),
            made,
        ))
    }

    async fn measure_restore(&self, name: &str, plain: &Path) -> Result<()> {
        let (mut restores, mut rate) = (Vec::new(), 0);
        for at in 0..TIMES {
            let database = format!("back_{at}");
            let to = self.uri_file()?;
            let (cost, restored) = self
                .run_silo_backup(&[
                    "restore",
                    "latest",
                    "--to-file",
                    &to,
                    "--database",
                    &database,
                ])
                .await?;
            rate = restored["documents"].as_u64().unwrap_or(0) * 1000
                / restored["durationMs"].as_u64().unwrap_or(1).max(1);
            restores.push(cost);
            self.forget(&database).await?;
        }
        let silo = show(&format!("silo-backup restore, {name}"), restores);
        row(
            "documents restored and compared a second",
            &[rate.to_string()],
        );
        let Some(mongorestore) = stock_tool("mongorestore") else {
            say::skipped("mongorestore as a peer", "it is not installed");
            return Ok(());
        };
        let mut peers = Vec::new();
        for at in 0..TIMES {
            let database = format!("peer_{at}");
            peers.push(self.stock_restore(&mongorestore, plain, &database).await?);
            self.forget(&database).await?;
        }
        let peer = show(&format!("mongorestore from a local file, {name}"), peers);
        ratios("restore: silo / mongorestore", &silo, &peer);
        Ok(())
    }

    /// Deletes what earlier runs have stored, and silo-backup's memory of it: the storage is in memory.
    async fn empty(&self) -> Result<()> {
        let spaces = self.spaces()?;
        loop {
            let page = spaces.page(BUCKET, None).await?;
            for object in page.objects() {
                spaces.delete(BUCKET, object.key).await?;
            }
            if page.objects().len() == 0 {
                break;
            }
        }
        self.forget("silo").await
    }

    pub(super) async fn forget(&self, database: &str) -> Result<()> {
        let client = self.mongo.client().await?;
        Ok(client.database(database).drop().await?)
    }

    /// File with the server's connection string, for `--to-file`.
    pub(super) fn uri_file(&self) -> Result<String> {
        use std::os::unix::fs::PermissionsExt;
        let file = self.file("uri");
        std::fs::write(&file, self.mongo.uri())?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        Ok(file)
    }

    /// Path of a file in a folder that is deleted at the end.
    pub(super) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Runs a command of silo-backup; returns its cost and output.
    pub(super) async fn run_silo_backup(&self, arguments: &[&str]) -> Result<(Cost, Value)> {
        self.run_silo_backup_with(arguments, &[]).await
    }

    /// Like [`Self::run_silo_backup`], with more settings.
    async fn run_silo_backup_with(
        &self,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<(Cost, Value)> {
        let mut command = self.command(arguments);
        command
            .args(["--json", "--quiet"])
            .envs(settings.iter().copied())
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

    /// A command of silo-backup with its settings.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .env("MONGODB_CONNECTION_STRING", self.mongo.backup_uri())
            .env("SPACES_ENDPOINT", self.s3.url())
            .env("SPACES_KEY", &self.s3.account.key)
            .env("SPACES_SECRET", &self.s3.account.secret)
            .env("BACKUP_BUCKET", BUCKET)
            .env("BACKUP_EXPECTED", "none")
            .env("BACKUP_FOLDER", self.folder.path())
            .kill_on_drop(true);
        command
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
        let mut gzip = Command::new("gzip");
        gzip.args(["-6", "-c"]).arg(plain);
        self.pipe_to_rclone(gzip).await
    }

    /// Cost of the stock mongodump.
    async fn dump(&self, mongodump: &Path) -> Result<Cost> {
        let mut dump = Command::new(mongodump);
        dump.arg(format!("--uri={}", self.mongo.uri()))
            .arg(format!("--db={DATABASE}"))
            .args(["--archive", "--gzip", "--quiet"]);
        self.pipe_to_rclone(dump).await
    }

    /// A program whose output `rclone rcat` stores.
    async fn pipe_to_rclone(&self, mut from: Command) -> Result<Cost> {
        let began = Instant::now();
        let mut from = from
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipe: Stdio = from.stdout.take().context("it writes")?.try_into()?;
        let account = &self.s3.account;
        let remote = format!(
            ":s3,provider=Ceph,access_key_id={},secret_access_key={},endpoint=\"{}\",force_path_style=true:{BUCKET}/peer.gz",
            account.key,
            account.secret,
            self.s3.url()
        );
        let mut rclone = Command::new(Tool::Rclone.installed()?)
            .args(["rcat", "--config", "/dev/null", &remote])
            .stdin(pipe)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let cost = watch(&mut [&mut from, &mut rclone], began).await?;
        if !(from.wait().await?.success() && rclone.wait().await?.success()) {
            bail!("the peer of the backup failed");
        }
        Ok(cost)
    }

    async fn stock_restore(
        &self,
        mongorestore: &Path,
        plain: &Path,
        database: &str,
    ) -> Result<Cost> {
        let began = Instant::now();
        let mut restore = Command::new(mongorestore)
            .arg(format!("--uri={}", self.mongo.uri()))
            .arg(format!("--archive={}", plain.display()))
            .arg(format!("--nsFrom={DATABASE}.*"))
            .arg(format!("--nsTo={database}.*"))
            .args(["--stopOnError", "--quiet"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let cost = watch(&mut [&mut restore], began).await?;
        if !restore.wait().await?.success() {
            bail!("mongorestore failed");
        }
        Ok(cost)
    }
}
