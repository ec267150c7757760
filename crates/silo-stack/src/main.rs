//! `silo-stack`: Silo's real processes together on this machine. `cargo xtask` builds and runs it.

use std::io::Read;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use silo_stack::{bench, droplet, e2e, up};
use silo_testkit::s3::Rgw;
use silo_testkit::say;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the whole stack here with demo data, and print its address
    Up(up::Up),
    /// Test the dashboard in a browser, on a stack of its own
    E2e(e2e::E2e),
    /// Build the images, run everything in Docker, and check it from outside
    Droplet(droplet::Options),
    /// Measure size and speed of the optimised binaries
    Bench(bench::Bench),
    /// Run the storage that all test programs share; prints its address, and ends with its standard input
    #[command(hide = true)]
    Storage,
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Verb::Up(up) => up.run().await,
        Verb::E2e(e2e) => e2e.run().await,
        Verb::Droplet(droplet) => droplet.run().await,
        Verb::Bench(bench) => bench.run().await,
        Verb::Storage => storage().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failed(&error);
            ExitCode::FAILURE
        }
    }
}

async fn storage() -> anyhow::Result<()> {
    let rgw = Rgw::start().await?;
    println!("{}", rgw.address());
    // The parent process keeps the other end open.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    drop(rgw);
    Ok(())
}
