//! Settings that every server process has: address, logging, build.

use std::net::{Ipv4Addr, SocketAddr};

use crate::build::Build;
use crate::logging::{self, LogFormat};
use crate::settings::SettingsReader;
use crate::variables::{AC_GIT_DIRTY, AC_GIT_SHA, BIND, RUST_LOG};

/// Settings shared by all server processes.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address to listen on.
    pub bind: SocketAddr,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Log filter in the syntax of `RUST_LOG`.
    pub log_filter: String,
    /// Version and commit of this binary.
    pub build: Build,
}

impl ServerConfig {
    /// Reads these settings. Listens on 127.0.0.1:`port` unless `BIND` is set.
    pub fn read(from: &mut SettingsReader, port: u16) -> Self {
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
