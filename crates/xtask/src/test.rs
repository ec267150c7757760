//! `cargo xtask test`: everything that has to hold, one step after the other.

use std::ffi::OsStr;
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
    /// Leave out everything in Docker
    #[arg(long)]
    no_docker: bool,
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
        self.in_docker()?;
        say::done("all tests passed");
        Ok(())
    }

    /// What needs Compose or an engine, where they can be had.
    fn in_docker(&self) -> Result<()> {
        let left_out = |why: &str| {
            say::skipped("docker-compose.yml", why);
            say::skipped("everything in Docker", why);
            Ok(())
        };
        if self.no_docker {
            return left_out("--no-docker was given");
        }
        if let Err(error) = tools::install(tools::FOR_DROPLET) {
            return left_out(&format!("{error:#}"));
        }
        compose()?;
        step("everything in Docker", &mut crate::stack("droplet"))
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
    let mut systemd = Command::new("systemd-analyze");
    systemd
        .args([
            "security",
            "--offline=true",
            "--threshold=20",
            "--no-pager",
            "ops/systemd/silo@.service",
        ])
        .current_dir(workspace());
    match Command::new("systemd-analyze").arg("--version").output() {
        Ok(_) => quiet_step("the unit of systemd", &mut systemd)?,
        Err(_) => say::skipped("the unit of systemd", "systemd-analyze is not here"),
    }
    Ok(())
}

/// What Compose makes of its file, in each of the versions that are here.
fn compose() -> Result<()> {
    let installed = Tool::Compose.path();
    let nothing = tempfile::NamedTempFile::with_prefix("silo-env-")?;
    for version in [
        &[OsStr::new("docker"), OsStr::new("compose")][..],
        &[installed.as_os_str()],
        &[OsStr::new("docker-compose")],
    ] {
        let compose = || {
            let mut compose = Command::new(version[0]);
            compose.args(&version[1..]).current_dir(workspace());
            compose
        };
        let told = compose().args(["version", "--short"]).output();
        let Some(told) = told.ok().filter(|told| told.status.success()) else {
            continue;
        };
        let told = String::from_utf8_lossy(&told.stdout).trim().to_owned();
        for (name, settings) in [
            ("without settings", nothing.path()),
            ("with .env.example", Path::new(".env.example")),
        ] {
            let mut config = compose();
            config
                .arg("--env-file")
                .arg(settings)
                .args(["config", "--quiet"]);
            let name = format!("docker-compose.yml {name}, by Compose {told}");
            quiet_step(&name, &mut config)?;
        }
    }
    Ok(())
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
