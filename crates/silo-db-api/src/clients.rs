//! Clients connected to mongod, to verify a cut-over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::gateway::{Connection, Gateway, source_error};

/// A client that should be connected; from `[[clients]]` in `silo.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedClient {
    /// Display name.
    pub name: String,
    /// The `appName` it connects with.
    pub app_name: String,
}

/// Connections with the same name, driver and address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectedClient {
    /// Application name that the client reports; `null` when it reports none.
    pub app_name: Option<String>,
    /// Name and version of the driver; `null` when unknown.
    pub driver: Option<String>,
    /// Client address; `null` when the server does not report it.
    pub address: Option<String>,
    /// Number of connections.
    pub connections: u64,
    /// Number of connections with a running operation.
    pub active: u64,
    /// When one of them was last seen doing something, at the times we looked; `null` when never since this service started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_activity: Option<Timestamp>,
}

/// A client that should be connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExpectedState {
    /// Display name.
    pub name: String,
    /// The `appName` it connects with.
    pub app_name: String,
    /// Connection state: `seen` or `missing`.
    pub state: &'static str,
}

/// Everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Clients {
    /// Connected clients.
    pub clients: Vec<ConnectedClient>,
    /// Expected clients.
    pub expected: Vec<ExpectedState>,
}

type ClientKey = (Option<String>, Option<String>, Option<String>);

/// Watcher of connections, which remembers when each client was last active.
#[derive(Clone)]
pub struct Watcher {
    gateway: Gateway,
    expected: Arc<Vec<ExpectedClient>>,
    seen: Arc<Mutex<BTreeMap<ClientKey, Timestamp>>>,
}

impl Watcher {
    /// A watcher that has seen no connection yet.
    #[must_use]
    pub fn new(gateway: Gateway, expected: Vec<ExpectedClient>) -> Self {
        Self {
            gateway,
            expected: Arc::new(expected),
            seen: Arc::default(),
        }
    }

    /// Looks once.
    pub async fn measure(self) -> Result<Measured<Clients>, SourceError> {
        let connections = self
            .gateway
            .connections()
            .await
            .map_err(|error| source_error("mongod", error))?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(group(connections, &self.expected, &mut seen, Timestamp::now()).into())
    }
}

fn group(
    connections: Vec<Connection>,
    expected: &[ExpectedClient],
    seen: &mut BTreeMap<ClientKey, Timestamp>,
    now: Timestamp,
) -> Clients {
    let mut groups = BTreeMap::<ClientKey, (u64, u64)>::new();
    for connection in connections {
        let who = (connection.app_name, connection.driver, connection.address);
        let (all, active) = groups.entry(who.clone()).or_default();
        *all += 1;
        if connection.active {
            *active += 1;
            seen.insert(who, now);
        }
    }
    // Disconnected clients are removed, so that memory is bounded by the connected ones.
    seen.retain(|who, _| groups.contains_key(who));
    let expected = expected.iter().map(|expected| {
        let here = groups
            .keys()
            .any(|(app_name, ..)| app_name.as_deref() == Some(&expected.app_name));
        ExpectedState {
            name: expected.name.clone(),
            app_name: expected.app_name.clone(),
            state: if here { "seen" } else { "missing" },
        }
    });
    let expected = expected.collect();
    let clients = groups.into_iter().map(|(who, (connections, active))| {
        let last_activity = seen.get(&who).copied();
        let (app_name, driver, address) = who;
        ConnectedClient {
            app_name,
            driver,
            address,
            connections,
            active,
            last_activity,
        }
    });
    Clients {
        clients: clients.collect(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_grouped_and_expected_clients_are_seen_or_missing() {
        let oven = |active| Connection {
            app_name: Some("oven".into()),
            driver: None,
            address: Some("10.0.0.1".into()),
            active,
        };
        let expect = |name: &str| ExpectedClient {
            name: name.into(),
            app_name: name.into(),
        };
        let mut seen = BTreeMap::new();
        let expected = [expect("oven"), expect("lith")];
        let first = group(
            vec![oven(true), oven(false)],
            &expected,
            &mut seen,
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(
            (first.clients[0].connections, first.clients[0].active),
            (2, 1)
        );
        let states: Vec<_> = first
            .expected
            .iter()
            .map(|expected| expected.state)
            .collect();
        assert_eq!(states, ["seen", "missing"]);
        let later = group(vec![oven(false)], &expected, &mut seen, Timestamp::now());
        assert_eq!(later.clients[0].last_activity, Some(Timestamp::UNIX_EPOCH));
        group(vec![], &expected, &mut seen, Timestamp::now());
        assert!(seen.is_empty(), "who is gone is forgotten");
    }
}
