//! Results of the built binaries.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Child;

/// Only a hanging program exceeds this time limit. A run whose storage fails makes six attempts for each file that it cleans up, and many runs share
/// the machine here: that can take more than a minute.
pub const TIME_LIMIT: Duration = Duration::from_secs(180);

/// Result of a command.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` if it was killed.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Waits for a command, whose output is piped.
///
/// # Panics
/// When it does not end within [`TIME_LIMIT`].
pub async fn ended(child: Child) -> Ended {
    let output = tokio::time::timeout(TIME_LIMIT, child.wait_with_output()).await;
    let output: Output = match output {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => panic!("it cannot be waited for: {error}"),
        Err(_elapsed) => panic!("it hangs"),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Ends a command with SIGTERM, and waits for it.
///
/// # Panics
/// When it has ended before, or does not end within [`TIME_LIMIT`].
pub async fn terminated(child: Child) -> Ended {
    let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let sent = id.map(|id| kill_process(id, Signal::TERM));
    assert_eq!(sent, Some(Ok(())), "it has ended before");
    ended(child).await
}

impl Ended {
    /// The JSON that a command that must succeed has printed.
    ///
    /// # Panics
    /// When it failed.
    #[expect(clippy::must_use_candidate, reason = "it is an assertion too")]
    pub fn good(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.value()
    }

    /// The JSON that it has printed.
    ///
    /// # Panics
    /// When it printed none.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// When it is another one.
    pub fn ends_with(&self, code: u8) -> &Self {
        assert_eq!(self.code, Some(i32::from(code)), "{self:#?}");
        self
    }
}

/// Writes a file that only its owner can read, such as one with a connection string.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(file)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}
