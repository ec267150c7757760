//! SeaweedFS, the S3 server of the local stack: one process, on a folder.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::account::Account;
use super::error::S3Error;
use crate::process::{LineSink, Process};
use crate::tools::Tool;
use crate::wait::wait_for;

/// Time limit for starting; three seconds are normal.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// The parts that listen, each with an HTTP and a gRPC port. Only S3 is asked.
const PARTS: [&str; 4] = ["s3", "master", "volume", "filer"];

/// A running server. Dropping it kills it; the folder stays.
pub struct SeaweedFs {
    process: Process,
    port: u16,
    account: Account,
}

impl SeaweedFs {
    /// Starts a server on free ports with its data in a folder.
    ///
    /// # Errors
    /// When `weed` is not installed or does not start.
    pub async fn start(folder: &Path, sink: Option<LineSink>) -> Result<Self, S3Error> {
        // Another process may take a free port before it is used.
        match Self::start_once(folder, sink.clone()).await {
            Err(S3Error::Command { .. }) => Self::start_once(folder, sink).await,
            started => started,
        }
    }

    async fn start_once(folder: &Path, sink: Option<LineSink>) -> Result<Self, S3Error> {
        let account = Account {
            key: "silo-demo-key".into(),
            secret: "silo-demo-secret".into(),
        };
        let identities = folder.join("identities.json");
        std::fs::write(&identities, identities_of(&account))?;
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        let mut command = Command::new(Tool::SeaweedFs.installed()?);
        command
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .args(["-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .args(["-master.telemetry=false", "-master.volumeSizeLimitMB=64"])
            .arg("-volume.max=0")
            .arg(format!("-dir={}", data.display()))
            .arg(format!("-s3.config={}", identities.display()))
            // Settings of this machine's user must not leak in.
            .current_dir(folder);
        let ports = free_ports(2 * PARTS.len())?;
        for (part, ports) in PARTS.iter().zip(ports.chunks(2)) {
            command.arg(format!("-{part}.port={}", ports[0]));
            command.arg(format!("-{part}.port.grpc={}", ports[1]));
        }
        let process = Process::start("SeaweedFS", command, sink)?;
        let mut server = Self {
            process,
            port: ports[0],
            account,
        };
        server.until_up().await?;
        Ok(server)
    }

    async fn until_up(&mut self) -> Result<(), S3Error> {
        let url = self.url();
        let up = wait_for(UP_WITHIN, || {
            let ended = self.process.ended().is_some();
            // What took the port may never answer.
            let answer = tokio::time::timeout(Duration::from_secs(2), reqwest::get(&url));
            async move {
                if ended {
                    return Some(false);
                }
                answer.await.ok()?.ok().map(|_| true)
            }
        });
        if up.await == Some(true) {
            return Ok(());
        }
        Err(S3Error::Command {
            command: "weed server".into(),
            output: self.process.last_lines().join("\n"),
        })
    }

    /// The endpoint, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The access key and secret that it accepts.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills the server. Acknowledged data is on disk; an orderly stop would take half a minute.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn stop(mut self) -> Result<(), S3Error> {
        Ok(self.process.kill().await?)
    }
}

/// The file of accounts that SeaweedFS reads (`-s3.config`).
fn identities_of(account: &Account) -> String {
    serde_json::json!({ "identities": [{
        "name": "silo",
        "credentials": [{ "accessKey": account.key, "secretKey": account.secret }],
        "actions": ["Admin", "Read", "Write", "List"],
    }] })
    .to_string()
}

/// Different ports of the loopback interface on which nothing listens.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let listeners: std::io::Result<Vec<_>> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect();
    listeners?
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}
