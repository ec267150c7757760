//! The workspace's test programs, several at a time: most of what they do is wait for servers.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use silo_testkit::say;
use silo_testkit::tools::workspace;

use crate::stack::stack;
use crate::steps::minutes;

/// Number of programs that run at the same time.
const AT_ONCE: usize = 3;
/// Number of tests that each of them runs at the same time.
const THREADS: &str = "4";
/// The variable with the address of the storage that all share (`silo_testkit::s3::CLUSTER_VARIABLE`, which needs that crate's servers).
const STORAGE: &str = "SILO_TEST_RGW";

/// A compiled test program.
pub struct Program {
    /// Package and target, as in `silo-backup backup`.
    name: String,
    path: PathBuf,
    /// The package's folder, where its tests expect to run.
    folder: PathBuf,
}

/// Compiles all test programs and binaries.
pub fn compile() -> Result<Vec<Program>> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["test", "--workspace", "--no-run", "--locked"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(workspace())
        .stdout(Stdio::piped());
    let mut child = cargo.spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo writes")?;
    let mut programs = Vec::new();
    for line in BufReader::new(output).lines() {
        let message: Value = serde_json::from_str(&line?)?;
        programs.extend(program(&message));
    }
    if !child.wait()?.success() {
        bail!("the tests do not compile; see above");
    }
    // The slowest begin first.
    programs.sort_by_key(|program| !program.name.starts_with("silo-backup"));
    Ok(programs)
}

/// The test program that a message of cargo's is about.
fn program(message: &Value) -> Option<Program> {
    (message["reason"] == "compiler-artifact" && message["profile"]["test"] == true)
        .then_some(())?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let package = folder.file_name()?.to_string_lossy();
    Some(Program {
        name: format!("{package} {}", message["target"]["name"].as_str()?),
        path: message["executable"].as_str()?.into(),
        folder: folder.into(),
    })
}

/// Runs all test programs, with shared storage.
pub fn run(programs: &[Program]) -> Result<()> {
    let storage = SharedStorage::start()?;
    let queue = Mutex::new(programs.iter().collect::<VecDeque<_>>());
    let failed = Mutex::new(Vec::new());
    let next = || {
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(program) = next() {
                    if let Err(error) = run_one(program, &storage.address) {
                        say::failed(&error);
                        failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(program.name.as_str());
                    }
                }
            });
        }
    });
    storage.stop()?;
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn run_one(program: &Program, storage: &str) -> Result<()> {
    let began = Instant::now();
    let output = Command::new(&program.path)
        .args(["--show-output", "--test-threads", THREADS])
        .env(STORAGE, storage)
        .env("CARGO_MANIFEST_DIR", &program.folder)
        .current_dir(&program.folder)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program.path.display()))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if !output.status.success() {
        bail!("{} ({}):\n{text}", program.name, output.status);
    }
    let result = text.lines().find(|line| line.starts_with("test result: "));
    say::done(&format!("{} ({})", program.name, minutes(began.elapsed())));
    println!("{}", result.context("it printed no result")?);
    for skipped in text
        .lines()
        .filter(|line| line.contains(" skipped ") && !line.starts_with("test "))
    {
        say::step(skipped);
    }
    Ok(())
}

/// Ceph RGW for all programs, run by `silo-stack`.
struct SharedStorage {
    process: Child,
    address: String,
}

impl SharedStorage {
    fn start() -> Result<Self> {
        let mut process = stack("storage")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start silo-stack")?;
        let output = process.stdout.take().context("it writes")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        if address.is_empty() {
            bail!("storage for tests did not start: {}", process.wait()?);
        }
        Ok(Self {
            process,
            address: address.trim().to_owned(),
        })
    }

    /// Closes the program's standard input, which ends it.
    fn stop(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        self.process.wait()?;
        Ok(())
    }
}
