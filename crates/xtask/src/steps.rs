//! Steps of `cargo xtask test` and how long each took.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use silo_testkit::say;

/// The steps so far. Some run at the same time.
#[derive(Default)]
pub struct Steps(Mutex<Vec<(String, Duration)>>);

impl Steps {
    /// Runs a step and records its duration.
    ///
    /// # Errors
    /// The error of the step.
    pub fn time<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        say::step(name);
        let began = Instant::now();
        let outcome = work().with_context(|| name.to_owned());
        let elapsed = began.elapsed();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name.to_owned(), elapsed));
        if outcome.is_ok() {
            say::done(&format!("{name} ({})", minutes(elapsed)));
        }
        outcome
    }

    /// Runs a command whose output goes to the terminal.
    ///
    /// # Errors
    /// When it cannot be started, or fails.
    pub fn run(&self, name: &str, command: &mut Command) -> Result<()> {
        self.time(name, || {
            let status = command.status().with_context(|| {
                let program = command.get_program().to_string_lossy();
                format!("cannot start {program}")
            })?;
            if !status.success() {
                bail!("failed ({status})");
            }
            Ok(())
        })
    }

    /// Prints a table of all steps, the longest first.
    pub fn print(&self) {
        let mut steps = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        steps.sort_by_key(|(_, elapsed)| std::cmp::Reverse(*elapsed));
        say::step("duration of each step (min:s); images are built beside other steps");
        for (name, elapsed) in steps {
            say::step(&format!("  {:>6}  {name}", minutes(elapsed)));
        }
    }
}

/// Minutes and seconds.
pub fn minutes(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
