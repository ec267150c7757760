//! Compiling the services.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use silo_testkit::say;
use silo_testkit::tools::workspace;

/// The services and tools, each a package and a binary of this name.
const PROGRAMS: &[&str] = &[
    "silo-gate",
    "silo-db-api",
    "silo-storage-api",
    "silo-services-probe",
    "silo-backup",
    "silo-migrate",
];

/// Compiles the services and returns the folder of the binaries. Without `release` the whole workspace is compiled, as `cargo xtask` and the tests
/// have done already; with it, each package is compiled with only its own features, as on the droplet.
pub fn build(release: bool) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked"]).current_dir(workspace());
    if release {
        say::step("building the optimised services (the first time takes some minutes)");
        let packages = PROGRAMS.iter().flat_map(|name| ["--package", name]);
        cargo.arg("--release").args(packages);
    } else {
        cargo.args(["--quiet", "--workspace", "--bins"]);
    }
    if !cargo.status().context("cannot start cargo")?.success() {
        bail!("the services do not compile; see above");
    }
    Ok(target().join(if release { "release" } else { "debug" }))
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}
