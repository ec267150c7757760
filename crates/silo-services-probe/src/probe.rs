//! What is probed: a service's name, its kind, where it is, how often it is asked, and what is expected of its answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;

/// What a service is, which decides what it is asked and what its answers mean.
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
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Http,
        Self::Oven,
        Self::Session,
        Self::Atproto,
        Self::Lith,
        Self::Silo,
    ];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Oven => "oven",
            Self::Session => "session",
            Self::Atproto => "atproto",
            Self::Lith => "lith",
            Self::Silo => "silo",
        }
    }
}

/// One probe. It comes from the settings and never from a request.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Its name: letters, digits and dashes.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where it is; a kind's own path is added to it.
    pub url: Url,
    /// From the start of one check to the start of the next.
    pub interval: Duration,
    /// How long a check may take, 3 s at the most.
    pub timeout: Duration,
    /// What its answers must be like.
    pub expect: Expect,
}

/// Conditions: what is not met is a failure, except for slowness and certificates, which degrade.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Statuses that are well; none means 200 to 299.
    pub status: Vec<u16>,
    /// JSON pointers (RFC 6901) and the values that must be there.
    pub json: std::collections::BTreeMap<String, Value>,
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
            response_ms: None,
            certificate_days: 14,
        }
    }
}

impl Expect {
    /// Whether a status is well.
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

    /// Where it is, for people: without a query, which may hold a secret.
    #[must_use]
    pub fn target(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.to_string()
    }
}
