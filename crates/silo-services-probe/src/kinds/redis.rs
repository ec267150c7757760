//! Redis or Valkey: answers `PING`, and reports its state in `INFO`.

use std::collections::HashMap;

use serde::Serialize;
use silo_core::units::share;
use utoipa::ToSchema;

use crate::failure::Failure;
use crate::gateway::fetch::Reply;
use crate::warning::Warning;

/// Above this share of `maxmemory` the service is degraded: keys are evicted, or writes are refused.
const MAX_MEMORY_SHARE: f64 = 0.9;
/// The longest version that is shown.
const LONGEST_VERSION: usize = 40;

/// Facts of the server.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redis {
    /// Version.
    pub version: Option<String>,
    /// Uptime in seconds.
    pub uptime_seconds: Option<u64>,
    /// Connected clients.
    pub clients: Option<u64>,
    /// Used memory in bytes.
    pub used_bytes: Option<u64>,
    /// Limit of the memory in bytes; 0 without one.
    pub max_bytes: Option<u64>,
    /// Keys of all databases.
    pub keys: Option<u64>,
    /// Of the keys that were looked up since the start, the share that was there, 0 to 1.
    pub hit_ratio: Option<f64>,
    /// Keys removed for lack of memory since the start.
    pub evicted_keys: Option<u64>,
}

/// Reads the text of `INFO`.
pub(super) fn read(reply: &Reply) -> Result<Redis, Failure> {
    let body = reply.body.as_deref().unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let fields: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .collect();
    let count = |name: &str| fields.get(name).and_then(|value| value.parse::<u64>().ok());
    let version = fields
        .get("valkey_version")
        .or_else(|| fields.get("redis_version"))
        .filter(|version| version.len() <= LONGEST_VERSION && version.is_ascii());
    if version.is_none() {
        return Err(super::reply::nothing_known("Redis or Valkey"));
    }
    let (hits, misses) = (count("keyspace_hits"), count("keyspace_misses"));
    let keys = fields.iter().filter_map(|(name, value)| {
        let number = name.strip_prefix("db")?;
        number.parse::<u32>().ok()?;
        let keys = value.split(',').find_map(|part| part.strip_prefix("keys="));
        keys?.parse::<u64>().ok()
    });
    Ok(Redis {
        version: version.map(|version| (*version).to_owned()),
        uptime_seconds: count("uptime_in_seconds"),
        clients: count("connected_clients"),
        used_bytes: count("used_memory"),
        max_bytes: count("maxmemory"),
        keys: Some(keys.sum()),
        hit_ratio: hits
            .zip(misses)
            .and_then(|(hits, misses)| share(hits, hits.saturating_add(misses))),
        evicted_keys: count("evicted_keys"),
    })
}

impl Redis {
    /// Warning that its memory is nearly used up.
    pub(super) fn warning(&self) -> Option<Warning> {
        let (used, max) = self.used_bytes.zip(self.max_bytes)?;
        let used = share(used, max).filter(|used| *used > MAX_MEMORY_SHARE)?;
        Some(Warning {
            code: "memory_full",
            detail: format!("{:.0} % of its memory is used", used * 100.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        Reply {
            status: 0,
            body: Some(text.to_owned().into()),
        }
    }

    #[test]
    fn info_is_read_and_full_memory_is_a_warning() {
        let text = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\nuptime_in_seconds:77\r\nconnected_clients:3\r\nused_memory:95\r\nmaxmemory:100\r\nkeyspace_hits:3\r\nkeyspace_misses:1\r\nevicted_keys:0\r\n# Keyspace\r\ndb0:keys=4,expires=1\r\ndb3:keys=2,expires=0\r\n";
        let redis = read(&reply(text)).unwrap();
        assert_eq!(redis.version.as_deref(), Some("8.0.1"));
        assert_eq!((redis.keys, redis.hit_ratio), (Some(6), Some(0.75)));
        assert_eq!(redis.warning().unwrap().code, "memory_full");
        let unlimited = Redis {
            max_bytes: Some(0),
            ..redis
        };
        assert_eq!(unlimited.warning(), None);
        assert!(read(&reply("<html>")).is_err());
    }
}
