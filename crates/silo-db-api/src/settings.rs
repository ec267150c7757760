//! Settings of silo-db-api: database, address, refresh intervals, expected clients.

use std::path::PathBuf;
use std::time::Duration;

use silo_core::process::ServerConfig;
use silo_core::secret::Secret;
use silo_core::settings::{SettingsError, SettingsReader};
use silo_core::variables::{
    COMPARE_MINUTES, DB_FOLDER, MONGODB_CONNECTION_STRING, MONGODB_NAME, OLD_CONNECTION_STRING,
    REFRESH_SECONDS, Variable,
};
use silo_mongo::catalogue::{Catalogue, Entry};
use silo_web::snapshot::RefreshPolicy;

use crate::clients::ExpectedClient;

/// Settings of silo-db-api.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings shared by all server processes.
    pub process: ServerConfig,
    /// The database server.
    pub mongo: Secret,
    /// The database.
    pub database: String,
    /// Catalogue of the collections.
    pub catalogue: Catalogue,
    /// Expected clients.
    pub clients: Vec<ExpectedClient>,
    /// Refresh interval of each subject.
    pub policies: RefreshPolicies,
    /// Folder of the history.
    pub folder: PathBuf,
    /// The old cluster, during a migration.
    pub old: Option<OldCluster>,
}

/// The cluster whose database is compared with Silo's.
#[derive(Clone, Debug)]
pub struct OldCluster {
    /// Connection string.
    pub uri: Secret,
    /// Pause between two comparisons.
    pub interval: Duration,
}

/// Refresh interval of each subject.
#[derive(Clone, Copy, Debug)]
pub struct RefreshPolicies {
    /// The server's own state; also how soon it is known to be down.
    pub server: RefreshPolicy,
    /// Operations that run for long.
    pub operations: RefreshPolicy,
    /// Collections, users, clients, access, disk: a minute.
    pub minute: RefreshPolicy,
    /// Keeps and AT-protocol keys, which read whole collections.
    pub slow: RefreshPolicy,
    /// The details of one collection, when asked for.
    pub details: RefreshPolicy,
    /// State of the comparison with the old cluster, which needs no query.
    pub comparison: RefreshPolicy,
}

impl RefreshPolicies {
    /// Intervals of all subjects, from `refresh`: the server's state is read more often, subjects that read whole collections less often.
    #[must_use]
    pub fn every(refresh: Duration) -> Self {
        let policy = |interval, seconds| RefreshPolicy {
            interval,
            timeout: Duration::from_secs(seconds),
            initial_wait: Duration::from_millis(3500),
        };
        Self {
            server: policy(Duration::from_secs(2), 3),
            operations: policy(refresh.min(Duration::from_secs(10)), 3),
            minute: policy(refresh, 30),
            slow: policy(refresh * 5, 30),
            details: policy(refresh * 5, 10),
            comparison: policy(Duration::from_secs(15), 1),
        }
    }
}

impl Settings {
    /// Reads and validates the settings.
    ///
    /// # Errors
    /// All problems.
    pub fn read(mut from: SettingsReader) -> Result<Self, SettingsError> {
        let entries: Vec<Entry> = from.list("collections");
        let catalogue = match Catalogue::built_in() {
            Ok(catalogue) => Some(catalogue.with(entries)),
            Err(error) => {
                from.problem(format!("the built-in catalogue cannot be read: {error}"));
                None
            }
        };
        let settings = Self {
            process: ServerConfig::read(&mut from, 7101),
            mongo: connection_string(&mut from, MONGODB_CONNECTION_STRING, true),
            database: database(&mut from),
            catalogue: catalogue.unwrap_or_else(Catalogue::empty),
            clients: from.list("clients"),
            policies: RefreshPolicies::every(Duration::from_secs(
                from.number(REFRESH_SECONDS, 1..=3600),
            )),
            folder: PathBuf::from(from.text(DB_FOLDER)),
            old: old_cluster(&mut from),
        };
        from.finish()?;
        Ok(settings)
    }
}

fn connection_string(from: &mut SettingsReader, variable: Variable, required: bool) -> Secret {
    let uri = if required {
        from.secret(variable)
    } else {
        Secret::new(from.optional_text(variable).unwrap_or_default())
    };
    let scheme = |uri: &str| {
        uri.is_empty() || uri.starts_with("mongodb://") || uri.starts_with("mongodb+srv://")
    };
    if !scheme(uri.expose()) {
        from.problem(format!(
            "{variable}: must begin with mongodb:// or mongodb+srv://"
        ));
    }
    uri
}

fn old_cluster(from: &mut SettingsReader) -> Option<OldCluster> {
    let uri = connection_string(from, OLD_CONNECTION_STRING, false);
    let minutes: u64 = from.number(COMPARE_MINUTES, 1..=10_080);
    let interval = Duration::from_secs(minutes * 60);
    (!uri.expose().is_empty()).then_some(OldCluster { uri, interval })
}

fn database(from: &mut SettingsReader) -> String {
    let name = from.text(MONGODB_NAME);
    // The characters that MongoDB does not take in a database's name, on any of its platforms.
    if name.is_empty()
        || name.len() > 63
        || name.contains([
            '/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0',
        ])
    {
        from.problem(format!(
            "{MONGODB_NAME}: `{name}` cannot be a database's name"
        ));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let map = pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        Settings::read(SettingsReader::from_map(&map))
    }

    #[test]
    fn one_variable_is_enough() {
        let settings = read(&[("MONGODB_CONNECTION_STRING", "mongodb://localhost")]).unwrap();
        assert_eq!(
            (settings.database.as_str(), settings.process.bind.port()),
            ("aesthetic", 7101)
        );
    }

    #[test]
    fn the_example_of_silo_toml_is_valid() {
        let file = silo_testkit::tools::workspace().join("ops/silo.example.toml");
        let settings = read(&[
            ("SILO_CONFIG", file.to_str().unwrap()),
            ("MONGODB_CONNECTION_STRING", "mongodb://localhost"),
        ])
        .unwrap();
        assert_eq!(settings.clients.len(), 1);
        assert!(settings.catalogue.get("drafts").is_some());
    }

    #[test]
    fn another_kind_of_connection_string_is_refused_without_being_printed() {
        let message = read(&[
            ("MONGODB_CONNECTION_STRING", "postgres://u:hunter2@h"),
            ("MONGODB_NAME", "a.b"),
            ("BIND", "x"),
        ])
        .unwrap_err()
        .to_string();
        assert!(message.starts_with("3 settings are wrong"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
