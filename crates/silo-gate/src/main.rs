//! The silo-gate process: settings, logging, server, wait. `silo-gate hash NAME` makes a line for `SILO_USERS`.

use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;

use silo_core::logging;
use silo_core::settings::Settings as Reader;
use silo_gate::settings::Settings;
use silo_gate::users;
use silo_web::healthcheck;
use silo_web::server::refuse_to_start;

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
    let settings = match Settings::read(Reader::from_environment()) {
        Ok(settings) => settings,
        Err(error) => return refuse_to_start(silo_gate::NAME, &error),
    };
    if healthcheck::is_asked() {
        return healthcheck::ask(settings.bind);
    }
    logging::start(settings.log_format, &settings.log_filter);
    match actix_web::rt::System::new().block_on(run(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{} stops: {error}", silo_gate::NAME);
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: &Settings) -> std::io::Result<()> {
    let running = silo_gate::start(TcpListener::bind(settings.bind)?, settings)?;
    running.wait().await?;
    log::info!("{} has stopped", silo_gate::NAME);
    Ok(())
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
