//! Result of reading a snapshot: value, age, freshness and errors.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use silo_core::units::now;
use utoipa::ToSchema;

/// Error of a source, for people and programs; never the text of a driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceError {
    /// Source that was queried: `mongod`, `collection boots`...
    pub source: String,
    /// A stable name, in snake case: `unreachable`, `not_authorized`, `timed_out`...
    pub code: String,
    /// One sentence for people.
    pub detail: String,
    /// When it began to fail this way.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
}

impl SourceError {
    /// An error that begins now.
    pub fn new(
        source: impl Into<String>,
        code: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            source: source.into(),
            code: code.into(),
            detail: detail.into(),
            since: Some(now()),
        }
    }
}

/// A measured value, with the errors of its missing parts. Without errors it is complete.
#[derive(Debug)]
pub struct Measured<T> {
    /// The value; missing parts are `None`.
    pub value: T,
    /// Reasons of the missing parts.
    pub errors: Vec<SourceError>,
}

impl<T> From<T> for Measured<T> {
    fn from(value: T) -> Self {
        Self {
            value,
            errors: Vec::new(),
        }
    }
}

/// Freshness of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// Completely measured, within twice the `ttl`.
    Fresh,
    /// The last good value: the last measurement failed, is overdue, or was made before a restart.
    Stale,
    /// Fresh, but some of its inputs failed: `errors` names them.
    Partial,
    /// There is no value; `errors` has the reason.
    Error,
}

/// A value as JSON, serialised and hashed once.
#[derive(Clone, Debug)]
pub struct Json {
    bytes: Bytes,
    hash: u64,
}

impl Json {
    /// Serialises a value.
    ///
    /// # Errors
    /// When the value cannot be written as JSON, such as a map whose keys are no text.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        let bytes = Bytes::from(serde_json::to_vec(value)?);
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let hash = hasher.finish();
        Ok(Self { bytes, hash })
    }

    /// The JSON text.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Hash of the text, for entity tags.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// Value of a snapshot with its age and freshness.
#[derive(Debug)]
pub struct Reading<T> {
    /// The value.
    pub value: Arc<T>,
    /// The value, serialised once when it was measured.
    pub json: Json,
    /// When it was measured.
    pub as_of: Timestamp,
    /// Age, by a clock that is not set and runs while the machine is suspended.
    pub age: Duration,
    /// Interval between measurements.
    pub ttl: Duration,
    /// Freshness of the value.
    pub state: Freshness,
    /// Errors of the measurement; empty when it is complete.
    pub errors: Vec<SourceError>,
}

impl<T> Reading<T> {
    /// Adds errors that occurred while the answer was built.
    #[must_use]
    pub fn noting(mut self, errors: impl IntoIterator<Item = SourceError>) -> Self {
        self.errors.extend(errors);
        if self.state == Freshness::Fresh && !self.errors.is_empty() {
            self.state = Freshness::Partial;
        }
        self
    }
}

/// An error that was there before keeps the time it began.
pub(super) fn keep_since(errors: &[SourceError], known: &[SourceError]) -> Vec<SourceError> {
    let began = |error: &SourceError| {
        let same =
            |other: &&SourceError| (&other.source, &other.code) == (&error.source, &error.code);
        known
            .iter()
            .find(same)
            .map_or(error.since, |known| known.since)
    };
    errors
        .iter()
        .map(|error| SourceError {
            since: began(error),
            ..error.clone()
        })
        .collect()
}

pub(super) fn restored_error(name: &str) -> SourceError {
    let detail = "measured before this service started, and not again yet";
    SourceError::new(name, "restored", detail)
}

pub(super) fn overdue_error(name: &str) -> SourceError {
    let detail = "the last value is older than two intervals";
    SourceError {
        source: name.into(),
        code: "overdue".into(),
        detail: detail.into(),
        since: None,
    }
}
