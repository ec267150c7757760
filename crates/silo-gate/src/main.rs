//! The silo-gate process. `silo-gate hash NAME` makes a line for `SILO_USERS`.

use std::io::Write;
use std::process::ExitCode;

use silo_core::settings::SettingsReader;
use silo_gate::settings::Settings;
use silo_gate::users;
use silo_web::{healthcheck, process};

/// The exit code of a wrong command line (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["hash", name] => return hash(name),
        [] | [healthcheck::VERB] => {}
        _ => {
            say(
                "silo-gate serves without arguments; `silo-gate hash NAME` reads a password from standard input and prints the line for SILO_USERS",
            );
            return ExitCode::from(EXIT_USAGE);
        }
    }
    process::run(
        silo_gate::NAME,
        Settings::read(SettingsReader::from_environment()),
        |settings| &settings.process,
        async |listener, settings| silo_gate::start(listener, settings),
    )
}

fn hash(name: &str) -> ExitCode {
    let mut password = String::new();
    if std::io::stdin().read_line(&mut password).is_err() || password.trim_end().is_empty() {
        say("the password is read from standard input, one line; there was none");
        return ExitCode::from(EXIT_USAGE);
    }
    match users::line(name, password.trim_end_matches(['\r', '\n'])) {
        Ok(line) => match writeln!(std::io::stdout(), "{line}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(why) => {
            say(&why);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a command line answers whoever typed it"
)]
fn say(what: &str) {
    eprintln!("{what}");
}
