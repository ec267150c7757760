//! Child process that reports its address and ends with this process.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// Number of last output lines kept to explain a failure.
const KEPT_LINES: usize = 60;

/// Error of a child process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The process ended, or did not become ready in time.
    #[error("{name} did not come up: {reason}\n{output}")]
    NotUp {
        /// Name of the process in messages.
        name: String,
        /// Reason.
        reason: String,
        /// Last lines of output.
        output: String,
    },
}

/// Receiver of the child's output lines.
pub type LineSink = Arc<dyn Fn(&str) + Send + Sync>;

/// A running child process. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts a program; its lines go to `sink`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        name: &str,
        mut command: Command,
        sink: Option<LineSink>,
    ) -> Result<Self, ProcessError> {
        let program = Path::new(command.as_std().get_program())
            .display()
            .to_string();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|source| ProcessError::Start { program, source })?;
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(read(stdout, Arc::clone(&lines), sink.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(read(stderr, Arc::clone(&lines), sink));
        }
        Ok(Self {
            name: name.to_owned(),
            child,
            lines,
        })
    }

    /// Waits until an output line yields a value.
    ///
    /// # Errors
    /// When the process ends first, or prints no such line within `limit`.
    pub async fn wait_for_line<T>(
        &mut self,
        limit: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ProcessError> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            if let Some(found) = self.last_lines().iter().find_map(|line| find(line)) {
                return Ok(found);
            }
            if let Some(status) = self.ended() {
                return Err(self.not_up(format!("it ended with {status}")));
            }
            if tokio::time::Instant::now() >= end {
                return Err(
                    self.not_up(format!("no such output line within {} s", limit.as_secs()))
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Exit status, if the process has ended.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }

    /// Process id while the process is running.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks it to end (SIGTERM), and kills it when it has not after `limit`. Gives how it ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn stop(&mut self, limit: Duration) -> std::io::Result<std::process::ExitStatus> {
        if let Some(pid) = self.pid() {
            // The process may have ended already.
            let _told = kill_process(pid, Signal::TERM).is_ok();
        }
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                self.child.start_kill()?;
                self.child.wait().await
            }
        }
    }

    /// Kills it at once (SIGKILL).
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill().await
    }

    /// Stops it in its tracks (SIGSTOP) until the guard is dropped: alive, and deaf.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> std::io::Result<Frozen> {
        let pid = self.pid().ok_or(std::io::ErrorKind::NotFound)?;
        kill_process(pid, Signal::STOP)?;
        Ok(Frozen(pid))
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()?).ok()?)
    }

    /// Last lines of output, both streams.
    #[must_use]
    pub fn last_lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    fn not_up(&self, reason: String) -> ProcessError {
        ProcessError::NotUp {
            name: self.name.clone(),
            reason,
            output: self.last_lines().join("\n"),
        }
    }
}

/// A stopped process (SIGSTOP); it continues when this is dropped.
#[must_use]
pub struct Frozen(Pid);

impl Drop for Frozen {
    fn drop(&mut self) {
        // The process may have ended already.
        let _woken = kill_process(self.0, Signal::CONT).is_ok();
    }
}

async fn read(
    stream: impl AsyncRead + Unpin,
    kept: Arc<Mutex<VecDeque<String>>>,
    sink: Option<LineSink>,
) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(sink) = &sink {
            sink(&line);
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(line);
        if kept.len() > KEPT_LINES {
            kept.pop_front();
        }
    }
}
