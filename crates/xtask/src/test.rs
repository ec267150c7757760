//! `cargo xtask test`: everything that has to hold, one step after the other.

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use silo_testkit::say;
use silo_testkit::tools::{Tool, workspace};

use crate::tools;

/// What to test.
#[derive(Args)]
pub struct Test {
    /// Leave out the browser
    #[arg(long)]
    no_browser: bool,
}

impl Test {
    /// Runs every step; the first that fails ends it.
    pub fn run(self) -> Result<()> {
        tools::install(tools::FOR_TEST)?;
        let cargo = |arguments: &[&str]| {
            let mut cargo = Command::new("cargo");
            cargo.args(arguments).current_dir(workspace());
            cargo
        };
        step("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
        step(
            "clippy",
            &mut cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--quiet",
                "--",
                "--deny",
                "warnings",
            ]),
        )?;
        let mut doc = cargo(&[
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
            "--locked",
            "--quiet",
        ]);
        step("rustdoc", doc.env("RUSTDOCFLAGS", "--deny warnings"))?;
        step(
            "unit and API tests",
            &mut cargo(&["test", "--workspace", "--locked", "--quiet"]),
        )?;
        self.caddyfile()?;
        if self.no_browser {
            say::skipped("the browser test", "--no-browser was given");
        } else {
            step("the browser test", &mut crate::stack("e2e"))?;
        }
        say::done("all tests passed");
        Ok(())
    }

    fn caddyfile(&self) -> Result<()> {
        let caddy = Tool::Caddy.installed()?;
        let file = workspace().join("Caddyfile");
        let mut validate = Command::new(&caddy);
        validate
            .args(["validate", "--adapter", "caddyfile", "--config"])
            .arg(&file)
            .current_dir(workspace());
        quiet_step(
            "the Caddyfile, as in production",
            validate.envs(production_example()),
        )?;
        quiet_step(
            "the Caddyfile's formatting",
            Command::new(&caddy).args(["fmt", "--diff"]).arg(&file),
        )
    }
}

fn step(name: &str, command: &mut Command) -> Result<()> {
    say::step(name);
    let status = command.status().with_context(|| {
        format!(
            "{name}: cannot start {}",
            command.get_program().to_string_lossy()
        )
    })?;
    if !status.success() {
        bail!("{name}: failed ({status})");
    }
    say::done(name);
    Ok(())
}

/// A step whose output is of interest only when it fails.
fn quiet_step(name: &str, command: &mut Command) -> Result<()> {
    say::step(name);
    let output = command.output().with_context(|| {
        format!(
            "{name}: cannot start {}",
            command.get_program().to_string_lossy()
        )
    })?;
    if !output.status.success() {
        let told = [output.stdout, output.stderr].concat();
        bail!("{name}: failed\n{}", String::from_utf8_lossy(&told));
    }
    say::done(name);
    Ok(())
}

/// An environment as in production, to validate the Caddyfile with; the password is `demo`.
fn production_example() -> [(&'static str, &'static str); 2] {
    [
        ("SILO_USER", "demo"),
        (
            "SILO_PASSWORD_HASH",
            "$2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG",
        ),
    ]
}
