//! `cargo xtask`: the workspace's own commands.

mod say;
mod stack;
mod test;
mod tools;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Silo's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole stack here with demo data, and print its address
    Up(up::Up),
    /// Install what the tests need, then run all of them
    Test(test::Test),
    /// Install the pinned tools into target/tools
    Tools,
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Up(up) => up.run().await,
        Command::Test(test) => test.run().await,
        Command::Tools => tools::install(tools::EVERYTHING),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failed(&error);
            ExitCode::FAILURE
        }
    }
}
