//! `cargo xtask test`: everything that has to hold, one step after the other.

use std::path::Path;
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
    /// Also everything in Docker, which takes half an hour more
    #[arg(long)]
    docker: bool,
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
        caddyfile()?;
        ops()?;
        if self.no_browser {
            say::skipped("the browser test", "--no-browser was given");
        } else {
            step("the browser test", &mut crate::stack("e2e"))?;
        }
        if self.docker {
            tools::install(tools::FOR_DROPLET)?;
            step("everything in Docker", &mut crate::stack("droplet"))?;
        } else {
            say::skipped("everything in Docker", "--docker was not given");
        }
        say::done("all tests passed");
        Ok(())
    }
}

fn caddyfile() -> Result<()> {
    let caddy = Tool::Caddy.installed()?;
    let file = workspace().join("Caddyfile");
    for access in ["signed_in", "sso", "open"] {
        let mut validate = Command::new(&caddy);
        validate
            .args(["validate", "--adapter", "caddyfile", "--config"])
            .arg(&file)
            .current_dir(workspace())
            .envs([("SILO_ACCESS", access), ("SILO_CHECK", "checked")]);
        quiet_step(&format!("the Caddyfile, {access}"), &mut validate)?;
    }
    quiet_step(
        "the Caddyfile's formatting",
        Command::new(&caddy).args(["fmt", "--diff"]).arg(&file),
    )
}

/// What runs a droplet, read by those who know its language.
fn ops() -> Result<()> {
    const SCRIPTS: [&str; 6] = [
        "ops/deploy",
        "ops/docker/mongo-express",
        "ops/firewall",
        "ops/mongo/start",
        "ops/provision",
        "ops/secrets",
    ];
    let mut shellcheck = Command::new("shellcheck");
    quiet_step(
        "shell scripts",
        shellcheck.args(SCRIPTS).current_dir(workspace()),
    )?;
    let mut hadolint = Command::new(Tool::Hadolint.installed()?);
    quiet_step(
        "the Dockerfile",
        hadolint
            .arg("ops/docker/Dockerfile")
            .current_dir(workspace()),
    )?;
    let mut cloud_init = Command::new("cloud-init");
    quiet_step(
        "cloud-init's user data",
        cloud_init
            .args(["schema", "--config-file", "ops/cloud-init.yaml"])
            .current_dir(workspace()),
    )?;
    let compose: &[&str] = if on_path_of_docker() {
        &["docker", "compose"]
    } else {
        &["docker-compose"]
    };
    let nothing = tempfile::NamedTempFile::with_prefix("silo-env-")?;
    for (name, settings) in [
        ("without settings", nothing.path()),
        ("with .env.example", Path::new(".env.example")),
    ] {
        let mut config = Command::new(compose[0]);
        config
            .args(&compose[1..])
            .arg("--env-file")
            .arg(settings)
            .args(["config", "--quiet"])
            .current_dir(workspace());
        quiet_step(&format!("docker-compose.yml {name}"), &mut config)?;
    }
    Ok(())
}

/// Whether Docker has Compose 2.
fn on_path_of_docker() -> bool {
    let mut docker = Command::new("docker");
    let output = docker.args(["compose", "version"]).output();
    output.is_ok_and(|output| output.status.success())
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
