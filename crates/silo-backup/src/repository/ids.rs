//! Ids of backups.

use jiff::Timestamp;

/// A new backup's id. Ids sort by time.
#[must_use]
pub fn new_id(now: Timestamp) -> String {
    let letters: String = (0..6)
        .map(|_| char::from(b'a' + rand::random_range(0..26_u8)))
        .collect();
    format!("{}-{letters}", now.strftime("%Y%m%dT%H%M%SZ"))
}

/// `true` if a text has the form of a backup's id. Only such texts become part of a key.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let (time, letters) = text.split_once('-').unwrap_or_default();
    time.len() == 16
        && letters.len() == 6
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Start of the run, from a backup's id.
#[must_use]
pub fn time_of_id(id: &str) -> Option<Timestamp> {
    let (time, _) = id.split_once('-')?;
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}
