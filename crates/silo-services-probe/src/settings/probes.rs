//! The probes: AC's services and Silo's own, and what `[[probes]]` in `silo.toml` changes of them and adds.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use silo_core::secret::Secret;
use silo_core::settings::SettingsReader;
use silo_core::variables::{ATPROTO_URL, OVEN_URL, PROBE_SECONDS, SESSION_URL};
use url::Url;

use crate::gateway::redis::SignIn;
use crate::probe::{Expect, FAILURES_TO_DOWN, Kind, Probe};

/// The quickest and the slowest interval, in seconds.
const INTERVALS: RangeInclusive<u64> = 5..=3600;
/// The longest time a check may take, and the shortest that makes sense, in milliseconds.
const TIMEOUTS: RangeInclusive<u64> = 100..=3000;
/// The fewest and the most failures in a row that take a service down.
const FAILURES: RangeInclusive<u32> = 1..=10;
/// Most probes.
const MOST: usize = 100;
/// Names of paths beside the services.
const RESERVED: [&str; 3] = ["alarms", "changes", "events"];
/// The longest name.
const LONGEST_NAME: usize = 40;

/// `[[probes]]` in `silo.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    kind: Option<String>,
    url: Option<String>,
    interval_seconds: Option<u64>,
    timeout_ms: Option<u64>,
    failures_to_down: Option<u32>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    #[serde(default)]
    expect: Expect,
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

/// AC's services and Silo's own, each as `silo.toml` changes it, and then the others that it names.
pub(super) fn probes(
    from: &mut SettingsReader,
    [db_api, storage_api, backup_api]: [&str; 3],
) -> Vec<Probe> {
    let known = [
        ("oven", Kind::Oven, from.url(OVEN_URL)),
        ("session", Kind::Session, from.url(SESSION_URL)),
        ("atproto", Kind::Atproto, from.url(ATPROTO_URL)),
        ("silo-db-api", Kind::Silo, db_api.to_owned()),
        ("silo-storage-api", Kind::Silo, storage_api.to_owned()),
        ("silo-backup", Kind::Silo, backup_api.to_owned()),
    ];
    let names = known.each_ref().map(|(name, ..)| *name);
    let every = from.number(PROBE_SECONDS, INTERVALS);
    let entries: Vec<Entry> = from.list("probes");
    for (at, entry) in entries.iter().enumerate() {
        if entries[..at].iter().any(|other| other.name == entry.name) {
            let name = &entry.name;
            from.problem(format!("probes in silo.toml: `{name}` occurs twice"));
        }
    }
    let mut probes = Vec::new();
    for (name, kind, url) in known {
        let entry = entries.iter().find(|entry| entry.name == name);
        let bare = Entry::named(name);
        probes.extend(probe(
            from,
            entry.unwrap_or(&bare),
            Some((kind, url)),
            every,
        ));
    }
    for entry in &entries {
        if !names.contains(&entry.name.as_str()) {
            probes.extend(probe(from, entry, None, every));
        }
    }
    if probes.len() > MOST {
        let count = probes.len();
        from.problem(format!(
            "probes in silo.toml: {count} probes are more than {MOST}"
        ));
    }
    probes
}

impl Entry {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: None,
            url: None,
            interval_seconds: None,
            timeout_ms: None,
            failures_to_down: None,
            user: None,
            password_file: None,
            expect: Expect::default(),
            enabled: true,
        }
    }
}

/// One probe, with every problem of it noted; `None` when it is switched off or cannot be made.
fn probe(
    from: &mut SettingsReader,
    entry: &Entry,
    known: Option<(Kind, String)>,
    every: u64,
) -> Option<Probe> {
    let name = &entry.name;
    let place = format!("probes in silo.toml, {name}");
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty()
        || name.len() > LONGEST_NAME
        || !name.bytes().all(plain)
        || RESERVED.contains(&name.as_str())
    {
        from.problem(format!(
            "{place}: a name has 1 to {LONGEST_NAME} small letters, digits and dashes, and is none of `alarms`, `changes`, `events`"
        ));
    }
    let interval = entry.interval_seconds.unwrap_or(every);
    if !INTERVALS.contains(&interval) {
        let (least, most) = (INTERVALS.start(), INTERVALS.end());
        from.problem(format!(
            "{place}: interval_seconds must be from {least} to {most}"
        ));
    }
    let timeout = entry.timeout_ms.unwrap_or(*TIMEOUTS.end());
    if !TIMEOUTS.contains(&timeout) {
        let (least, most) = (TIMEOUTS.start(), TIMEOUTS.end());
        from.problem(format!(
            "{place}: timeout_ms must be from {least} to {most}"
        ));
    }
    let failures_to_down = entry.failures_to_down.unwrap_or(FAILURES_TO_DOWN);
    if !FAILURES.contains(&failures_to_down) {
        let (least, most) = (FAILURES.start(), FAILURES.end());
        from.problem(format!(
            "{place}: failures_to_down must be from {least} to {most}"
        ));
    }
    let kind = kind(from, &place, entry);
    let (kind, url) = match known {
        Some((usual, default)) => (kind.unwrap_or(usual), entry.url.clone().unwrap_or(default)),
        None => {
            if entry.url.is_none() {
                from.problem(format!("{place}: url is missing"));
            }
            (kind.unwrap_or(Kind::Http), entry.url.clone()?)
        }
    };
    check_expect(from, &place, kind, &entry.expect);
    let sign_in = sign_in(from, &place, kind, entry);
    if entry.url.is_some() {
        check_url(from, &place, kind, &url);
    }
    let parsed = Url::parse(&url).ok();
    // Every rejected probe is reported. A value that does not look like a URL has been reported already.
    if parsed.is_none() && entry.url.is_none() && url.starts_with("http") {
        from.problem(format!("{name}: its URL cannot be read"));
    }
    let url = parsed?;
    entry.enabled.then(|| Probe {
        name: name.clone(),
        kind,
        url,
        interval: Duration::from_secs(interval),
        timeout: Duration::from_millis(timeout),
        failures_to_down,
        sign_in,
        expect: entry.expect.clone(),
    })
}

fn kind(from: &mut SettingsReader, place: &str, entry: &Entry) -> Option<Kind> {
    let word = entry.kind.as_deref()?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
    if kind.is_none() {
        let words = Kind::ALL.map(Kind::word).join(", ");
        from.problem(format!("{place}: kind `{word}` is not one of {words}"));
    }
    kind
}

/// User and password of a Redis server. The password is read from a file, so that `silo.toml` holds no secret.
fn sign_in(from: &mut SettingsReader, place: &str, kind: Kind, entry: &Entry) -> Option<SignIn> {
    let file = match (&entry.password_file, &entry.user) {
        (Some(file), _) => file,
        (None, Some(_)) => {
            from.problem(format!("{place}: user needs password_file"));
            return None;
        }
        (None, None) => return None,
    };
    if kind != Kind::Redis {
        from.problem(format!("{place}: password_file is for the kind redis only"));
        return None;
    }
    match std::fs::read_to_string(file) {
        Ok(password) => Some(SignIn {
            user: entry.user.clone().unwrap_or_else(|| "default".into()),
            password: Secret::new(password.trim_end()),
        }),
        Err(error) => {
            let file = file.display();
            from.problem(format!("{place}: password_file {file}: {error}"));
            None
        }
    }
}

/// The URL is left out of messages: it may contain a password.
fn check_url(from: &mut SettingsReader, place: &str, kind: Kind, text: &str) {
    let schemes = kind.schemes();
    let url = Url::parse(text).ok();
    let url = url.filter(|url| schemes.contains(&url.scheme()) && url.has_host());
    match url {
        None => from.problem(format!(
            "{place}: url must be {}:// with a host",
            schemes.join(":// or ")
        )),
        Some(url) if url.port_or_known_default().is_none() => {
            from.problem(format!("{place}: url must have a port"));
        }
        Some(url) if !url.username().is_empty() || url.password().is_some() => {
            from.problem(format!(
                "{place}: url must have no user and no password in it"
            ));
        }
        Some(url) if url.fragment().is_some() => {
            from.problem(format!("{place}: url must have no fragment"));
        }
        Some(_) => {}
    }
}

fn check_expect(from: &mut SettingsReader, place: &str, kind: Kind, expect: &Expect) {
    let of_http = !expect.status.is_empty() || !expect.json.is_empty() || expect.text.is_some();
    if of_http && !kind.reads_http() {
        let kind = kind.word();
        from.problem(format!(
            "{place}: expect.status, expect.json and expect.text are not for the kind {kind}"
        ));
    }
    if expect.text.as_ref().is_some_and(String::is_empty) {
        from.problem(format!("{place}: expect.text is empty"));
    }
    if let Some(status) = expect
        .status
        .iter()
        .find(|status| !(100..600).contains(*status))
    {
        from.problem(format!("{place}: expect.status {status} is no HTTP status"));
    }
    if let Some(pointer) = expect
        .json
        .keys()
        .find(|pointer| !pointer.is_empty() && !pointer.starts_with('/'))
    {
        from.problem(format!(
            "{place}: expect.json `{pointer}` is no JSON pointer, which begins with /"
        ));
    }
    if !(0..=365).contains(&expect.certificate_days) {
        from.problem(format!(
            "{place}: expect.certificate_days must be from 0 to 365"
        ));
    }
}
