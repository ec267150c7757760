//! What every process that serves is told: where to listen, how to log, and what it was built from.

use std::net::{Ipv4Addr, SocketAddr};

use crate::build::Build;
use crate::logging::{self, LogFormat};
use crate::settings::Settings;
use crate::variables::{AC_GIT_DIRTY, AC_GIT_SHA, BIND, RUST_LOG};

/// It.
#[derive(Clone, Debug)]
pub struct Process {
    /// Where to listen.
    pub bind: SocketAddr,
    /// How logs look.
    pub log_format: LogFormat,
    /// Which log lines there are.
    pub log_filter: String,
    /// What this binary is.
    pub build: Build,
}

impl Process {
    /// Reads it; `port` on loopback is where it listens when nothing else is said.
    pub fn read(from: &mut Settings, port: u16) -> Self {
        let (sha, dirty) = (
            from.optional_text(AC_GIT_SHA),
            from.optional_text(AC_GIT_DIRTY),
        );
        Self {
            bind: from.socket_address(BIND, (Ipv4Addr::LOCALHOST, port).into()),
            log_format: from.log_format(),
            log_filter: from.text(RUST_LOG),
            build: Build::current(sha.as_deref(), dirty.as_deref()),
        }
    }

    /// Starts its logs.
    pub fn start_logging(&self) {
        logging::start(self.log_format, &self.log_filter);
    }
}
