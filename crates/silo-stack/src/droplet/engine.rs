//! The Docker engine: a running one, or a temporary one of this run.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use silo_testkit::say;
use silo_testkit::tools::Tool;
use silo_testkit::wait::wait_for;
use tokio::process::{Child, Command};

/// Builds by the engine itself, which needs no plugin that may not be there.
pub(super) const CLASSIC: [(&str, &str); 2] =
    [("COMPOSE_DOCKER_CLI_BUILD", "0"), ("DOCKER_BUILDKIT", "0")];
/// Time limit for a Docker engine to start.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// An engine that answers.
pub(super) struct Engine {
    own: Option<Child>,
    compose: Vec<String>,
}

impl Engine {
    /// The one that runs, or a new one; or why there is none to be had.
    pub(super) async fn get() -> Result<Result<Self, String>> {
        let installed = Tool::Compose.path().display().to_string();
        let mut compose = None;
        for words in [
            &["docker", "compose"][..],
            &[installed.as_str()],
            &["docker-compose"],
        ] {
            if succeeds(&[words, &["version"]].concat()).await {
                compose = Some(words.iter().map(|&word| word.to_owned()).collect());
                break;
            }
        }
        let Some(compose) = compose else {
            return Ok(Err(
                "neither `docker compose` nor docker-compose is installed".into(),
            ));
        };
        if succeeds(&["docker", "info"]).await {
            return Ok(Ok(Self { own: None, compose }));
        }
        if !rustix::process::geteuid().is_root() || !succeeds(&["dockerd", "--version"]).await {
            return Ok(Err("no Docker engine runs, and one can be started by root only, where dockerd is installed".into()));
        }
        say::step("starting a Docker engine");
        let log = tempfile::NamedTempFile::with_prefix("silo-dockerd-")?;
        // Nice, so that building images leaves the processor to tests that run at the same time.
        let mut command = Command::new("nice");
        command
            .args(["-n", "10", "dockerd"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen()?)
            .process_group(0)
            .kill_on_drop(true);
        let own = command.spawn().context("cannot start dockerd")?;
        let up = wait_for(UP_WITHIN, || async {
            succeeds(&["docker", "info"]).await.then_some(())
        });
        if up.await.is_none() {
            let output_text = std::fs::read_to_string(log.path()).unwrap_or_default();
            let last = output_text.lines().last().unwrap_or("no output").to_owned();
            return Ok(Err(format!("a Docker engine cannot run here: {last}")));
        }
        Ok(Ok(Self {
            own: Some(own),
            compose,
        }))
    }

    /// Runs a command and returns its output.
    pub(super) async fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = command(arguments)
            .output()
            .await
            .with_context(|| format!("cannot start {}", arguments[0]))?;
        if !output.status.success() {
            bail!(
                "{} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `docker` with the words of a line, and returns its output.
    pub(super) async fn docker(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = std::iter::once("docker")
            .chain(line.split_whitespace())
            .collect();
        self.output(&words).await
    }

    /// Address of a container that has one network.
    pub(super) async fn address(&self, container: &str) -> Result<String> {
        let format = "{{range.NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let inspect = format!("inspect --format {format} {container}");
        Ok(self.docker(&inspect).await?.trim().to_owned())
    }

    /// The beginning of a command of Compose.
    pub(super) fn compose(&self) -> Command {
        let mut words = self.compose.iter();
        let mut compose = Command::new(words.next().map_or("docker-compose", String::as_str));
        compose
            .args(words)
            .envs(CLASSIC)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        compose
    }

    /// The words that a command of Compose begins with.
    pub(super) fn compose_words(&self) -> &[String] {
        &self.compose
    }

    /// `true` if this run started the engine, so that its firewall rules are ours.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// `true` if an image exists.
    pub(super) async fn has(&self, image: &str) -> bool {
        succeeds(&["docker", "image", "inspect", image]).await
    }

    /// Leaves it running.
    pub(super) fn keep(mut self) {
        if let Some(own) = self.own.take() {
            say::step(&format!("the Docker engine is process {:?}", own.id()));
            // Dropping the engine would stop it.
            std::mem::forget(own);
        }
    }

    /// Ends it, if it is ours.
    pub(super) async fn end(mut self) -> Result<()> {
        let Some(mut own) = self.own.take() else {
            return Ok(());
        };
        if let Some(id) = own
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw)
        {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        own.wait().await?;
        Ok(())
    }
}

/// A command whose progress is not for us.
pub(super) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(arguments[0]);
    command
        .args(&arguments[1..])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn succeeds(arguments: &[&str]) -> bool {
    let status = command(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    status.is_ok_and(|status| status.success())
}
