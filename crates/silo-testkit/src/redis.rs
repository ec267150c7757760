//! Redis for tests, in the place of AC's managed Valkey: with a password, over TLS if asked.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::certificates::Authority;
use crate::mongo::free_port;
use crate::process::{Process, ProcessError};

/// Time limit for starting.
const UP_WITHIN: Duration = Duration::from_secs(20);
/// Another process may take a free port before Redis does.
const PORT_ATTEMPTS: usize = 5;

/// Password of the user `default`.
pub const PASSWORD: &str = "redis-password";

/// A Redis server. Dropping it kills the process.
pub struct Redis {
    _process: Process,
    _folder: TempDir,
    port: u16,
    tls: bool,
}

impl Redis {
    /// Starts a server that requires [`PASSWORD`]; over TLS if an authority is given, whose certificate is for `localhost`.
    ///
    /// # Errors
    /// When Redis is not installed or does not start.
    pub async fn start(authority: Option<&Authority>) -> Result<Self, ProcessError> {
        let mut attempts = 0;
        loop {
            match Self::try_start(authority).await {
                Err(_) if attempts < PORT_ATTEMPTS => attempts += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_start(authority: Option<&Authority>) -> Result<Self, ProcessError> {
        let io = |source| ProcessError::Start {
            program: "redis-server".into(),
            source,
        };
        let folder = TempDir::with_prefix("silo-redis-").map_err(io)?;
        let port = free_port().map_err(io)?;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--maxmemory", "64mb"])
            .args(["--requirepass", PASSWORD, "--dir"])
            .arg(folder.path());
        let number = port.to_string();
        match authority {
            None => command.args(["--port", &number]),
            Some(authority) => {
                save(authority, folder.path()).map_err(io)?;
                command
                    .args(["--port", "0", "--tls-port", &number])
                    .args(["--tls-auth-clients", "no", "--tls-cert-file"])
                    .arg(folder.path().join("server.pem"))
                    .arg("--tls-key-file")
                    .arg(folder.path().join("server.key"))
                    .arg("--tls-ca-cert-file")
                    .arg(folder.path().join("ca.pem"))
            }
        };
        let mut process = Process::start("redis-server", command, None)?;
        process
            .wait_for_line(UP_WITHIN, |line| {
                line.contains("Ready to accept connections").then_some(())
            })
            .await?;
        Ok(Self {
            _process: process,
            _folder: folder,
            port,
            tls: authority.is_some(),
        })
    }

    /// `redis://` or `rediss://`, without the password.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        format!("{scheme}://localhost:{}", self.port)
    }
}

fn save(authority: &Authority, folder: &Path) -> std::io::Result<()> {
    authority.save(&folder.join("ca.pem"))?;
    let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
    authority.save_pair(&certificate, &key, 30)
}
