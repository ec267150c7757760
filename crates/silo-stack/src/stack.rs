//! The processes of the local stack: mongod and an S3 server with demo data, the services, Caddy.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use silo_testkit::ac::Simulator;
use silo_testkit::demo::Demo;
use silo_testkit::mongo::{MongoServer, Setup};
use silo_testkit::process::{LineSink, Process};
use silo_testkit::s3::SeaweedFs;
use silo_testkit::say;
use silo_testkit::wait::wait_for;
use tempfile::TempDir;

mod backup;
mod caddy;
mod load;
mod part;
mod services;
mod storage;

use self::load::load;
use self::part::Part;
use crate::build::build;

/// Time limit for a process to become ready.
const UP_WITHIN: Duration = Duration::from_secs(20);
/// AC's name of the database.
pub const DATABASE: &str = "aesthetic";

/// Configuration of a stack.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `true` to run optimised binaries.
    pub release: bool,
    /// An existing server instead of our own with demo data.
    pub mongo: Option<String>,
    /// Scale of the demo data; 1 is the seed report's size.
    pub scale: f64,
    /// The seed of the demo data.
    pub seed: u64,
    /// Caddy's port; 0 for any.
    pub port: u16,
    /// `true` to print log lines.
    pub follow: bool,
    /// User and password for signing in; `None` for open access.
    pub sign_in: Option<(String, String)>,
    /// Refresh interval of the services, if not their default.
    pub refresh_seconds: Option<u64>,
}

impl Default for Plan {
    /// A small stack for a test.
    fn default() -> Self {
        Self {
            release: false,
            mongo: None,
            scale: 0.02,
            seed: 7,
            port: 0,
            follow: false,
            sign_in: None,
            refresh_seconds: None,
        }
    }
}

/// A running stack. Dropping it kills all processes.
pub struct Stack {
    /// URL of the dashboard.
    pub address: String,
    /// Demo data in the stack; `None` if it uses an existing server.
    pub demo: Option<Demo>,
    parts: Vec<Part>,
    mongo: Option<MongoServer>,
    s3: Option<SeaweedFs>,
    simulators: Vec<(&'static str, Simulator)>,
    folder: TempDir,
    plan: Plan,
    port: u16,
}

impl Stack {
    /// Builds and starts everything, in the order in which one needs the other, and waits until each part is ready.
    pub async fn start(plan: Plan) -> Result<Self> {
        let binaries = build(plan.release)?;
        let folder = TempDir::with_prefix("silo-stack-")?;
        // Kept until Caddy starts, which is last: another process could take the port meanwhile.
        let reserved = reserve(plan.port)?;
        let port = reserved.local_addr()?.port();
        let address = format!("http://127.0.0.1:{port}");
        let mut stack = Self {
            address,
            demo: None,
            parts: Vec::new(),
            mongo: None,
            s3: None,
            simulators: Vec::new(),
            folder,
            plan,
            port,
        };
        let uri = stack.start_mongo().await?;
        let history = stack.folder.path().join("db").display().to_string();
        let db_api = stack
            .start_service(
                "silo-db-api",
                &binaries,
                &[
                    ("MONGODB_CONNECTION_STRING", uri),
                    ("MONGODB_NAME", DATABASE.into()),
                    ("DB_FOLDER", history),
                ],
            )
            .await?;
        let storage_api = stack.start_storage(&binaries, &db_api).await?;
        let backup = stack.start_backup(&binaries).await?;
        let probe = stack
            .start_services(&binaries, [&db_api, &storage_api, &backup])
            .await?;
        let gate = stack.start_gate(&binaries).await?;
        let services = [
            ("SILO_GATE", gate),
            ("SILO_DB_API", db_api),
            ("SILO_STORAGE_API", storage_api),
            ("SILO_SERVICES_PROBE", probe),
            ("SILO_BACKUP", backup),
        ];
        drop(reserved);
        stack.start_caddy(&services).await?;
        Ok(stack)
    }

    /// Starts silo-gate; with open access it still restricts /db.
    async fn start_gate(&mut self, binaries: &Path) -> Result<String> {
        let nobody = || ("nobody".to_owned(), "nobody's password".to_owned());
        let (user, password) = self.plan.sign_in.clone().unwrap_or_else(nobody);
        let line = silo_gate::users::line(&user, &password).map_err(anyhow::Error::msg)?;
        self.start_service("silo-gate", binaries, &[("SILO_USERS", line)])
            .await
    }

    /// Ends everything, the last started first.
    pub async fn stop(mut self) -> Result<()> {
        for part in self.parts.iter_mut().rev() {
            part.stop().await?;
        }
        if let Some(s3) = self.s3.take() {
            s3.stop().await?;
        }
        if let Some(mut mongo) = self.mongo.take() {
            mongo.stop().await?;
        }
        Ok(())
    }

    /// Ends one part; it can be started again.
    pub async fn stop_part(&mut self, name: &str) -> Result<()> {
        match (name, &mut self.mongo) {
            ("mongo", Some(mongo)) => Ok(mongo.stop().await?),
            _ => self.part(name)?.stop().await,
        }
    }

    /// Starts a part again, where it was.
    pub async fn start_part(&mut self, name: &str) -> Result<()> {
        match (name, &mut self.mongo) {
            ("mongo", Some(mongo)) => Ok(mongo.start_again().await?),
            _ => self.part(name)?.start(),
        }
    }

    /// Waits until a process ends by itself; returns its name and exit status.
    pub async fn first_to_end(&mut self) -> String {
        loop {
            for part in &mut self.parts {
                if let Some(status) = part.process.as_mut().and_then(Process::ended) {
                    let last = part
                        .process
                        .as_ref()
                        .map(|process| process.last_lines().join("\n  "))
                        .unwrap_or_default();
                    return format!(
                        "{} ended with {status}; its last lines:\n  {last}",
                        part.name
                    );
                }
            }
            if let Some(status) = self
                .mongo
                .as_mut()
                .and_then(MongoServer::process)
                .and_then(Process::ended)
            {
                return format!("mongod ended with {status}");
            }
            let s3 = self.s3.as_mut().map(SeaweedFs::process);
            if let Some(status) = s3.and_then(Process::ended) {
                return format!("the S3 server ended with {status}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The mongod, unless the stack uses an existing server.
    pub fn mongo(&mut self) -> Option<&mut MongoServer> {
        self.mongo.as_mut()
    }

    /// The S3 server.
    pub fn s3(&self) -> Option<&SeaweedFs> {
        self.s3.as_ref()
    }

    /// Simulator of one of AC's services.
    pub fn simulator(&self, name: &str) -> Option<&Simulator> {
        self.simulators
            .iter()
            .find_map(|(known, simulator)| (*known == name).then_some(simulator))
    }

    /// The process id of a part.
    pub fn id(&mut self, name: &str) -> Option<u32> {
        self.part(name).ok()?.process.as_ref()?.id()
    }

    /// The last lines that a part wrote.
    pub fn last_lines(&self, name: &str) -> Vec<String> {
        let part = self.parts.iter().find(|part| part.name == name);
        let process = part.and_then(|part| part.process.as_ref());
        process.map(Process::last_lines).unwrap_or_default()
    }

    /// The address of a service itself, without Caddy.
    pub fn direct(&mut self, name: &str) -> Option<String> {
        self.part(name)
            .ok()?
            .environment
            .get("BIND")
            .map(|bind| format!("http://{bind}"))
    }

    fn part(&mut self, name: &str) -> Result<&mut Part> {
        self.parts
            .iter_mut()
            .find(|part| part.name == name)
            .with_context(|| format!("there is no part called {name}"))
    }

    async fn start_mongo(&mut self) -> Result<String> {
        if let Some(uri) = self.plan.mongo.clone() {
            say::done("using an existing mongod; nothing is written to it");
            return Ok(uri);
        }
        say::step("starting mongod");
        // The oplog of the droplet: a restore test needs twice the size of the data.
        let setup = Setup::default()
            .accounts(DATABASE)
            .arguments(&["--oplogSize", "1024"]);
        let mongo = setup.log_to(self.sink("mongo", "33")).start().await?;
        say::done(
            "mongod is up and requires sign-in; silo-db-api has an account that can only read",
        );
        let demo = Demo::new(self.plan.seed, self.plan.scale, Timestamp::now());
        load(&demo, &mongo.client().await?.database(DATABASE)).await?;
        let uri = mongo.reader_uri();
        self.mongo = Some(mongo);
        self.demo = Some(demo);
        Ok(uri)
    }

    async fn start_service(
        &mut self,
        name: &'static str,
        binaries: &Path,
        settings: &[(&str, String)],
    ) -> Result<String> {
        let bind = format!("127.0.0.1:{}", free_port(0)?);
        let colour = match name {
            "silo-db-api" => "35",
            "silo-storage-api" => "34",
            "silo-backup" => "31",
            _ => "32",
        };
        let mut environment: BTreeMap<_, _> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        environment.insert("BIND".into(), bind.clone());
        if let Some(seconds) = self.plan.refresh_seconds {
            environment.insert("REFRESH_SECONDS".into(), seconds.to_string());
        }
        let part = Part {
            name,
            program: binaries.join(name),
            arguments: vec![],
            environment,
            sink: self.sink(name, colour),
            process: None,
        };
        self.begin(part, &format!("http://{bind}/readyz")).await?;
        Ok(bind)
    }

    /// Starts a part and waits until its address answers 200.
    async fn begin(&mut self, mut part: Part, ready: &str) -> Result<()> {
        say::step(&format!("starting {}", part.name));
        part.start()?;
        let (name, limit) = (part.name, UP_WITHIN.as_secs());
        self.parts.push(part);
        let up = wait_for(UP_WITHIN, || async {
            reqwest::get(ready)
                .await
                .ok()
                .filter(|answer| answer.status().is_success())
        });
        tokio::select! {
            up = up => up.map(drop).with_context(|| format!("{name} was not ready within {limit} s at {ready}"))?,
            ended = self.first_to_end() => bail!("{ended}"),
        }
        say::done(&format!("{name} is ready"));
        Ok(())
    }

    fn sink(&self, name: &'static str, colour: &'static str) -> Option<LineSink> {
        let print: LineSink = Arc::new(move |line| say::part(name, colour, line));
        self.plan.follow.then_some(print)
    }
}

/// A free port on the loopback interface.
fn free_port(wanted: u16) -> Result<u16> {
    Ok(reserve(wanted)?.local_addr()?.port())
}

/// A port of the loopback interface, taken; 0 for any.
fn reserve(wanted: u16) -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", wanted)).with_context(|| {
        format!("port {wanted} is in use; choose another with --port, or end what listens there")
    })
}
