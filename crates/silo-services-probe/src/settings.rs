//! Settings of silo-services-probe: probes, connectivity check, URLs of other services.

use std::net::SocketAddr;
use std::path::PathBuf;

use silo_alerts::settings::{receiver, repeat, webhook};

use self::probes::probes;
use crate::alarms::Receivers;
use crate::probe::Probe;
use silo_core::process::ServerConfig;
use silo_core::settings::{SettingsError, SettingsReader};
use silo_core::variables::{
    ALERT_PING_URL, BACKUP_API_URL, CONNECTIVITY_CHECK, DB_API_URL, PROBE_FOLDER, STATUS_FILE,
    STORAGE_API_URL,
};

mod probes;

/// Settings of silo-services-probe.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings shared by all server processes.
    pub process: ServerConfig,
    /// Probes, in display order.
    pub probes: Vec<Probe>,
    /// Addresses for the connectivity check; empty for no check.
    pub connectivity: Vec<SocketAddr>,
    /// Folder of the history.
    pub folder: PathBuf,
    /// Receivers of alarms.
    pub alarms: Receivers,
    /// The file that the overview is written to in a few lines, when there is to be one.
    pub status: Option<PathBuf>,
    /// URL of silo-db-api.
    pub db_api: String,
    /// URL of silo-storage-api.
    pub storage_api: String,
    /// URL of silo-backup.
    pub backup_api: String,
}

impl Settings {
    /// Reads and validates the settings.
    ///
    /// # Errors
    /// All problems.
    pub fn read(mut from: SettingsReader) -> Result<Self, SettingsError> {
        let (db_api, storage_api) = (from.url(DB_API_URL), from.url(STORAGE_API_URL));
        let backup_api = from.url(BACKUP_API_URL);
        let settings = Self {
            process: ServerConfig::read(&mut from, 7103),
            probes: probes(&mut from, [&db_api, &storage_api, &backup_api]),
            connectivity: connectivity(&mut from),
            folder: PathBuf::from(from.text(PROBE_FOLDER)),
            alarms: Receivers {
                webhook: webhook(&mut from, false),
                ping: receiver(&mut from, ALERT_PING_URL, false),
                repeat: repeat(&mut from),
            },
            status: from.optional_text(STATUS_FILE).map(PathBuf::from),
            db_api,
            storage_api,
            backup_api,
        };
        from.finish()?;
        Ok(settings)
    }
}

fn connectivity(from: &mut SettingsReader) -> Vec<SocketAddr> {
    let text = from.text(CONNECTIVITY_CHECK);
    if text == "none" {
        return Vec::new();
    }
    let mut addresses = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => from.problem(format!(
                "{CONNECTIVITY_CHECK}: `{part}` is not an address and port such as 1.1.1.1:443"
            )),
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Kind;

    fn read(toml: &str, pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("silo.toml");
        std::fs::write(&file, toml).unwrap();
        let file = [("SILO_CONFIG", file.to_str().unwrap())];
        let map = pairs
            .iter()
            .chain(&file)
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        Settings::read(SettingsReader::from_map(&map))
    }

    #[test]
    fn ac_s_services_and_silo_s_own_are_probed_without_being_named() {
        let settings = read("", &[]).unwrap();
        let probes: Vec<_> = settings
            .probes
            .iter()
            .map(|probe| (probe.name.as_str(), probe.kind, probe.target()))
            .collect();
        assert_eq!(probes.len(), 6);
        assert!(probes.contains(&(
            "oven",
            Kind::Oven,
            "https://oven.aesthetic.computer/".into()
        )));
        assert!(probes.contains(&("silo-db-api", Kind::Silo, "http://127.0.0.1:7101/".into())));
        assert_eq!(settings.connectivity.len(), 2);
    }

    #[test]
    fn the_example_of_silo_toml_is_valid() {
        let file = silo_testkit::tools::workspace().join("ops/silo.example.toml");
        let settings = read(&std::fs::read_to_string(file).unwrap(), &[]).unwrap();
        let feed = settings.probes.iter().find(|probe| probe.name == "feed");
        assert_eq!(feed.unwrap().expect.json.len(), 1);
    }

    #[test]
    fn silo_toml_changes_default_probes_and_adds_others() {
        let toml = r#"
            [[probes]]
            name = "oven"
            interval_seconds = 5
            [[probes]]
            name = "session"
            enabled = false
            [[probes]]
            name = "feed"
            url = "https://feed.aesthetic.computer/api/v1/health?key=s3cret"
            timeout_ms = 1500
            expect = { status = [200, 204], json = { "/status" = "ok" }, response_ms = 800, certificate_days = 30 }
        "#;
        let settings = read(
            toml,
            &[
                ("OVEN_URL", "http://oven.example:3002"),
                ("CONNECTIVITY_CHECK", "none"),
            ],
        )
        .unwrap();
        let names: Vec<_> = settings
            .probes
            .iter()
            .map(|probe| probe.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "oven",
                "atproto",
                "silo-db-api",
                "silo-storage-api",
                "silo-backup",
                "feed"
            ]
        );
        let (oven, feed) = (&settings.probes[0], &settings.probes[5]);
        assert_eq!(
            (oven.interval.as_secs(), oven.target().as_str()),
            (5, "http://oven.example:3002/")
        );
        assert_eq!(
            (feed.kind, feed.interval.as_secs(), feed.timeout.as_millis()),
            (Kind::Http, 30, 1500)
        );
        assert_eq!(
            feed.target(),
            "https://feed.aesthetic.computer/api/v1/health",
            "a query may hold a secret"
        );
        assert!(feed.expect.allows(204) && !feed.expect.allows(201));
        assert!(settings.connectivity.is_empty());
    }

    #[test]
    fn every_rejected_probe_is_reported() {
        let message = read(
            "",
            &[
                ("OVEN_URL", "https://[::oven"),
                ("DB_API_URL", "http://:80"),
            ],
        );
        let message = message.unwrap_err().to_string();
        assert!(
            message.contains("oven: its URL cannot be read"),
            "{message}"
        );
        assert!(
            message.contains("silo-db-api: its URL cannot be read"),
            "{message}"
        );
    }

    #[test]
    fn all_problems_are_reported_at_once_without_secrets() {
        let toml = r#"
            [[probes]]
            name = "Feed!"
            url = "https://me:hunter2@feed.example"
            interval_seconds = 4
            [[probes]]
            name = "judge"
            url = "ftp://judge.example"
            timeout_ms = 5000
            expect = { status = [42], json = { "status" = 1 }, certificate_days = 900 }
            [[probes]]
            name = "judge"
            url = "https://judge.example/#top"
            [[probes]]
            name = "help"
            kind = "ping"
        "#;
        let message = read(
            toml,
            &[
                ("OVEN_URL", "oven"),
                ("PROBE_SECONDS", "1"),
                ("CONNECTIVITY_CHECK", "dns.example:53"),
            ],
        );
        let message = message.unwrap_err().to_string();
        for part in [
            "15 settings are wrong",
            "OVEN_URL",
            "PROBE_SECONDS",
            "a name has",
            "no user and no password",
            "interval_seconds must",
            "url must be http",
            "timeout_ms must",
            "42 is no HTTP status",
            "no JSON pointer",
            "certificate_days must",
            "`judge` occurs twice",
            "no fragment",
            "url is missing",
            "kind `ping` is not one of http, oven, session, atproto, lith, silo",
            "CONNECTIVITY_CHECK: `dns.example:53`",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(!message.contains("hunter2"), "{message}");
    }
}
