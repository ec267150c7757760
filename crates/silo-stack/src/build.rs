//! Compiling the services.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use silo_testkit::say;
use silo_testkit::tools::workspace;

/// The services, each a package and a binary of this name.
const SERVICES: &[&str] = &[
    "silo-gate",
    "silo-db-api",
    "silo-storage-api",
    "silo-services-probe",
    "silo-backup",
];

/// Compiles the services and gives the folder they are in.
pub fn build(release: bool) -> Result<PathBuf> {
    say::step("building the services (the first time takes some minutes)");
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--locked", "--quiet"])
        .current_dir(workspace());
    if release {
        // Each package by itself has only the features it asks for, as on the droplet.
        let packages = SERVICES.iter().flat_map(|name| ["--package", name]);
        cargo.arg("--release").args(packages);
    } else {
        // Together with everything else, as the tests have compiled them.
        cargo.args(["--workspace", "--bins"]);
    }
    if !cargo.status().context("cannot start cargo")?.success() {
        bail!("the services do not build; cargo said why above");
    }
    Ok(target().join(if release { "release" } else { "debug" }))
}

/// Compiles what plays mongod in a container, and gives its file.
pub(crate) fn stand_in() -> Result<PathBuf> {
    const NAME: &str = "mongod-stand-in";
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--locked", "--quiet", "--package", "silo-testkit"])
        .args(["--features", "servers", "--bin", NAME])
        .current_dir(workspace());
    if !cargo.status().context("cannot start cargo")?.success() {
        bail!("{NAME} does not build; cargo said why above");
    }
    Ok(target().join("debug").join(NAME))
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}
