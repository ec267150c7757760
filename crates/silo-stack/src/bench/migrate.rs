//! Time, CPU and memory of `silo-migrate import`, `compare` and `copy` with the demo set on two real servers, and of the stock mongoimport, file by file.
//! `MONGO_TOOLS` or the `PATH` has mongoimport; without it an import has no peer.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};
use serde_json::json;
use silo_testkit::demo::Demo;
use silo_testkit::mongo::MongoServer;
use silo_testkit::program::write_private;
use silo_testkit::say;
use silo_testkit::tools::stock_tool;
use tempfile::TempDir;
use tokio::process::Command;

use super::measure::{Cost, ratios, row, show, watch};
use crate::build::build;
use crate::stack::DATABASE;

/// Number of runs; the median is reported.
const TIMES: usize = 3;

/// Two servers, a JSON backup of the first, and the optimised binary.
struct Bench {
    program: PathBuf,
    source: MongoServer,
    target: MongoServer,
    folder: TempDir,
    documents: u64,
}

/// Measures import, compare and copy.
pub(super) async fn run(scale: f64) -> Result<()> {
    let program = build(true)?.join("silo-migrate");
    row("", &["wall s", "CPU s", "peak MiB"]);
    let bench = Bench::start(program, scale).await?;
    bench.import().await?;
    bench.compare().await?;
    bench.copy().await
}

impl Bench {
    async fn start(program: PathBuf, scale: f64) -> Result<Self> {
        let mut bench = Self {
            program,
            source: MongoServer::start().await?,
            target: MongoServer::start().await?,
            folder: TempDir::with_prefix("silo-bench-")?,
            documents: 0,
        };
        let database = bench.source.client().await?.database(DATABASE);
        let demo = Demo::new(1, scale, Timestamp::now());
        demo.load(&database, |_, _, _| {}).await?;
        for (name, server) in [("source", &bench.source), ("target", &bench.target)] {
            let uri = server.uri().replacen("/?", &format!("/{DATABASE}?"), 1);
            write_private(&bench.folder.path().join(name), &uri)?;
        }
        say::step("exporting the demo set as JSON");
        bench.documents = export(&database, &bench.backup()).await?;
        Ok(bench)
    }

    /// Folder of the JSON backup.
    fn backup(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    async fn import(&self) -> Result<()> {
        let mut imports = Vec::new();
        for _ in 0..TIMES {
            self.forget().await?;
            let backup = self.backup().display().to_string();
            let arguments = ["import", &backup, "--to-file", &self.file("target")];
            imports.push(self.silo_migrate(&arguments).await?);
        }
        let silo = show("silo-migrate import, the demo set", imports);
        let Some(mongoimport) = stock_tool("mongoimport") else {
            say::skipped("mongoimport as a peer", "it is not installed");
            return Ok(());
        };
        let mut peers = Vec::new();
        for at in 0..TIMES {
            let database = format!("peer_{at}");
            peers.push(self.mongoimport(&mongoimport, &database).await?);
            self.target
                .client()
                .await?
                .database(&database)
                .drop()
                .await?;
        }
        let peer = show("mongoimport, file by file", peers);
        ratios("import: silo / mongoimport", &silo, &peer);
        Ok(())
    }

    async fn compare(&self) -> Result<()> {
        let mut compares = Vec::new();
        for _ in 0..TIMES {
            let arguments = ["compare", &self.file("source"), &self.file("target")];
            compares.push(self.silo_migrate(&arguments).await?);
        }
        let cost = show("silo-migrate compare, equal databases", compares);
        self.rate("documents compared a second", &cost);
        Ok(())
    }

    async fn copy(&self) -> Result<()> {
        let mut copies = Vec::new();
        for _ in 0..TIMES {
            self.forget().await?;
            let arguments = [
                "copy",
                &self.file("source"),
                &self.file("target"),
                "--rate",
                "100000",
            ];
            copies.push(self.silo_migrate(&arguments).await?);
        }
        let cost = show("silo-migrate copy, without a limit", copies);
        self.rate("documents copied a second", &cost);
        Ok(())
    }

    fn rate(&self, name: &str, cost: &Cost) {
        let millis = cost.wall.as_millis().max(1);
        row(
            name,
            &[(u128::from(self.documents) * 1000 / millis).to_string()],
        );
    }

    /// Drops everything on the target.
    async fn forget(&self) -> Result<()> {
        let client = self.target.client().await?;
        client.database(DATABASE).drop().await?;
        Ok(client.database("silo").drop().await?)
    }

    async fn silo_migrate(&self, arguments: &[&str]) -> Result<Cost> {
        let began = Instant::now();
        let mut child = Command::new(&self.program)
            .args(arguments)
            .args(["--json", "--quiet"])
            .env_clear()
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let cost = watch(&mut [&mut child], began).await?;
        let status = child.wait().await?;
        if !status.success() {
            bail!("silo-migrate {} ended with {status}", arguments.join(" "));
        }
        Ok(cost)
    }

    /// Sum of the cost of all files, and the largest memory.
    async fn mongoimport(&self, mongoimport: &Path, database: &str) -> Result<Cost> {
        let mut all = Cost {
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            peak_kib: 0,
        };
        for entry in fs::read_dir(self.backup())? {
            let file = entry?.path();
            let name = file.file_stem().and_then(|name| name.to_str());
            let name = name.context("the name of a collection")?;
            if name == "_manifest" {
                continue;
            }
            let began = Instant::now();
            let mut child = Command::new(mongoimport)
                .arg(format!("--host={}", self.target.address()))
                .arg(format!("--db={database}"))
                .arg(format!("--collection={name}"))
                .arg(format!("--file={}", file.display()))
                .args(["--stopOnError", "--quiet"])
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .spawn()?;
            let cost = watch(&mut [&mut child], began).await?;
            if !child.wait().await?.success() {
                bail!("mongoimport failed with {name}");
            }
            all.wall += cost.wall;
            all.cpu += cost.cpu;
            all.peak_kib = all.peak_kib.max(cost.peak_kib);
        }
        Ok(all)
    }
}

/// Writes every collection as lines of canonical Extended JSON, with a manifest. Returns the number of documents.
async fn export(database: &Database, folder: &Path) -> Result<u64> {
    fs::create_dir_all(folder)?;
    let (mut entries, mut total) = (Vec::new(), 0);
    for plan in Demo::plans() {
        let mut file = BufWriter::new(fs::File::create(
            folder.join(format!("{}.json", plan.name)),
        )?);
        let mut documents = database
            .collection::<Document>(plan.name)
            .find(doc! {})
            .await?;
        let mut count: u64 = 0;
        while let Some(document) = documents.try_next().await? {
            writeln!(
                file,
                "{}",
                Bson::Document(document).into_canonical_extjson()
            )?;
            count += 1;
        }
        file.flush()?;
        let indexes: Vec<Document> = database
            .run_cursor_command(doc! { "listIndexes": plan.name })
            .await?
            .try_collect()
            .await?;
        let indexes: Vec<_> = indexes
            .into_iter()
            .map(|index| Bson::Document(index).into_canonical_extjson())
            .collect();
        entries.push(json!({ "name": plan.name, "count": count, "indexes": indexes }));
        total += count;
    }
    let manifest = json!({ "collections": entries });
    fs::write(folder.join("_manifest.json"), manifest.to_string())?;
    Ok(total)
}
