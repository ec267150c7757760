//! One process of the stack, which can be ended and started again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use silo_testkit::process::{LineSink, Process};
use tokio::process::Command;

/// Time limit for a process to end; services allow themselves 8 s.
const DOWN_WITHIN: Duration = Duration::from_secs(10);

/// A process that can be started again.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) sink: Option<LineSink>,
    pub(super) process: Option<Process>,
}

impl Part {
    pub(super) fn start(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment);
        // Ctrl-C at the terminal is for us; we end the parts in order.
        command.process_group(0);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        self.process = Some(Process::start(self.name, command, self.sink.clone())?);
        Ok(())
    }

    pub(super) async fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(DOWN_WITHIN).await?;
        }
        Ok(())
    }
}
