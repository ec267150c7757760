//! A script in headless Chromium.
//!
//! The script asks for something to happen with a line on its standard output (`@stop silo-db-api`) and reads `done` when it has
//! happened; every other line is for people.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use silo_testkit::tools::{Tool, workspace};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

/// Browser test script and its arguments.
#[derive(Default)]
pub(crate) struct Script<'a> {
    /// File of the script, below `browser`.
    pub(crate) file: &'a str,
    /// URL of the page.
    pub(crate) address: &'a str,
    /// Expected contents of the page.
    pub(crate) truth: Value,
    /// Only the tests whose name contains this.
    pub(crate) only: &'a str,
    /// Keep pictures in this folder.
    pub(crate) pictures: &'a str,
}

impl Script<'_> {
    /// Runs the script; `obey` executes its commands (a verb and an object).
    pub(crate) async fn run(
        &self,
        mut obey: impl AsyncFnMut(&str, &str) -> Result<()>,
    ) -> Result<()> {
        let file = workspace()
            .join("crates/silo-stack/browser")
            .join(self.file);
        let mut browser = Command::new("node");
        browser
            .arg(file)
            .env("SILO_ADDRESS", self.address)
            .env("SILO_TRUTH", self.truth.to_string())
            .env("SILO_MODULES", Tool::NodeModules.installed()?)
            .env("SILO_ONLY", self.only)
            .env("SILO_PICTURES", self.pictures)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut browser = browser.spawn().context("cannot start node")?;
        let mut answers = browser.stdin.take().context("node has a standard input")?;
        let lines = browser
            .stdout
            .take()
            .context("node has a standard output")?;
        let mut lines = BufReader::new(lines).lines();
        while let Some(line) = lines.next_line().await? {
            let Some(order) = line.strip_prefix('@') else {
                eprintln!("  {line}");
                continue;
            };
            let (verb, what) = order.split_once(' ').unwrap_or((order, ""));
            obey(verb, what).await?;
            answers.write_all(b"done\n").await?;
        }
        if !browser.wait().await?.success() {
            bail!("the browser test failed; see above");
        }
        Ok(())
    }
}
