//! Settings of silo-gate.

use silo_core::process::ServerConfig;
use silo_core::settings::{SettingsError, SettingsReader};
use silo_core::variables::SILO_USERS;

use crate::users::Users;

/// Settings of silo-gate.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings shared by all server processes.
    pub process: ServerConfig,
    /// Users who may sign in.
    pub users: Users,
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
        };
        from.finish()?;
        Ok(settings)
    }
}
