//! Lines for the person at the terminal. They go to standard error; results go to standard output.

#![expect(clippy::print_stderr, reason = "this is what it is for")]

use std::fmt::Display;
use std::io::IsTerminal;

/// A step that begins.
pub fn step(what: &str) {
    eprintln!("{} {what}", paint("36", "»"));
}

/// Prints that a step is done, with its result.
pub fn done(what: &str) {
    eprintln!("{} {what}", paint("32", "✓"));
}

/// Prints that something was skipped, with the reason.
pub fn skipped(what: &str, why: &str) {
    eprintln!("{} skipped {what}: {why}", paint("33", "–"));
}

/// The end, when it is not a good one.
pub fn failed(error: &dyn Display) {
    eprintln!("{} {error:#}", paint("31", "✗"));
}

/// A line of one part of the stack, marked with its name in its colour.
pub fn part(name: &str, colour: &str, line: &str) {
    eprintln!("{} {line}", paint(colour, &format!("{name:<12}│")));
}

/// Colours text (with an SGR code), if the terminal supports it.
#[must_use]
pub fn paint(code: &str, text: &str) -> String {
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
