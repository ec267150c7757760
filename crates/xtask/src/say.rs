//! Lines for the person at the terminal. Everything goes to standard error; results go to standard output.

use std::io::IsTerminal;

/// A step that begins.
pub fn step(what: &str) {
    eprintln!("{} {what}", paint("36", "»"));
}

/// A step that is done, with what came out of it.
pub fn done(what: &str) {
    eprintln!("{} {what}", paint("32", "✓"));
}

/// Something that was left out, and why.
pub fn skipped(what: &str, why: &str) {
    eprintln!("{} skipped {what}: {why}", paint("33", "–"));
}

/// The end, when it is not a good one.
pub fn failed(error: &anyhow::Error) {
    eprintln!("{} {error:#}", paint("31", "✗"));
}

/// Text in a colour (an SGR code), where the terminal can show it.
pub fn paint(code: &str, text: &str) -> String {
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
