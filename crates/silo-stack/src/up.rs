//! `cargo xtask up`: the whole stack on this machine.

use anyhow::{Result, bail};
use clap::Args;

use silo_testkit::say;

use crate::stack::{Plan, Stack};

/// Run the whole stack with demo data
#[derive(Args)]
pub struct Up {
    /// Build with optimisation, as for the droplet: slow to build
    #[arg(long)]
    release: bool,
    /// Use this mongod instead of one with demo data; it is only read
    #[arg(long, value_name = "URI")]
    mongo: Option<String>,
    /// Scale of the demo data: 1 is 128 thousand documents
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// The seed of the demo data
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The port of the dashboard
    #[arg(long, default_value_t = 7100)]
    port: u16,
}

impl Up {
    /// Starts it, follows the logs, and ends everything on Ctrl-C.
    pub async fn run(self) -> Result<()> {
        // Asked before minutes of building and loading.
        drop(std::net::TcpListener::bind(("127.0.0.1", self.port)).map_err(|error| {
            anyhow::anyhow!("port {} cannot be used ({error}); choose another with --port, or end what listens there", self.port)
        })?);
        let plan = Plan {
            release: self.release,
            mongo: self.mongo,
            scale: self.scale,
            seed: self.seed,
            port: self.port,
            follow: true,
            sign_in: None,
            refresh_seconds: None,
        };
        let mut interrupt =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let mut stack = tokio::select! {
            stack = Stack::start(plan) => stack?,
            _ = interrupt.recv() => bail!("interrupted while starting"),
            _ = terminate.recv() => bail!("terminated while starting"),
        };
        say::done(&format!(
            "silo is up: {}   (Ctrl-C ends it)",
            say::paint("1;35", &stack.address)
        ));
        println!("{}", stack.address);
        let ended = tokio::select! {
            ended = stack.first_to_end() => Some(ended),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        say::step("stopping");
        stack.stop().await?;
        say::done("everything has ended");
        ended.map_or(Ok(()), |ended| bail!("{ended}"))
    }
}

fn scale(text: &str) -> Result<f64, String> {
    let scale: f64 = text
        .parse()
        .map_err(|error| format!("not a number ({error})"))?;
    if (0.01..=10.0).contains(&scale) {
        Ok(scale)
    } else {
        Err("must be from 0.01 to 10".into())
    }
}
