//! S3 servers for tests and the local stack.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::process::{LineSink, Process, ProcessError};
use crate::tools::Tool;

/// How long a server may take to come up.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// How long a server may take to end.
const DOWN_WITHIN: Duration = Duration::from_secs(5);

/// The key's id that the servers take.
pub const KEY: &str = "silo-demo-key";
/// Its secret.
pub const SECRET: &str = "silo-demo-secret";

/// What can go wrong with a server.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// A tool is missing, or a folder cannot be made.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It did not come up.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// Which implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `s3s-fs`: files in a folder; checks signatures; keeps one slash of `//`, and no unfinished uploads that can be listed.
    Files,
    /// `moto_server`: in memory; takes any key, and every key name.
    Memory,
}

/// A running server. Dropping it kills it and removes its data.
pub struct S3Server {
    kind: Kind,
    process: Option<Process>,
    port: u16,
    folder: PathBuf,
    sink: Option<LineSink>,
    // Removed when the server is dropped; the local stack keeps its folder elsewhere.
    _temporary: Option<TempDir>,
}

impl S3Server {
    /// Starts a server on a free port with data of its own.
    ///
    /// # Errors
    /// When the tool is missing or the server does not come up.
    pub async fn start(kind: Kind) -> Result<Self, S3Error> {
        let temporary = TempDir::with_prefix("silo-s3-")?;
        let mut server = Self::start_in(kind, temporary.path(), None).await?;
        server._temporary = Some(temporary);
        Ok(server)
    }

    /// Starts a server with data in a folder that stays.
    ///
    /// # Errors
    /// When the tool is missing or the server does not come up.
    pub async fn start_in(
        kind: Kind,
        folder: &Path,
        sink: Option<LineSink>,
    ) -> Result<Self, S3Error> {
        let mut server = Self {
            kind,
            process: None,
            port: 0,
            folder: folder.to_path_buf(),
            sink,
            _temporary: None,
        };
        server.start_again().await?;
        Ok(server)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process, while it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn stop(&mut self) -> Result<(), S3Error> {
        if let Some(mut process) = self.process.take() {
            process.stop(DOWN_WITHIN).await?;
        }
        Ok(())
    }

    /// Starts it again, on the same port; with the same data, unless that was in memory.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_again(&mut self) -> Result<(), S3Error> {
        let port = self.port.to_string();
        let command = match self.kind {
            Kind::Files => {
                let mut command = Command::new(Tool::S3Files.installed()?);
                command
                    .args(["--host", "127.0.0.1", "--port", &port])
                    .args(["--access-key", KEY, "--secret-key", SECRET])
                    .arg(&self.folder)
                    .env("RUST_LOG", "s3s_fs=info");
                command
            }
            Kind::Memory => {
                let mut command = Command::new(Tool::S3Memory.installed()?);
                command.args(["-H", "127.0.0.1", "-p", &port]);
                command
            }
        };
        let mut process = Process::start("the S3 server", command, self.sink.clone())?;
        self.port = process.wait_for_line(UP_WITHIN, listening_port).await?;
        self.process = Some(process);
        Ok(())
    }
}

/// The port in `... http://127.0.0.1:12345`.
fn listening_port(line: &str) -> Option<u16> {
    let (_, port) = line.rsplit_once("http://127.0.0.1:")?;
    port.trim().parse().ok()
}
