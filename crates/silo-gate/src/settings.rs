//! Settings of silo-gate.

use std::path::PathBuf;

use silo_core::process::ServerConfig;
use silo_core::settings::{SettingsError, SettingsReader};
use silo_core::variables::{GATEWAY, SILO_USERS};

use crate::users::Users;

/// Settings of silo-gate.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings shared by all server processes.
    pub process: ServerConfig,
    /// Users who may sign in.
    pub users: Users,
    /// File of the users, which may change while the process runs.
    pub users_file: Option<PathBuf>,
    /// Host name or address of the gateway.
    pub gateway: String,
}

impl Settings {
    /// Reads and validates the settings.
    ///
    /// # Errors
    /// All problems.
    pub fn read(mut from: SettingsReader) -> Result<Self, SettingsError> {
        let lines = from.secret(SILO_USERS);
        let users = Users::read(lines.expose()).unwrap_or_else(|problems| {
            for problem in problems {
                from.problem(format!("{SILO_USERS}: {problem}"));
            }
            Users::default()
        });
        let settings = Self {
            process: ServerConfig::read(&mut from, 7105),
            users,
            users_file: from.file(SILO_USERS),
            gateway: from.text(GATEWAY),
        };
        from.finish()?;
        Ok(settings)
    }
}
