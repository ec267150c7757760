//! Settings of silo-storage-api: buckets, endpoints, rate limits and scan interval.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use silo_core::process::ServerConfig;
use silo_core::secret::Secret;
use silo_core::settings::{SettingsError, SettingsReader};
use silo_core::variables::{
    BUCKETS, DB_API_URL, SCAN_MINUTES, SCAN_REQUESTS_PER_SECOND, SCAN_WORKERS, SPACES_ADDRESSING,
    SPACES_ENDPOINT, SPACES_KEY, SPACES_REGION, SPACES_SECRET, STORAGE_FOLDER,
};
use silo_spaces::endpoint::{Addressing, Endpoint, Limits};

use crate::owners::Layout;

/// Settings of silo-storage-api.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings shared by all server processes.
    pub process: ServerConfig,
    /// The buckets, in the order in which they are shown.
    pub buckets: Vec<BucketSettings>,
    /// Rate limit and time limits of an endpoint.
    pub limits: Limits,
    /// Concurrent listing requests.
    pub workers: usize,
    /// From the end of one scan to the start of the next.
    pub every: Duration,
    /// Folder of the scan results.
    pub folder: PathBuf,
    /// URL of silo-db-api.
    pub db_api: String,
}

/// Settings of one bucket.
#[derive(Clone, Debug)]
pub struct BucketSettings {
    /// Name of the bucket.
    pub name: String,
    /// Key layout of the bucket.
    pub layout: Layout,
    /// Endpoint of the bucket.
    pub endpoint: Endpoint,
}

/// `[[buckets]]` in `silo.toml`: what differs from the common settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    layout: Option<Layout>,
    endpoint: Option<String>,
    region: Option<String>,
    key: Option<String>,
    secret: Option<String>,
    addressing: Option<String>,
}

impl Settings {
    /// Reads and validates the settings.
    ///
    /// # Errors
    /// All problems.
    pub fn read(mut from: SettingsReader) -> Result<Self, SettingsError> {
        let settings = Self {
            process: ServerConfig::read(&mut from, 7102),
            buckets: buckets(&mut from),
            limits: limits(&mut from),
            workers: usize::try_from(from.number(SCAN_WORKERS, 1..=64)).unwrap_or(1),
            every: Duration::from_secs(60 * from.number(SCAN_MINUTES, 1..=10_080)),
            folder: PathBuf::from(from.text(STORAGE_FOLDER)),
            db_api: from.url(DB_API_URL),
        };
        from.finish()?;
        Ok(settings)
    }
}

fn limits(from: &mut SettingsReader) -> Limits {
    let rate = from.number(SCAN_REQUESTS_PER_SECOND, 1..=1500);
    let rate = u32::try_from(rate).ok().and_then(NonZeroU32::new);
    Limits {
        requests_per_second: rate.unwrap_or(NonZeroU32::MIN),
        ..Limits::default()
    }
}

fn buckets(from: &mut SettingsReader) -> Vec<BucketSettings> {
    let spaces_addressing = from.text(SPACES_ADDRESSING);
    let common = Endpoint {
        url: from.url(SPACES_ENDPOINT),
        region: from.text(SPACES_REGION),
        key: from.secret(SPACES_KEY),
        secret: from.secret(SPACES_SECRET),
        addressing: addressing(from, SPACES_ADDRESSING.name, &spaces_addressing),
    };
    let entries: Vec<Entry> = from.list("buckets");
    let names = from.text(BUCKETS);
    let names: Vec<&str> = names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    for (at, name) in names.iter().enumerate() {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
        if name.len() > 255 || !name.bytes().all(plain) {
            from.problem(format!("{BUCKETS}: `{name}` cannot be a bucket's name"));
        }
        if names[..at].contains(name) {
            from.problem(format!("{BUCKETS}: `{name}` occurs twice"));
        }
    }
    for entry in entries
        .iter()
        .filter(|entry| !names.contains(&entry.name.as_str()))
    {
        let name = &entry.name;
        from.problem(format!(
            "buckets in silo.toml: `{name}` is not one of {BUCKETS}"
        ));
    }
    if names.is_empty() {
        from.problem(format!("{BUCKETS}: names no bucket"));
    }
    let of = |from: &mut SettingsReader, name: &str| {
        let entry = entries.iter().find(|entry| entry.name == name);
        bucket(from, name, entry, &common)
    };
    names.iter().map(|name| of(from, name)).collect()
}

fn bucket(
    from: &mut SettingsReader,
    name: &str,
    entry: Option<&Entry>,
    common: &Endpoint,
) -> BucketSettings {
    let mut endpoint = common.clone();
    if let Some(entry) = entry {
        let place = format!("buckets in silo.toml, {name}");
        if let Some(url) = &entry.endpoint {
            from.check_url(&place, url);
            endpoint.url.clone_from(url);
        }
        if let Some(region) = &entry.region {
            endpoint.region.clone_from(region);
        }
        match (&entry.key, &entry.secret) {
            (Some(key), Some(secret)) => {
                endpoint.key = Secret::new(key);
                endpoint.secret = Secret::new(secret);
            }
            (None, None) => {}
            _ => from.problem(format!("{place}: key and secret go together")),
        }
        if let Some(text) = &entry.addressing {
            endpoint.addressing = addressing(from, &place, text);
        }
    }
    if name.contains('.') && endpoint.url.starts_with("https://") {
        // No wildcard certificate covers a name with dots.
        endpoint.addressing = Addressing::Path;
    }
    BucketSettings {
        name: name.to_owned(),
        layout: entry
            .and_then(|entry| entry.layout)
            .unwrap_or(Layout::of_bucket(name)),
        endpoint,
    }
}

fn addressing(from: &mut SettingsReader, place: &str, text: &str) -> Addressing {
    match text {
        "path" => Addressing::Path,
        "virtual-host" => Addressing::VirtualHost,
        other => {
            from.problem(format!(
                "{place}: `{other}` is not one of path, virtual-host"
            ));
            Addressing::Path
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: [(&str, &str); 3] = [
        ("SPACES_ENDPOINT", "https://sfo3.digitaloceanspaces.com"),
        ("SPACES_KEY", "k"),
        ("SPACES_SECRET", "s"),
    ];

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let pairs = NEEDED.iter().chain(pairs);
        let map = pairs
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        Settings::read(SettingsReader::from_map(&map))
    }

    #[test]
    fn ac_s_five_buckets_are_the_default() {
        let settings = read(&[]).unwrap();
        let names: Vec<_> = settings
            .buckets
            .iter()
            .map(|bucket| (bucket.name.as_str(), bucket.layout))
            .collect();
        assert_eq!(names.len(), 5);
        assert!(names.contains(&("user-aesthetic-computer", Layout::Users)));
        assert!(names.contains(&("at-blobs-aesthetic-computer", Layout::Tapes)));
        assert_eq!((settings.process.bind.port(), settings.workers), (7102, 16));
    }

    #[test]
    fn the_example_of_silo_toml_is_valid() {
        let file = silo_testkit::tools::workspace().join("ops/silo.example.toml");
        let settings = read(&[
            ("SILO_CONFIG", file.to_str().unwrap()),
            ("BUCKETS", "music.aesthetic.computer"),
        ])
        .unwrap();
        assert_eq!(settings.buckets[0].layout, Layout::Plain);
    }

    #[test]
    fn a_bucket_may_lie_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("silo.toml");
        std::fs::write(&file, "[[buckets]]\nname = \"music.example\"\nendpoint = \"https://fra1.example\"\nkey = \"k2\"\nsecret = \"s2\"\nlayout = \"users\"\n").unwrap();
        let settings = read(&[
            ("SILO_CONFIG", file.to_str().unwrap()),
            ("BUCKETS", "a,music.example"),
            ("SPACES_ADDRESSING", "virtual-host"),
        ])
        .unwrap();
        let music = &settings.buckets[1];
        assert_eq!(
            (
                music.endpoint.url.as_str(),
                music.endpoint.key.expose(),
                music.layout
            ),
            ("https://fra1.example", "k2", Layout::Users)
        );
        assert_eq!(
            (
                settings.buckets[0].endpoint.addressing,
                music.endpoint.addressing
            ),
            (Addressing::VirtualHost, Addressing::Path)
        );
    }

    #[test]
    fn all_problems_are_reported_at_once_without_secrets() {
        let message = read(&[
            ("SPACES_ENDPOINT", "https://user:hunter2@host"),
            ("BUCKETS", "a,b/c,a"),
            ("SPACES_ADDRESSING", "both"),
            ("SCAN_WORKERS", "0"),
            ("SCAN_MINUTES", "x"),
            ("SCAN_REQUESTS_PER_SECOND", "99999"),
            ("DB_API_URL", "localhost"),
        ]);
        let message = message.unwrap_err().to_string();
        assert!(message.starts_with("8 settings are wrong"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
