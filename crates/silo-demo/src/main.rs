//! The silo-demo process: `fill` puts demo data into an empty database and empty storage, and ends; `services` plays AC's services.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use silo_core::secret::Secret;
use silo_mongo::connect::{Patience, connect};
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_spaces::Spaces;
use silo_testkit::ac::{Role, Simulator};
use silo_testkit::demo::Demo;
use silo_testkit::say;
use tokio::signal::unix::{SignalKind, signal};

/// Time limit for the servers to become available.
const UP_WITHIN: Duration = Duration::from_secs(180);
/// AC's services, each at its own port.
const SERVICES: [(&str, Role, u16); 3] = [
    ("oven", Role::Oven, 3002),
    ("session", Role::Session, 8889),
    ("atproto", Role::Atproto, 2583),
];

/// Demo data, and who plays AC's services.
#[derive(Parser)]
#[command(name = "silo-demo", version)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Put demo data into an empty database and empty storage
    Fill(Fill),
    /// Play oven (port 3002), the session server (8889) and the AT-protocol server (2583)
    Services,
}

#[derive(Args)]
struct Fill {
    /// A file with the connection string of an account that may write
    #[arg(long, env = "MONGODB_CONNECTION_STRING_FILE")]
    mongo_file: PathBuf,
    #[arg(long, env = "MONGODB_NAME", default_value = "aesthetic")]
    database: String,
    #[arg(long, env = "SPACES_ENDPOINT")]
    endpoint: String,
    #[arg(long, env = "SPACES_KEY", default_value = "demo-key")]
    key: String,
    #[arg(long, env = "SPACES_SECRET", default_value = "demo-secret")]
    secret: String,
    /// A bucket for backups
    #[arg(long, env = "BACKUP_BUCKET")]
    backups: String,
    /// URL of silo-storage-api, to start a scan after uploading
    #[arg(long, env = "STORAGE_API_URL")]
    storage_api: Option<String>,
    /// Size of the demo data, as a share of AC's own
    #[arg(long, env = "DEMO_SCALE", default_value_t = 0.2)]
    scale: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Verb::Fill(fill) => fill.run().await,
        Verb::Services => services().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failed(&error);
            ExitCode::FAILURE
        }
    }
}

impl Fill {
    async fn run(self) -> Result<()> {
        let uri = std::fs::read_to_string(&self.mongo_file)?;
        let uri = Secret::new(uri.trim());
        let client = connect(&uri, "silo-demo", Patience::Interactive).await?;
        let database = client.database(&self.database);
        let spaces = silo_demo::client(&self.endpoint, &self.key, &self.secret)?;
        let demo = Demo::new(1, self.scale, Timestamp::now());
        until("mongod does not answer", async || {
            is_whole(&database, &demo).await
        })
        .await?;
        until("storage does not answer", async || {
            Ok(silo_demo::make_bucket(&spaces, &self.backups).await?)
        })
        .await?;
        if is_whole(&database, &demo).await? {
            say::done("the database is filled already");
        } else {
            say::step("loading demo documents");
            // Leftovers of an interrupted attempt.
            for plan in Demo::plans() {
                database.collection::<Document>(plan.name).drop().await?;
            }
            demo.load(&database, |_, _, _| {}).await?;
            say::done("the database is filled");
        }
        self.put(&demo, &spaces).await
    }

    async fn put(&self, demo: &Demo, spaces: &Spaces) -> Result<()> {
        say::step("putting demo objects");
        silo_demo::put(demo, spaces, || {}).await?;
        say::done("storage is filled");
        let Some(storage_api) = &self.storage_api else {
            return Ok(());
        };
        // The service may have scanned before the buckets existed; its next scan is in six hours.
        until("silo-storage-api does not scan", async || {
            let answer = reqwest::Client::new()
                .post(format!("{storage_api}/api/storage/rescan"))
                .header("X-Silo-Operator", "demo")
                .send()
                .await?;
            answer.error_for_status()?;
            Ok(())
        })
        .await
    }
}

/// `true` if the data that is loaded last exists.
async fn is_whole(database: &Database, demo: &Demo) -> Result<bool> {
    let filled = Demo::plans().filter(|plan| demo.count(plan) > 0);
    let Some(last) = filled.last() else {
        return Ok(true);
    };
    let last = database.collection::<Document>(last.name);
    Ok(last.find_one(doc! {}).await?.is_some())
}

/// Retries until success, and logs the reason for waiting.
async fn until<T>(what: &str, mut tried: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let mut last_message = String::new();
    loop {
        match tried().await {
            Ok(got) => return Ok(got),
            Err(error) if began.elapsed() > UP_WITHIN => {
                return Err(error).context(what.to_owned());
            }
            Err(error) => {
                let message = format!("{what} yet: {error:#}");
                if message != last_message {
                    say::step(&message);
                }
                last_message = message;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

async fn services() -> Result<()> {
    let mut played = Vec::new();
    for (name, role, port) in SERVICES {
        played.push(Simulator::start_at(role, (Ipv4Addr::UNSPECIFIED, port)).await?);
        say::done(&format!("{name} is played at port {port}"));
    }
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(played);
    Ok(())
}
