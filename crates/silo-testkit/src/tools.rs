//! Where the tools are that `cargo xtask` installs.

use std::path::{Path, PathBuf};

/// The folder of installed tools: `SILO_TOOLS`, or `target/tools` in the workspace.
#[must_use]
pub fn folder() -> PathBuf {
    std::env::var_os("SILO_TOOLS").map_or_else(|| workspace().join("target/tools"), PathBuf::from)
}

/// The workspace's root.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// A program that `cargo xtask` installs, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `secantusd-rs`: MongoDB's protocol over `WiredTiger`.
    SecantusRust,
    /// `secantusd-py`: the same protocol, another implementation.
    SecantusPython,
    /// `s3s-fs`: S3 over a folder.
    S3Files,
    /// `moto_server`: S3 in memory, another implementation.
    S3Memory,
    /// `rclone`, the peer of the benchmark.
    Rclone,
    /// Caddy.
    Caddy,
    /// Compose 2, where Docker has none.
    Compose,
    /// What reads Dockerfiles.
    Hadolint,
    /// Node's module folder with `playwright-core` in it.
    NodeModules,
}

impl Tool {
    /// Where it is, or is going to be.
    #[must_use]
    pub fn path(self) -> PathBuf {
        folder().join(match self {
            Self::SecantusRust => "secantus-rs/bin/secantusd-rs",
            Self::SecantusPython => "python/bin/secantusd-py",
            Self::S3Files => "s3s-fs/bin/s3s-fs",
            Self::S3Memory => "python/bin/moto_server",
            Self::Rclone => "python/bin/rclone",
            Self::Caddy => "python/bin/caddy",
            Self::Compose => "compose/docker-compose",
            Self::Hadolint => "python/bin/hadolint",
            Self::NodeModules => "node/node_modules",
        })
    }

    /// Where it is, when it is there.
    ///
    /// # Errors
    /// That it is missing, and what to do.
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
