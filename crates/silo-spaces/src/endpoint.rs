//! Endpoint of object storage: URL, credentials and limits.

use std::num::NonZeroU32;
use std::time::Duration;

use silo_core::secret::Secret;

/// Addressing of a bucket: in the path or in the host name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Addressing {
    /// `https://endpoint/bucket/key`: every bucket, whatever its name.
    #[default]
    Path,
    /// `https://bucket.endpoint/key`: not for names with dots, which no wildcard certificate covers.
    VirtualHost,
}

/// One S3-compatible service.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// URL, such as `https://sfo3.digitaloceanspaces.com`; `http://` works too.
    pub url: String,
    /// The region that requests are signed for; `us-east-1` for most services that are not AWS.
    pub region: String,
    /// The access key's id.
    pub key: Secret,
    /// The access key's secret.
    pub secret: Secret,
    /// Addressing of buckets.
    pub addressing: Addressing,
}

/// Rate limit, time limits and retries.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests a second, repeated ones included.
    pub requests_per_second: NonZeroU32,
    /// Most attempts for one request.
    pub attempts: u32,
    /// From the first byte sent to the first byte of the answer.
    pub first_byte: Duration,
    /// The longest pause inside an answer.
    pub stall: Duration,
    /// The longest pause before a request is repeated; a longer `Retry-After` is cut to this.
    pub longest_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN),
            attempts: 6,
            first_byte: Duration::from_secs(10),
            stall: Duration::from_secs(10),
            longest_pause: Duration::from_secs(20),
        }
    }
}
