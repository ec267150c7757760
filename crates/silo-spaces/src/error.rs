//! Error of a request to object storage.

use std::fmt;
use std::time::Duration;

use rusoto_core::RusotoError;

/// Kind of an error, with a stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The endpoint does not answer, or the connection was interrupted.
    Unreachable,
    /// No answer, or no more of it, in time.
    TimedOut,
    /// The service asks to slow down (503, 429).
    Throttled,
    /// The service failed (500, 502, 504).
    ServerFailed,
    /// The answer is not what this request is answered with: cut short, HTML, another document.
    Malformed,
    /// The key may not do this, or is wrong (403, 401).
    Denied,
    /// This machine's clock and the service's are too far apart (403 `RequestTimeTooSkewed`).
    ClockSkewed,
    /// There is no such bucket.
    NoSuchBucket,
    /// There is no such object or upload.
    NotFound,
    /// The service does not know this request (501).
    NotSupported,
    /// Another refusal.
    Refused,
    /// The data to be sent could not be read.
    Source,
}

const KINDS: [Kind; 12] = [
    Kind::Unreachable,
    Kind::TimedOut,
    Kind::Throttled,
    Kind::ServerFailed,
    Kind::Malformed,
    Kind::Denied,
    Kind::ClockSkewed,
    Kind::NoSuchBucket,
    Kind::NotFound,
    Kind::NotSupported,
    Kind::Refused,
    Kind::Source,
];

impl Kind {
    /// The stable name, in snake case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Throttled => "throttled",
            Self::ServerFailed => "server_failed",
            Self::Malformed => "malformed_answer",
            Self::Denied => "not_authorized",
            Self::ClockSkewed => "clock_skewed",
            Self::NoSuchBucket => "no_such_bucket",
            Self::NotFound => "not_found",
            Self::NotSupported => "not_supported",
            Self::Refused => "refused",
            Self::Source => "source_failed",
        }
    }
}

/// A failure, in words of ours: no key, no answer's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageError {
    /// Kind of the error.
    pub kind: Kind,
    /// One sentence for people.
    pub detail: String,
    /// Delay that the service asked for (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl StorageError {
    /// An error found by a user of this crate.
    #[must_use]
    pub fn other(kind: Kind, detail: &str) -> Self {
        Self::new(kind, detail)
    }

    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// `true` if a retry may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            Kind::Unreachable
                | Kind::TimedOut
                | Kind::Throttled
                | Kind::ServerFailed
                | Kind::Malformed
        )
    }

    /// The fault of an answer with an error status; `code` is S3's own, when the answer had one.
    pub(crate) fn of_status(status: u16, code: &str) -> Self {
        let (kind, detail) = match (status, code) {
            (403, "RequestTimeTooSkewed") => (
                Kind::ClockSkewed,
                "this machine's clock is too far from the storage's".to_owned(),
            ),
            (401 | 403, _) => (
                Kind::Denied,
                "the access key may not do this, or is wrong".to_owned(),
            ),
            (404, "NoSuchBucket") => (Kind::NoSuchBucket, "there is no such bucket".to_owned()),
            (404, _) => (Kind::NotFound, "there is no such object".to_owned()),
            (429 | 503, _) => (Kind::Throttled, "the storage asks to slow down".to_owned()),
            (501, _) => (
                Kind::NotSupported,
                "the storage does not know this request".to_owned(),
            ),
            (500..=599, _) => (
                Kind::ServerFailed,
                format!("the storage failed with status {status}"),
            ),
            (301 | 302 | 307 | 308, _) => (
                Kind::Refused,
                "the bucket lies at another endpoint or region".to_owned(),
            ),
            _ => (
                Kind::Refused,
                format!("the storage refused with status {status}{}", known(code)),
            ),
        };
        Self::new(kind, detail)
    }

    /// Through rusoto, whose own error is a string.
    pub(crate) fn encode(&self) -> String {
        format!("{}|{}", self.kind.code(), self.detail)
    }

    fn decode(text: &str) -> Option<Self> {
        let (code, detail) = text.split_once('|')?;
        let kind = KINDS.into_iter().find(|kind| kind.code() == code)?;
        Some(Self::new(kind, detail))
    }
}

/// S3's error codes are letters only; anything else is foreign text and is dropped.
fn known(code: &str) -> String {
    let plain = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain {
        format!(" ({code})")
    } else {
        String::new()
    }
}

impl<E> From<RusotoError<E>> for StorageError {
    fn from(error: RusotoError<E>) -> Self {
        let decoded = match &error {
            RusotoError::HttpDispatch(error) => Self::decode(&error.to_string()),
            _ => None,
        };
        decoded.unwrap_or_else(|| {
            Self::new(
                Kind::Malformed,
                "the answer is not what this request is answered with",
            )
        })
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for StorageError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_its_way_through_rusoto() {
        for kind in KINDS {
            let error = StorageError::new(kind, "a | b");
            assert_eq!(StorageError::decode(&error.encode()), Some(error));
        }
    }

    #[test]
    fn foreign_error_text_is_dropped_unless_it_is_a_code() {
        let detail_of = |code| StorageError::of_status(400, code).detail;
        assert_eq!(
            detail_of("InvalidArgument"),
            "the storage refused with status 400 (InvalidArgument)"
        );
        assert_eq!(
            detail_of("AKIA secret!"),
            "the storage refused with status 400"
        );
    }
}
