//! What silo-gate is told: who may come in.

use std::net::SocketAddr;

use silo_core::build::Build;
use silo_core::logging::LogFormat;
use silo_core::settings::{Settings as Reader, SettingsError};
use silo_core::variables::{AC_GIT_DIRTY, AC_GIT_SHA, BIND, RUST_LOG, SILO_USERS};

use crate::users::Users;

/// All of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub bind: SocketAddr,
    /// How logs look.
    pub log_format: LogFormat,
    /// Which log lines there are.
    pub log_filter: String,
    /// What this binary is.
    pub build: Build,
    /// Who may come in.
    pub users: Users,
}

impl Settings {
    /// Reads and checks them.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn read(mut from: Reader) -> Result<Self, SettingsError> {
        let (sha, dirty) = (
            from.optional_text(AC_GIT_SHA),
            from.optional_text(AC_GIT_DIRTY),
        );
        let lines = from.secret(SILO_USERS);
        let users = Users::read(lines.expose()).unwrap_or_else(|problems| {
            for problem in problems {
                from.problem(format!("{SILO_USERS}: {problem}"));
            }
            Users::default()
        });
        let settings = Self {
            bind: from.socket_address(BIND, SocketAddr::from(([127, 0, 0, 1], 7105))),
            log_format: from.log_format(),
            log_filter: from.text(RUST_LOG),
            build: Build::current(sha.as_deref(), dirty.as_deref()),
            users,
        };
        from.finish()?;
        Ok(settings)
    }
}
