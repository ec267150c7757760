//! Definition of a probe: name, kind, URL, interval, and expected answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;

use crate::gateway::redis::SignIn;

/// Number of concurrent checks.
pub const CONCURRENT_CHECKS: usize = 3;

/// Kind of a service, which determines the path to request and the meaning of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Anything that answers HTTP.
    Http,
    /// The machine that bakes tapes into video.
    Oven,
    /// The server that visitors' sockets are connected to.
    Session,
    /// The AT-protocol personal data server.
    Atproto,
    /// The site itself and its API.
    Lith,
    /// A service of Silo.
    Silo,
    /// A Redis or Valkey server.
    Redis,
    /// Anything that takes TCP connections.
    Tcp,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Http,
        Self::Oven,
        Self::Session,
        Self::Atproto,
        Self::Lith,
        Self::Silo,
        Self::Redis,
        Self::Tcp,
    ];

    /// Name in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Oven => "oven",
            Self::Session => "session",
            Self::Atproto => "atproto",
            Self::Lith => "lith",
            Self::Silo => "silo",
            Self::Redis => "redis",
            Self::Tcp => "tcp",
        }
    }

    /// Schemes of the URLs of this kind.
    #[must_use]
    pub fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Redis => &["redis", "rediss"],
            Self::Tcp => &["tcp"],
            _ => &["http", "https"],
        }
    }

    /// `true` if services of this kind are asked over HTTP.
    #[must_use]
    pub fn reads_http(self) -> bool {
        !matches!(self, Self::Redis | Self::Tcp)
    }
}

/// One probe. It comes from the settings and never from a request.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Name of the service: letters, digits and dashes.
    pub name: String,
    /// Kind of the service.
    pub kind: Kind,
    /// Base URL, to which a kind's own path is added.
    pub url: Url,
    /// From the start of one check to the start of the next.
    pub interval: Duration,
    /// Time limit of a check, at most 3 s.
    pub timeout: Duration,
    /// Failures in a row after which the service is down; before, it is degraded.
    pub failures_to_down: u32,
    /// User and password, of a Redis server only.
    pub sign_in: Option<SignIn>,
    /// Conditions on the answer.
    pub expect: Expect,
}

/// Failures in a row after which a service is down, unless its probe says otherwise.
pub const FAILURES_TO_DOWN: u32 = 2;

/// Conditions. An unmet one is a failure, except for slowness and certificate expiry, which degrade.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Statuses that are well; none means 200 to 299.
    pub status: Vec<u16>,
    /// JSON pointers (RFC 6901) and the values that must be there.
    pub json: std::collections::BTreeMap<String, Value>,
    /// Text that must be in the body.
    pub text: Option<String>,
    /// A slower answer degrades, in milliseconds.
    pub response_ms: Option<u64>,
    /// So many days before the certificate expires, or fewer, degrade.
    pub certificate_days: i64,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            status: Vec::new(),
            json: std::collections::BTreeMap::new(),
            text: None,
            response_ms: None,
            certificate_days: 14,
        }
    }
}

impl Expect {
    /// `true` if a status is expected.
    #[must_use]
    pub fn allows(&self, status: u16) -> bool {
        if self.status.is_empty() {
            (200..300).contains(&status)
        } else {
            self.status.contains(&status)
        }
    }
}

impl Probe {
    /// The address of one of its paths, below the path that its URL has; the URL itself when there is no such path.
    #[must_use]
    pub fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        if path.is_empty() {
            return url;
        }
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        url
    }

    /// URL for display, without the query, which may contain a secret.
    #[must_use]
    pub fn target(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.to_string()
    }
}
