//! The project of `docker-compose.yml`, with demo data, on ports of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mongodb::options::{ClientOptions, ServerAddress, Tls, TlsOptions};
use reqwest::{Certificate, Client, Method, RequestBuilder};
use serde_json::Value;
use silo_testkit::say;
use silo_testkit::tools::workspace;
use silo_testkit::wait::wait_for;
use tempfile::TempDir;
use tokio::process::Command;

use super::bases::Base;
use super::engine::Engine;

/// The name of the site; a browser and a resolver know that it is this machine.
pub(super) const SITE: &str = "silo.localhost";
/// User and password of the demo.
pub(super) const SIGN_IN: (&str, &str) = ("demo", "demo-demo");
/// Silo's own processes.
pub(super) const SERVICES: [&str; 4] = [
    "silo-db-api",
    "silo-storage-api",
    "silo-services-probe",
    "silo-backup",
];
/// Settings of the demo.
const DEMO: &str = include_str!("../../../../ops/demo/demo.env");
/// Every container that stays.
pub(super) const ALL: [&str; 11] = [
    "caddy",
    "silo-gate",
    "silo-db-api",
    "silo-storage-api",
    "silo-services-probe",
    "silo-backup",
    "mongo",
    "mongo-setup",
    "mongo-express",
    "demo-storage",
    "demo-services",
];

/// Containers of the default profile.
pub(super) const DEFAULT: &[&str] = ALL.split_at(8).0;

/// Compose project under test.
pub(super) struct Droplet<'a> {
    pub(super) engine: &'a Engine,
    pub(super) https: u16,
    pub(super) http: u16,
    pub(super) mongo: u16,
    environment: BTreeMap<&'static str, String>,
    project: String,
    /// Folder of its `docker-compose.yml`.
    place: PathBuf,
    /// Its containers that stay.
    services: Vec<&'static str>,
    /// Folder for files copied from containers.
    pub(super) folder: TempDir,
    /// Folder of screenshots, if they are kept.
    pub(super) pictures: Option<String>,
}

impl<'a> Droplet<'a> {
    pub(super) fn new(engine: &'a Engine, pictures: Option<String>) -> Result<Self> {
        let mut droplet = Self::at(engine, "silo-droplet", workspace())?;
        droplet.pictures = pictures;
        // Built like `ops/deploy` does, so that the images can be reused.
        let dirty = u8::from(!git(&["status", "--porcelain"]).is_empty());
        droplet.environment.extend([
            ("AC_GIT_SHA", git(&["rev-parse", "HEAD"])),
            ("AC_GIT_DIRTY", dirty.to_string()),
            ("COMPOSE_PROFILES", "demo".into()),
            ("SILO_TAG", "droplet".into()),
            ("DEMO_SCALE", "0.05".into()),
            ("PROBE_SECONDS", "5".into()),
            ("REFRESH_SECONDS", "5".into()),
        ]);
        Ok(droplet)
    }

    /// A Compose project of the `docker-compose.yml` in `place`, with the settings of the demo, and its own name, ports and health-check interval.
    pub(super) fn at(engine: &'a Engine, name: &str, place: PathBuf) -> Result<Self> {
        let mut droplet = Self::bare(engine, name, place)?;
        // Without the profile: not every project has the demo's containers.
        let demo = DEMO.lines().filter_map(|line| line.split_once('='));
        let demo = demo.filter(|(name, _)| *name != "COMPOSE_PROFILES");
        for (name, value) in demo {
            droplet.set(name, value);
        }
        droplet.services = ALL.to_vec();
        Ok(droplet)
    }

    /// The same without settings of the demo: `place` has a `.env`.
    pub(super) fn bare(engine: &'a Engine, name: &str, place: PathBuf) -> Result<Self> {
        let [https, http, mongo] = [(); 3].map(|()| free_port());
        let (https, http, mongo) = (https?, http?, mongo?);
        let project = format!("{name}-{}", std::process::id());
        let environment = BTreeMap::from([
            ("COMPOSE_PROJECT_NAME", project.clone()),
            ("SILO_HTTPS_PORT", https.to_string()),
            ("SILO_HTTP_PORT", http.to_string()),
            ("MONGO_PORT", mongo.to_string()),
            ("SILO_MONGO_IMAGE", mongo_image()?),
            // Debian's engine makes the first health check after a whole interval.
            ("SILO_CHECK_INTERVAL", "2s".into()),
        ]);
        Ok(Self {
            engine,
            https,
            http,
            mongo,
            environment,
            project,
            place,
            services: DEFAULT.to_vec(),
            folder: TempDir::with_prefix(name)?,
            pictures: None,
        })
    }

    /// Changes a setting of the Compose project.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.insert(name, value.into());
    }

    /// Does not wait for a container that is not started.
    pub(super) fn leave_out(&mut self, service: &str) {
        self.services.retain(|known| *known != service);
    }

    /// Name of the Compose project.
    pub(super) fn project(&self) -> &str {
        &self.project
    }

    /// Folder of its `docker-compose.yml`.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Settings of the Compose project, as lines of a `.env`.
    pub(super) fn settings(&self) -> String {
        let lines = self.environment.iter();
        lines
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect()
    }

    /// Builds every image.
    pub(super) async fn build(&self) -> Result<()> {
        say::step("building Silo's images (the first time takes a quarter of an hour)");
        let mut command = self.command();
        // Sequentially: in parallel, the classic builder would build the shared stages once per image.
        command
            .env("COMPOSE_PARALLEL_LIMIT", "1")
            .env("COMPOSE_PROFILES", "demo,migrate")
            .args(["build", "--quiet"]);
        // Base images may have been made here, and then have no digest.
        for Base {
            variable, image, ..
        } in super::bases::all()?
        {
            command.args(["--build-arg", &format!("{variable}={image}")]);
        }
        self.output_of(command, &["build"]).await?;
        say::done("images are built");
        Ok(())
    }

    /// Runs a Compose command and returns its output.
    pub(super) async fn compose(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command();
        command.args(arguments);
        self.output_of(command, arguments).await
    }

    /// The same by Debian's Compose 1.29, where it is installed.
    pub(super) async fn older_compose(&self, arguments: &[&str]) -> Option<Result<String>> {
        let version = super::engine::command(&["docker-compose", "version", "--short"]);
        let version = { version }.output().await.ok()?;
        if !version.stdout.starts_with(b"1.") {
            return None;
        }
        let mut command = self.command_of(super::engine::command(&["docker-compose"]));
        command.args(arguments);
        Some(self.output_of(command, arguments).await)
    }

    async fn output_of(&self, mut command: Command, arguments: &[&str]) -> Result<String> {
        let output = command.output().await?;
        if !output.status.success() {
            let output_of = [output.stdout, output.stderr].concat();
            let output_of = String::from_utf8_lossy(&output_of);
            let last: Vec<&str> = output_of.lines().rev().take(30).collect();
            bail!(
                "compose {} failed:\n{}",
                arguments.join(" "),
                last.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self) -> Command {
        self.command_of(self.engine.compose())
    }

    fn command_of(&self, mut command: Command) -> Command {
        // The caller's environment must not affect the test.
        command
            .env_remove("SILO_ACCESS")
            .envs(&self.environment)
            .current_dir(&self.place);
        command
    }

    /// The id of a service's container.
    pub(super) async fn container(&self, service: &str) -> Result<String> {
        let id = self.compose(&["ps", "-a", "-q", service]).await?;
        id.lines()
            .next()
            .map(str::to_owned)
            .with_context(|| format!("{service} has no container"))
    }

    /// Output of `docker inspect --format` for a service's container.
    pub(super) async fn inspect(&self, service: &str, format: &str) -> Result<String> {
        let id = self.container(service).await?;
        let value = self
            .engine
            .output(&["docker", "inspect", "--format", format, &id])
            .await?;
        Ok(value.trim().to_owned())
    }

    /// Runs a program in a service's container; returns its exit code and output.
    pub(super) async fn exec(
        &self,
        service: &str,
        program: &[&str],
    ) -> Result<(Option<i32>, String)> {
        let id = self.container(service).await?;
        let output = super::engine::command(&["docker", "exec", &id])
            .args(program)
            .output()
            .await?;
        let output_of = [output.stdout, output.stderr].concat();
        Ok((
            output.status.code(),
            String::from_utf8_lossy(&output_of).into_owned(),
        ))
    }

    /// Logs of a service, from all its containers.
    pub(super) async fn log(&self, service: &str) -> Result<String> {
        let mut command = self.command();
        let output = command
            .args(["logs", "--no-color", service])
            .output()
            .await?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// A client that trusts the site's certificate and follows nothing.
    pub(super) async fn client(&self) -> Result<Client> {
        let root = Certificate::from_pem(&std::fs::read(self.authority().await?)?)?;
        let client = Client::builder()
            .tls_certs_merge([root])
            .resolve(SITE, ([127, 0, 0, 1], self.https).into())
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(20));
        Ok(client.build()?)
    }

    /// The file of the authority that signed the site's certificate.
    pub(super) async fn authority(&self) -> Result<PathBuf> {
        let file = self.folder.path().join("root.crt");
        let id = self.container("caddy").await?;
        let from = format!("{id}:/data/caddy/pki/authorities/local/root.crt");
        let to = file.display().to_string();
        self.engine.output(&["docker", "cp", &from, &to]).await?;
        Ok(file)
    }

    /// A request to the site.
    pub(super) fn ask(&self, client: &Client, method: Method, path: &str) -> RequestBuilder {
        client.request(method, format!("https://{SITE}:{}{path}", self.https))
    }

    /// JSON answer of the site, requested by a signed-in user.
    pub(super) async fn get(&self, client: &Client, path: &str) -> Result<Value> {
        let (user, password) = SIGN_IN;
        let answer = self
            .ask(client, Method::GET, path)
            .basic_auth(user, Some(password))
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{path} answers {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))
    }

    /// Client options of one of the demo's accounts, to connect from outside.
    pub(super) async fn mongo_options(&self, account: &str) -> Result<ClientOptions> {
        let file = workspace().join("ops/demo/secrets").join(account);
        let text = std::fs::read_to_string(&file)?;
        let mut options = ClientOptions::parse(text.trim()).await?;
        options.hosts = vec![ServerAddress::Tcp {
            host: "127.0.0.1".into(),
            port: Some(self.mongo),
        }];
        // Not every resolver knows the site's name, so the certificate is not verified here; Silo's own services verify it.
        let tls = TlsOptions::builder()
            .ca_file_path(self.authority().await?)
            .allow_invalid_hostnames(true)
            .build();
        options.tls = Some(Tls::Enabled(tls));
        options.server_selection_timeout = Some(Duration::from_secs(10));
        // Errors must be visible, so commands are not retried.
        options.retry_writes = Some(false);
        Ok(options)
    }

    /// Waits until all containers are healthy; returns the duration, or the containers that are not healthy.
    pub(super) async fn until_healthy(&self, within: Duration) -> Result<Duration> {
        let began = std::time::Instant::now();
        let healthy = wait_for(within, async || self.ill().await.is_empty().then_some(()));
        if healthy.await.is_some() {
            return Ok(began.elapsed());
        }
        let mut ill = String::new();
        for (service, state) in self.ill().await {
            let log = self.log(service).await.unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(5).collect();
            ill.push_str(&format!("\n  {service}: {state}"));
            for line in lines.into_iter().rev() {
                ill.push_str(&format!("\n    {line}"));
            }
        }
        bail!("not all are healthy after {} s:{ill}", within.as_secs())
    }

    /// Services that are not healthy, and their states.
    async fn ill(&self) -> Vec<(&'static str, String)> {
        let health = "{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}";
        let mut ill = Vec::new();
        for &service in &self.services {
            let state = self.inspect(service, health).await.unwrap_or_default();
            if !["healthy", "running"].contains(&&*state) {
                ill.push((service, state));
            }
        }
        ill
    }

    /// Keeps the project running, and prints how to stop it.
    pub(super) fn keep(&self) {
        let (user, password) = SIGN_IN;
        say::done(&format!(
            "silo is up: https://{SITE}:{}   ({user}, {password})",
            self.https
        ));
        say::step(&format!(
            "stop it with: COMPOSE_PROJECT_NAME={} {} --env-file ops/demo/demo.env down --volumes",
            self.project,
            self.engine.compose_words().join(" ")
        ));
    }

    /// Removes the project with all its data; after a failure it first prints the last log lines of each container.
    pub(super) async fn end(&self, failed: bool) -> Result<()> {
        if failed {
            for service in self.services.iter().chain(&["demo-fill"]) {
                let log = self.log(service).await.unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(8).collect();
                say::step(&format!(
                    "the last of {service}:\n{}",
                    last.into_iter().rev().collect::<Vec<_>>().join("\n")
                ));
            }
        }
        self.compose(&["down", "--volumes", "--remove-orphans"])
            .await
            .map(drop)
    }
}

/// Image of mongod, without its digest.
fn mongo_image() -> Result<String> {
    let bases = super::bases::all()?;
    let mongo = bases
        .into_iter()
        .find(|base| base.variable == "SILO_MONGO_IMAGE");
    Ok(mongo
        .context("docker-compose.yml names no image of mongod")?
        .image)
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}

fn git(arguments: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .args(arguments)
        .current_dir(workspace())
        .output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}
