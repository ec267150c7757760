//! Test fixture: the service with a `silo.toml` of probes.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;
pub(crate) use silo_testkit::ac::{Behaviour, Role, Simulator};
pub(crate) use silo_testkit::service::{Reply, Service};
use tempfile::TempDir;
use tokio::process::Command;

/// Time limit for a change to become visible: two intervals, and a margin for a busy machine.
pub(crate) const VISIBLE_WITHIN: Duration = Duration::from_secs(30);

/// Probes and folder of the service under test.
pub(crate) struct Stage {
    toml: String,
    pub(crate) folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Stage {
    /// A fixture without probes.
    pub(crate) fn new() -> Self {
        let mut toml = String::new();
        for name in [
            "oven",
            "session",
            "atproto",
            "silo-db-api",
            "silo-storage-api",
            "silo-backup",
        ] {
            writeln!(toml, "[[probes]]\nname = \"{name}\"\nenabled = false").unwrap();
        }
        Self {
            toml,
            folder: TempDir::with_prefix("silo-probe-").unwrap(),
            environment: vec![("CONNECTIVITY_CHECK".into(), "none".into())],
        }
    }

    /// Adds a probe every five seconds; `more` is TOML for it.
    pub(crate) fn probe(mut self, name: &str, kind: &str, url: &str, more: &str) -> Self {
        writeln!(
            self.toml,
            "[[probes]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\ninterval_seconds = 5\n{more}"
        )
        .unwrap();
        self
    }

    /// The same, with a variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts the service; files of an earlier start remain.
    pub(crate) async fn service(&self) -> Service {
        let file = self.folder.path().join("silo.toml");
        std::fs::write(&file, &self.toml).unwrap();
        let mut command = command();
        command
            .env("SILO_CONFIG", file)
            .env("PROBE_FOLDER", self.folder.path().join("kept"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        Service::start("silo-services-probe", command).await
    }
}

/// The built binary, with nothing of this shell's settings.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_silo-services-probe"));
    command.env_clear();
    command
}

/// An address that refuses connections.
pub(crate) fn refusing_url() -> String {
    format!("http://{}", silo_testkit::wire::refusing_address().unwrap())
}

/// One service of an answer that lists all.
pub(crate) fn named<'a>(services: &'a Value, name: &str) -> &'a Value {
    let list = services["services"].as_array().unwrap();
    list.iter().find(|service| service["name"] == name).unwrap()
}

/// Waits until a service stands like this.
pub(crate) async fn until_status(service: &Service, name: &str, status: &str) -> Value {
    let path = format!("/api/services/{name}");
    let stands = |reply: &Reply| reply.json_or_null()["data"]["status"] == status;
    service.until(VISIBLE_WITHIN, &path, stands).await.ok()["data"].clone()
}
