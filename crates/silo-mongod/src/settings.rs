//! Settings of silo-mongod.

use std::path::PathBuf;

use silo_core::logging::LogFormat;
use silo_core::secret::Secret;
use silo_core::settings::{SettingsError, SettingsReader};
use silo_core::variables::{
    CADDY_DATA, MONGO_ACCOUNTS, MONGO_CA_FOLDER, MONGO_HOST, MONGO_REPLICA_SET, MONGO_TLS_FOLDER,
    MONGODB_CONNECTION_STRING, MONGODB_NAME, RUST_LOG,
};

/// Settings of both commands.
#[derive(Clone, Debug)]
pub struct Common {
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Which log lines there are.
    pub log_filter: String,
    /// Host name of mongod, for its clients, its replica set and its certificate.
    pub host: String,
    /// Port of mongod.
    pub port: u16,
}

/// Settings of `init`.
#[derive(Clone, Debug)]
pub struct Init {
    /// Settings of both commands.
    pub common: Common,
    /// Everybody's connection strings, the administrator's among them.
    pub accounts: Secret,
    /// AC's database.
    pub database: String,
    /// The name of the replica set.
    pub replica_set: String,
}

/// Settings of `certificate`.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Settings of both commands.
    pub common: Common,
    /// The connection string of an account that may rotate certificates.
    pub mongo: Secret,
    /// Caddy's data folder.
    pub caddy: PathBuf,
    /// Folder of mongod's certificate and key.
    pub tls: PathBuf,
    /// Folder of the CA file for clients on this machine.
    pub ca: PathBuf,
}

impl Common {
    fn read(from: &mut SettingsReader) -> Self {
        let text = from.text(MONGO_HOST);
        let (host, port) = text.split_once(':').unwrap_or((&text, "27017"));
        let port = port.parse().unwrap_or_else(|_| {
            from.problem(format!(
                "{MONGO_HOST}: `{text}` is not a name, or a name and a port"
            ));
            0
        });
        Self {
            log_format: from.log_format(),
            log_filter: from.text(RUST_LOG),
            host: host.to_owned(),
            port,
        }
    }
}

impl Init {
    /// Reads and validates the settings.
    ///
    /// # Errors
    /// All problems.
    pub fn read(mut from: SettingsReader) -> Result<Self, SettingsError> {
        let settings = Self {
            common: Common::read(&mut from),
            accounts: from.secret(MONGO_ACCOUNTS),
            database: from.text(MONGODB_NAME),
            replica_set: from.text(MONGO_REPLICA_SET),
        };
        from.finish()?;
        Ok(settings)
    }
}

impl Certificate {
    /// Reads and validates the settings.
    ///
    /// # Errors
    /// All problems.
    pub fn read(mut from: SettingsReader) -> Result<Self, SettingsError> {
        let settings = Self {
            common: Common::read(&mut from),
            mongo: from.secret(MONGODB_CONNECTION_STRING),
            caddy: PathBuf::from(from.text(CADDY_DATA)),
            tls: PathBuf::from(from.text(MONGO_TLS_FOLDER)),
            ca: PathBuf::from(from.text(MONGO_CA_FOLDER)),
        };
        from.finish()?;
        Ok(settings)
    }
}
