//! Results on standard output, progress on standard error.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::progress::Reporter;

/// Output of results.
pub struct Printer {
    /// Name of the program, for messages.
    pub program: &'static str,
    /// `true` to print JSON.
    pub json: bool,
}

impl Printer {
    /// Prints a result.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        let text = if self.json {
            serde_json::to_string(value).unwrap_or_default()
        } else {
            text()
        };
        // A closed standard output is ignored: the exit code remains.
        drop(writeln!(std::io::stdout(), "{text}"));
    }

    /// Prints an error instead of a result: its stable code and its text.
    pub fn error(&self, code: &str, detail: &str) {
        if self.json {
            let text = serde_json::json!({ "error": { "code": code, "detail": detail } });
            drop(writeln!(std::io::stdout(), "{text}"));
        }
        drop(writeln!(
            std::io::stderr(),
            "{}: error: {detail}",
            self.program
        ));
    }
}

/// Progress bar.
pub struct Bar(Option<(oneshot::Sender<()>, JoinHandle<()>)>);

impl Bar {
    /// Takes it away.
    pub async fn end(self) {
        if let Some((end, drawing)) = self.0 {
            drop(end);
            drop(drawing.await);
        }
    }
}

/// Shows how far it is: a bar at a terminal, else a line for each phase.
///
/// # Panics
/// Outside of a runtime of tokio.
pub fn follow(report: &Reporter, program: &'static str, quiet: bool) -> Bar {
    if quiet {
        return Bar(None);
    }
    let (end, mut ended) = oneshot::channel();
    let (report, terminal) = (report.clone(), std::io::stderr().is_terminal());
    let drawing = tokio::spawn(async move {
        let bar = if terminal {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        let counted = ProgressStyle::with_template(
            "  {msg:<34} {bar:30} {human_pos}/{human_len}  {per_sec}, {eta} left",
        );
        let spinning = ProgressStyle::with_template("  {spinner} {msg}");
        let (counted, spinning) = (
            counted.unwrap_or_else(|_| ProgressStyle::default_bar()),
            spinning.unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        let mut last = "";
        loop {
            let progress = report.now();
            if progress.phase != last && !progress.phase.is_empty() {
                last = progress.phase;
                bar.reset();
                bar.set_style(if progress.total.is_some() {
                    counted.clone()
                } else {
                    spinning.clone()
                });
                if !terminal && last != "waiting" {
                    let of = progress
                        .total
                        .map_or_else(String::new, |total| format!(" {total} {}", progress.unit));
                    drop(writeln!(std::io::stderr(), "{program}: {last}{of}"));
                }
            }
            if let Some(total) = progress.total {
                bar.set_length(total.max(progress.done));
                bar.set_position(progress.done);
            }
            let at = progress
                .collection
                .map_or_else(String::new, |name| format!(" {name}"));
            bar.set_message(
                format!("{}{at}", progress.phase)
                    .chars()
                    .take(34)
                    .collect::<String>(),
            );
            bar.tick();
            tokio::select! {
                _ = &mut ended => break,
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
        bar.finish_and_clear();
    });
    Bar(Some((end, drawing)))
}
