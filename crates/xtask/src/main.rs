//! `cargo xtask`: commands of the workspace.
//!
//! This program is small and is built first. It installs missing tools, then passes `up`, `bench` and `e2e` to `silo-stack`, which runs the real
//! processes.

mod programs;
mod stack;
mod steps;
mod test;
mod tools;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use silo_testkit::say;
use silo_testkit::tools::workspace;

use crate::stack::stack;

/// Silo's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the whole stack here with demo data, and print its address
    #[command(disable_help_flag = true)]
    Up(Rest),
    /// Install what the tests need, then run all of them
    Test(test::Test),
    /// Run only the browser test
    #[command(disable_help_flag = true)]
    E2e(Rest),
    /// Build the images, run everything in Docker, and check it from outside
    #[command(disable_help_flag = true)]
    Droplet(Rest),
    /// Measure size and speed, and print tables
    #[command(disable_help_flag = true)]
    Bench(Rest),
    /// Install the pinned tools
    Tools,
}

/// Arguments that `silo-stack` reads; `--help` among them.
#[derive(clap::Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Verb::Up(rest) => up(&rest),
        Verb::Test(test) => test.run(),
        Verb::E2e(rest) => tools::install(tools::FOR_E2E).and_then(|()| become_stack("e2e", &rest)),
        Verb::Droplet(rest) => {
            tools::install(tools::FOR_DROPLET).and_then(|()| become_stack("droplet", &rest))
        }
        Verb::Bench(rest) => {
            tools::install(tools::FOR_BENCH).and_then(|()| become_stack("bench", &rest))
        }
        Verb::Tools => tools::install(tools::EVERYTHING),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failed(&error);
            ExitCode::FAILURE
        }
    }
}

fn up(rest: &Rest) -> Result<()> {
    let given = |argument: &OsString| {
        argument
            .to_str()
            .is_some_and(|text| text == "--mongo" || text.starts_with("--mongo="))
    };
    let own_server = !rest.arguments.iter().any(given);
    tools::install(if own_server {
        tools::FOR_UP
    } else {
        tools::FOR_UP_WITHOUT_SERVER
    })?;
    become_stack("up", rest)
}

/// Builds everything and replaces this process with `silo-stack`, so that Ctrl-C and exit codes need no passing on.
fn become_stack(verb: &str, rest: &Rest) -> Result<()> {
    say::step("building (the first time takes some minutes)");
    let status = Command::new("cargo")
        .args(["build", "--locked", "--workspace", "--bins"])
        .current_dir(workspace())
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("the workspace does not compile; see above");
    }
    let error = stack(verb).args(&rest.arguments).exec();
    Err(error).context("cannot start silo-stack")
}
