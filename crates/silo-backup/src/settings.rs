//! Settings of silo-backup: source, destinations, schedule, retention, alerts.

use std::path::PathBuf;

use jiff::SignedDuration;
use silo_alerts::delivery::Webhook;
use silo_alerts::settings::{is_this_machine, receiver, repeat, webhook};
use silo_core::process::ServerConfig;
use silo_core::secret::Secret;
use silo_core::settings::{SettingsError, SettingsReader};
use silo_core::variables::{
    BACKUP_AGE_IDENTITY, BACKUP_AGE_RECIPIENT, BACKUP_ALLOW_HTTP, BACKUP_BUCKET,
    BACKUP_COMPRESSION, BACKUP_COPY_BUCKET, BACKUP_COPY_ENDPOINT, BACKUP_COPY_KEY,
    BACKUP_COPY_REGION, BACKUP_COPY_SECRET, BACKUP_DRILL_PING_URL, BACKUP_DRILL_SCHEDULE,
    BACKUP_EXPECTED, BACKUP_FOLDER, BACKUP_KEEP_DAILY, BACKUP_KEEP_LAST, BACKUP_KEEP_MONTHLY,
    BACKUP_KEEP_WEEKLY, BACKUP_OLDEST_HOURS, BACKUP_PING_URL, BACKUP_PITR_DAYS, BACKUP_PREFIX,
    BACKUP_SCHEDULE, BACKUP_TIMEZONE, DRILL_CONNECTION_STRING, MONGO_TOOLS,
    MONGODB_CONNECTION_STRING, MONGODB_NAME, SPACES_ADDRESSING, SPACES_ENDPOINT, SPACES_KEY,
    SPACES_REGION, SPACES_SECRET, Variable,
};
use silo_mongo::catalogue::Catalogue;
use silo_spaces::endpoint::{Addressing, Endpoint};

use crate::archive::decoding::identity_of;
use crate::archive::encoding::{ArchiveEncoding, Compression, recipient_of};
use crate::retention::Policy;
use crate::schedule::Schedule;
use crate::verification::expectations::Expectations;

/// The name of this service: its process, its log lines.
pub const NAME: &str = "silo-backup";

/// Settings of silo-backup.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings shared by all server processes.
    pub process: ServerConfig,
    /// The database's connection string.
    pub mongo: Secret,
    /// Name of the database.
    pub database: String,
    /// Connection string of the server for drills, if it is another one.
    pub drill_mongo: Option<Secret>,
    /// Folder of mongorestore; by default it is found on the `PATH`.
    pub tools: Option<PathBuf>,
    /// Compression and encryption of archives.
    pub encoding: ArchiveEncoding,
    /// Private key of encrypted archives, where restores are allowed.
    pub identity: Option<Secret>,
    /// The first destination.
    pub primary: Destination,
    /// The second.
    pub copy: Option<Destination>,
    /// Prefix of every key, with a slash at its end.
    pub prefix: String,
    /// When.
    pub schedule: Schedule,
    /// Expected contents of a backup.
    pub expectations: Expectations,
    /// Retention rules.
    pub policy: Policy,
    /// Schedule of drills; `None` for no drills.
    pub drill_schedule: Option<Schedule>,
    /// Catalogue of the collections.
    pub catalogue: Catalogue,
    /// Largest allowed age of the newest good backup.
    pub oldest: SignedDuration,
    /// On disk, for what does not fit into memory.
    pub folder: PathBuf,
    /// Dead man's switch of backups.
    pub ping: Option<Secret>,
    /// Dead man's switch of drills.
    pub drill_ping: Option<Secret>,
    /// The webhook.
    pub webhook: Option<Webhook>,
    /// After this time an alarm is repeated that nobody has acknowledged.
    pub repeat: SignedDuration,
}

/// Bucket and endpoint of a destination.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The storage.
    pub endpoint: Endpoint,
    /// The bucket.
    pub bucket: String,
}

impl Settings {
    /// Reads and validates the settings.
    ///
    /// # Errors
    /// All problems.
    pub fn read(mut from: SettingsReader) -> Result<Self, SettingsError> {
        let hours = |from: &mut SettingsReader, name, bounds, of: i64| {
            SignedDuration::from_hours(of * i64::try_from(from.number(name, bounds)).unwrap_or(0))
        };
        let optional = |from: &mut SettingsReader, name| from.optional_text(name).map(Secret::new);
        let drill_mongo = optional(&mut from, DRILL_CONNECTION_STRING);
        // The account for backups cannot write outside of the database `silo`.
        let drill_schedule = drill_schedule(&mut from).filter(|_| drill_mongo.is_some());
        let schedule = schedule(&mut from, BACKUP_SCHEDULE);
        let catalogue = catalogue(&mut from);
        let allow_http = one_of(
            &mut from,
            BACKUP_ALLOW_HTTP,
            &[("false", false), ("true", true)],
        );
        let settings = Self {
            process: ServerConfig::read(&mut from, 7104),
            mongo: from.secret(MONGODB_CONNECTION_STRING),
            database: from.text(MONGODB_NAME),
            drill_mongo,
            tools: from.optional_text(MONGO_TOOLS).map(PathBuf::from),
            encoding: encoding(&mut from),
            identity: identity(&mut from),
            primary: primary(&mut from, allow_http),
            copy: copy(&mut from, allow_http),
            prefix: prefix(&mut from),
            expectations: expectations(&mut from, &catalogue),
            catalogue,
            policy: policy(&mut from),
            drill_schedule,
            oldest: hours(&mut from, BACKUP_OLDEST_HOURS, 1..=2400, 1),
            folder: PathBuf::from(from.text(BACKUP_FOLDER)),
            ping: receiver(&mut from, BACKUP_PING_URL, allow_http),
            drill_ping: receiver(&mut from, BACKUP_DRILL_PING_URL, allow_http),
            webhook: webhook(&mut from, allow_http),
            repeat: repeat(&mut from),
            schedule: match schedule {
                Some(schedule) => schedule,
                // The problem has already been recorded.
                None => return from.finish().and(Err(SettingsError(Vec::new()))),
            },
        };
        from.finish()?;
        Ok(settings)
    }
}

fn schedule(from: &mut SettingsReader, variable: Variable) -> Option<Schedule> {
    let (expression, zone) = (from.text(variable), from.text(BACKUP_TIMEZONE));
    match Schedule::new(&expression, &zone) {
        Ok(schedule) => Some(schedule),
        Err(reason) => {
            from.problem(format!("{variable}, {BACKUP_TIMEZONE}: {reason}"));
            None
        }
    }
}

fn drill_schedule(from: &mut SettingsReader) -> Option<Schedule> {
    match from.text(BACKUP_DRILL_SCHEDULE).as_str() {
        "none" => None,
        _ => schedule(from, BACKUP_DRILL_SCHEDULE),
    }
}

/// Built-in catalogue with the `[[collections]]` of `silo.toml`.
fn catalogue(from: &mut SettingsReader) -> Catalogue {
    let entries = from.list("collections");
    match Catalogue::built_in() {
        Ok(catalogue) => catalogue.with(entries),
        Err(error) => {
            from.problem(format!("the built-in catalogue cannot be read: {error}"));
            Catalogue::empty()
        }
    }
}

/// Reports `http://` to another machine, which sends archives and keys in clear.
fn check_https(from: &mut SettingsReader, variable: Variable, url: &str, allow_http: bool) {
    let Ok(url) = reqwest::Url::parse(url) else {
        return;
    };
    if url.scheme() == "http" && !is_this_machine(&url) && !allow_http {
        from.problem(format!(
            "{variable}: use https://, or set {BACKUP_ALLOW_HTTP}=true for a private network"
        ));
    }
}

fn one_of<T: Copy>(from: &mut SettingsReader, variable: Variable, words: &[(&str, T)]) -> T {
    let given = from.text(variable);
    match words.iter().find(|(word, _)| *word == given) {
        Some((_, value)) => *value,
        None => {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            from.problem(format!(
                "{variable}: `{given}` is not one of {}",
                known.join(", ")
            ));
            words[0].1
        }
    }
}

fn encoding(from: &mut SettingsReader) -> ArchiveEncoding {
    let compression = one_of(
        from,
        BACKUP_COMPRESSION,
        &[("gzip", Compression::Gzip), ("zstd", Compression::Zstd)],
    );
    let recipient = from.optional_text(BACKUP_AGE_RECIPIENT);
    if recipient
        .as_deref()
        .is_some_and(|recipient| recipient_of(recipient).is_none())
    {
        from.problem(format!(
            "{BACKUP_AGE_RECIPIENT}: is no recipient such as age1..."
        ));
    }
    ArchiveEncoding {
        compression,
        recipient,
    }
}

fn identity(from: &mut SettingsReader) -> Option<Secret> {
    let identity = from.optional_text(BACKUP_AGE_IDENTITY).map(Secret::new)?;
    if identity_of(&identity).is_none() {
        from.problem(format!(
            "{BACKUP_AGE_IDENTITY}: is no private key such as AGE-SECRET-KEY-1..."
        ));
    }
    Some(identity)
}

fn primary(from: &mut SettingsReader, allow_http: bool) -> Destination {
    let addressing = one_of(
        from,
        SPACES_ADDRESSING,
        &[
            ("path", Addressing::Path),
            ("virtual-host", Addressing::VirtualHost),
        ],
    );
    let endpoint = Endpoint {
        url: from.url(SPACES_ENDPOINT),
        region: from.text(SPACES_REGION),
        key: from.secret(SPACES_KEY),
        secret: from.secret(SPACES_SECRET),
        addressing,
    };
    check_https(from, SPACES_ENDPOINT, &endpoint.url, allow_http);
    let bucket = from.text(BACKUP_BUCKET);
    check_bucket(from, BACKUP_BUCKET, &bucket);
    Destination { endpoint, bucket }
}

fn copy(from: &mut SettingsReader, allow_http: bool) -> Option<Destination> {
    let variables = [
        BACKUP_COPY_ENDPOINT,
        BACKUP_COPY_BUCKET,
        BACKUP_COPY_KEY,
        BACKUP_COPY_SECRET,
    ];
    let [url, bucket, key, secret] = variables.map(|variable| from.optional_text(variable));
    let region = from.text(BACKUP_COPY_REGION);
    match (url, bucket, key, secret) {
        (None, None, None, None) => None,
        (Some(url), Some(bucket), Some(key), Some(secret)) => {
            from.check_url(BACKUP_COPY_ENDPOINT.name, &url);
            check_https(from, BACKUP_COPY_ENDPOINT, &url, allow_http);
            check_bucket(from, BACKUP_COPY_BUCKET, &bucket);
            let (key, secret) = (Secret::new(key), Secret::new(secret));
            let endpoint = Endpoint {
                url,
                region,
                key,
                secret,
                addressing: Addressing::Path,
            };
            Some(Destination { endpoint, bucket })
        }
        _ => {
            let names = variables.map(|variable| variable.name);
            from.problem(format!("{} go together", names.join(", ")));
            None
        }
    }
}

fn check_bucket(from: &mut SettingsReader, variable: Variable, bucket: &str) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    if bucket.len() > 255 || !bucket.bytes().all(plain) {
        from.problem(format!("{variable}: `{bucket}` cannot be a bucket's name"));
    }
}

fn prefix(from: &mut SettingsReader) -> String {
    let prefix = from.text(BACKUP_PREFIX);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/".contains(&b);
    let sound = prefix.len() > 1
        && !prefix.starts_with('/')
        && !prefix.contains("//")
        && !prefix.split('/').any(|part| part == ".." || part == ".")
        && prefix.bytes().all(plain);
    if !sound {
        from.problem(format!("{BACKUP_PREFIX}: `{prefix}` is not a few plain words with slashes; the bucket as a whole is never used"));
    }
    format!("{}/", prefix.trim_end_matches('/'))
}

fn expectations(from: &mut SettingsReader, catalogue: &Catalogue) -> Expectations {
    let named = from.text(BACKUP_EXPECTED);
    let named = named
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && *name != "none");
    let disposable = catalogue.entries().filter(|entry| entry.disposable);
    Expectations {
        named: named.map(str::to_owned).collect(),
        disposable: disposable.map(|entry| entry.name.clone()).collect(),
    }
}

fn policy(from: &mut SettingsReader) -> Policy {
    let moments = i64::try_from(from.number(BACKUP_PITR_DAYS, 0..=35)).unwrap_or(0);
    let mut count = |name| usize::try_from(from.number(name, 0..=1000)).unwrap_or(0);
    Policy {
        moments,
        last: count(BACKUP_KEEP_LAST),
        daily: count(BACKUP_KEEP_DAILY),
        weekly: count(BACKUP_KEEP_WEEKLY),
        monthly: count(BACKUP_KEEP_MONTHLY),
    }
}

#[cfg(test)]
mod tests;
