//! `cargo xtask test`: all tests and lints. Images are built while the other steps run.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use silo_testkit::say;
use silo_testkit::tools::{Tool, workspace};

use crate::programs;
use crate::stack::stack;
use crate::steps::Steps;
use crate::tools;

/// Arguments of `cargo xtask test`.
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
    /// Runs all steps, and stops at the first failure. Images are built while tests wait for servers.
    pub fn run(self) -> Result<()> {
        let steps = Steps::default();
        let outcome = self.all(&steps);
        steps.print();
        outcome?;
        say::done("all tests passed");
        Ok(())
    }

    fn all(&self, steps: &Steps) -> Result<()> {
        steps.time("tools", || tools::install(tools::FOR_TEST))?;
        steps.run("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
        let programs = steps.time("compiling tests", programs::compile)?;
        std::thread::scope(|scope| {
            let images = scope.spawn(|| self.images(steps));
            let tests = self.beside_images(steps, &programs);
            let images = images
                .join()
                .unwrap_or_else(|_| bail!("building images panicked"));
            tests?;
            let images = images?;
            self.browser(steps)?;
            let Some(ready) = images else { return Ok(()) };
            compose_files(steps, &ready)?;
            let mut droplet = stack("droplet");
            steps.run("everything in Docker", droplet.arg("--no-build"))
        })
    }

    /// Steps that need no images.
    fn beside_images(&self, steps: &Steps, programs: &[programs::Program]) -> Result<()> {
        steps.time("unit and API tests", || programs::run(programs))?;
        let clippy = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--quiet",
        ];
        let mut clippy = cargo(&clippy);
        steps.run("clippy", clippy.args(["--", "--deny", "warnings"]))?;
        let doc = [
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ];
        let mut doc = cargo(&doc);
        doc.args(["--locked", "--quiet"]);
        steps.run("rustdoc", doc.env("RUSTDOCFLAGS", "--deny warnings"))?;
        steps.time("lints", || {
            caddyfile()?;
            dependencies()?;
            ops()
        })
    }

    /// The browser test. Not beside the images: while Docker adds and removes networks, Chromium drops its requests (`ERR_NETWORK_CHANGED`).
    fn browser(&self, steps: &Steps) -> Result<()> {
        if self.no_browser {
            say::skipped("the browser test", "--no-browser was given");
            return Ok(());
        }
        steps.run("browser test", &mut stack("e2e"))
    }

    /// Builds the images, where Docker is available; `None` where it is not.
    fn images(&self, steps: &Steps) -> Result<Option<Docker>> {
        let left_out = |why: &str| {
            say::skipped("docker-compose.yml", why);
            say::skipped("everything in Docker", why);
            Ok(None)
        };
        if self.no_docker {
            return left_out("--no-docker was given");
        }
        if let Err(error) = steps.time("tools for Docker", || tools::install(tools::FOR_DROPLET)) {
            return left_out(&format!("{error:#}"));
        }
        let mut build = stack("droplet");
        steps.run("building images", build.arg("--build-only"))?;
        Ok(Some(Docker))
    }
}

/// Proof that Docker is available and the images are built.
struct Docker;

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).current_dir(workspace());
    cargo
}

/// Licenses, duplicates and sources of dependencies, by the rules of `.cargo/deny.toml`.
fn dependencies() -> Result<()> {
    let mut deny = Command::new(Tool::CargoDeny.installed()?);
    let checks = ["check", "licenses", "bans", "sources"];
    quiet_step(
        "dependencies",
        deny.args(["--offline", "--locked"])
            .args(checks)
            .current_dir(workspace()),
    )
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

/// Checks the files in `ops`: shell scripts, Dockerfile, cloud-init's user data, systemd unit.
fn ops() -> Result<()> {
    const SCRIPTS: [&str; 10] = [
        "ops/announce",
        "ops/commands",
        "ops/deploy",
        "ops/docker/mongo-express/bundle",
        "ops/docker/mongo-express/start",
        "ops/firewall",
        "ops/mongo/setup",
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

/// `docker-compose.yml` is read by each version of Compose that is installed.
fn compose_files(steps: &Steps, _docker: &Docker) -> Result<()> {
    steps.time("docker-compose.yml", compose)
}

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
        let output = compose().args(["version", "--short"]).output();
        let Some(output) = output.ok().filter(|output| output.status.success()) else {
            continue;
        };
        let output = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let config = |settings: &Path| {
            let mut config = compose();
            config
                .arg("--env-file")
                .arg(settings)
                .args(["config", "--quiet"]);
            config
        };
        for settings in ["ops/demo/demo.env", ".env.example"] {
            let name = format!("docker-compose.yml with {settings}, by Compose {output}");
            quiet_step(&name, &mut config(Path::new(settings)))?;
        }
        let refused = config(nothing.path()).output()?;
        let reason = String::from_utf8_lossy(&refused.stderr);
        if refused.status.success() || !reason.contains("set it in .env") {
            bail!("docker-compose.yml without settings, by Compose {output}: {reason}");
        }
    }
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
        let output = [output.stdout, output.stderr].concat();
        bail!("{name}: failed\n{}", String::from_utf8_lossy(&output));
    }
    say::done(name);
    Ok(())
}
