//! State of mongod: up, degraded or down, and its load.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use silo_core::units::{double, round, share};
use silo_mongo::error::DatabaseError;
use silo_mongo::privileges::{Privileges, privileges};
use silo_mongo::versions;
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::gateway::{Gateway, Status, source_error};

/// Rates kept for the sparkline.
const KEPT_RATES: usize = 90;
/// Above this share of connections in use the server is degraded.
const CROWDED: f64 = 0.9;

/// Status of mongod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServerStatus {
    /// The server answers and nothing is wrong.
    Up,
    /// The server answers; `notes` lists the problems.
    Degraded,
    /// The server does not answer.
    Down,
}

/// State of the server. `null` is a value that the server does not report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Problems while the server answers, one sentence each.
    pub notes: Vec<String>,
    /// Version of mongod.
    pub version: Option<String>,
    /// Known faults of this version, and the release to upgrade to; empty when there are none. They do not make it degraded.
    pub version_warnings: Vec<String>,
    /// Uptime in seconds.
    pub uptime_seconds: Option<u64>,
    /// Connections.
    pub connections: Connections,
    /// Operations since it started.
    pub opcounters: Option<Opcounters>,
    /// Operations a second since the look before.
    pub per_second: Option<Rates>,
    /// All operations a second, oldest first, one for each look; `null` where a look has no rate.
    #[schema(value_type = Vec<Option<f64>>)]
    pub recent_operations_per_second: VecDeque<Option<f64>>,
    /// Milliseconds between two looks.
    pub sample_ms: u64,
    /// Reads for each write since it started; `null` before the first write.
    pub read_write_ratio: Option<f64>,
    /// Memory that the process uses.
    pub resident_bytes: Option<u64>,
    /// The storage engine's cache.
    pub cache: Cache,
    /// Of the pages asked of the cache, the share it had, 0 to 1.
    pub cache_hit_ratio: Option<f64>,
    /// The replica set; `null` for a standalone server.
    pub replica_set: Option<ReplicaSet>,
    /// From the oldest to the newest operation in the oplog.
    pub oplog_window_seconds: Option<u64>,
    /// Privileges of the account that Silo uses: `readOnly`, `canWrite` or `unauthenticated`.
    pub account: Option<&'static str>,
}

/// Connections of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// Open now.
    pub current: Option<u64>,
    /// Connections that could still be opened.
    pub available: Option<u64>,
    /// Ever opened.
    pub total_created: Option<u64>,
}

/// Operations by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Opcounters {
    /// Inserts.
    pub insert: u64,
    /// Queries.
    pub query: u64,
    /// Updates.
    pub update: u64,
    /// Deletes.
    pub delete: u64,
    /// Fetches of more results.
    pub getmore: u64,
    /// Commands.
    pub command: u64,
}

/// Operations a second by kind.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Rates {
    /// Inserts.
    pub insert: f64,
    /// Queries.
    pub query: f64,
    /// Updates.
    pub update: f64,
    /// Deletes.
    pub delete: f64,
    /// Fetches of more results.
    pub getmore: f64,
    /// Commands.
    pub command: f64,
}

/// The storage engine's cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// Bytes in it.
    pub used_bytes: Option<u64>,
    /// Bytes it may hold.
    pub max_bytes: Option<u64>,
    /// Pages asked of it.
    pub pages_requested: Option<u64>,
    /// Pages that had to be read into it.
    pub pages_read: Option<u64>,
}

/// The replica set a server belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReplicaSet {
    /// Name of the replica set.
    pub name: String,
    /// Role of this server: `primary`, `secondary` or `neither`.
    pub state: &'static str,
    /// Number of members.
    pub members: Option<u64>,
}

/// Watcher of the server, which remembers the counters that rates are computed from.
#[derive(Clone)]
pub struct Watcher {
    gateway: Gateway,
    every: Duration,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    last: Option<(Opcounters, u64)>,
    rates: VecDeque<Option<f64>>,
    privileges: Option<Privileges>,
    /// The version whose known faults were logged.
    warned_of: Option<String>,
}

impl Watcher {
    /// A watcher that looks every so often.
    #[must_use]
    pub fn new(gateway: Gateway, every: Duration) -> Self {
        Self {
            gateway,
            every,
            memory: Arc::default(),
        }
    }

    /// Looks once.
    pub async fn measure(self) -> Result<Measured<Server>, SourceError> {
        let at = |fault| source_error("mongod", fault);
        let (status, refused) = match self.gateway.server_status().await {
            Ok(status) => (status, None),
            // The server is up, but the account may not read its state.
            Err(fault @ (DatabaseError::NotAuthorized | DatabaseError::NotSupported)) => {
                self.gateway.ping().await.map_err(at)?;
                (Status::default(), Some(source_error("serverStatus", fault)))
            }
            Err(fault) => {
                self.remember_rights(None);
                return Err(at(fault));
            }
        };
        if let Some(version) = &status.version {
            self.warn_of_version(version);
        }
        self.check_rights().await;
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = refused.into_iter().collect();
        let value = describe(status, &mut memory, self.every);
        let value = if Vec::is_empty(&errors) {
            value
        } else {
            without_status(value)
        };
        Ok(Measured { value, errors })
    }

    /// Logs the known faults of this version, once for each version that is seen.
    fn warn_of_version(&self, version: &str) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.warned_of.as_deref() == Some(version) {
            return;
        }
        for warning in versions::warnings(version) {
            log::warn!("{warning}");
        }
        memory.warned_of = Some(version.to_owned());
    }

    /// Asks what the account may do, once for each time the server comes up, and warns when that is too much.
    async fn check_rights(&self) {
        if self
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .privileges
            .is_some()
        {
            return;
        }
        let Ok(privileges) = privileges(self.gateway.client(), self.gateway.database_name()).await
        else {
            return;
        };
        match &privileges {
            Privileges::ReadOnly => {
                log::info!("the account can read and watch, and cannot write: as it should be")
            }
            Privileges::CanWrite(actions) => log::warn!(
                actions = actions.join(",").as_str();
                "THE ACCOUNT CAN WRITE to {}: give this service one with only read and clusterMonitor", self.gateway.database_name()
            ),
            Privileges::Unauthenticated => log::warn!(
                "THE SERVER REQUIRES NO AUTHENTICATION: anyone who reaches it can read and write everything; turn on authorization"
            ),
        }
        self.remember_rights(Some(privileges));
    }

    fn remember_rights(&self, privileges: Option<Privileges>) {
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .privileges = privileges;
    }
}

fn describe(status: Status, memory: &mut Memory, every: Duration) -> Server {
    let rates = rates(
        status.opcounters.as_ref(),
        status.uptime_ms,
        memory.last.as_ref(),
    );
    memory.last = status.opcounters.clone().zip(status.uptime_ms);
    memory.rates.push_back(rates.as_ref().map(total_rate));
    while memory.rates.len() > KEPT_RATES {
        memory.rates.pop_front();
    }
    let account = memory
        .privileges
        .as_ref()
        .map(|privileges| match privileges {
            Privileges::ReadOnly => "readOnly",
            Privileges::CanWrite(_) => "canWrite",
            Privileges::Unauthenticated => "unauthenticated",
        });
    Server {
        notes: notes(&status),
        version_warnings: status
            .version
            .as_deref()
            .map(versions::warnings)
            .unwrap_or_default(),
        version: status.version,
        uptime_seconds: status.uptime_ms.map(|ms| ms / 1000),
        connections: status.connections,
        read_write_ratio: status.opcounters.as_ref().and_then(read_write_ratio),
        opcounters: status.opcounters,
        per_second: rates,
        recent_operations_per_second: memory.rates.clone(),
        sample_ms: silo_core::units::whole_millis(every),
        resident_bytes: status.resident_bytes,
        cache_hit_ratio: hit_ratio(&status.cache),
        cache: status.cache,
        replica_set: status.replica_set,
        oplog_window_seconds: status.oplog_window_seconds,
        account,
    }
}

fn without_status(server: Server) -> Server {
    let note = "the account may not ask the server how it is: it needs the role clusterMonitor";
    Server {
        notes: vec![note.into()],
        ..server
    }
}

fn notes(status: &Status) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some((current, available)) = status.connections.current.zip(status.connections.available)
        && share(current, current.saturating_add(available)).is_some_and(|used| used > CROWDED)
    {
        notes.push(format!(
            "{current} connections are open and only {available} more are possible"
        ));
    }
    if let Some(set) = &status.replica_set
        && set.state == "neither"
    {
        notes.push(format!(
            "the server is neither primary nor secondary of {}",
            set.name
        ));
    }
    notes
}

/// Operations a second between two looks; `None` when there was no look before or the server has restarted since.
fn rates(
    now: Option<&Opcounters>,
    uptime_ms: Option<u64>,
    before: Option<&(Opcounters, u64)>,
) -> Option<Rates> {
    let ((now, uptime_ms), (before, uptime_before)) = (now.zip(uptime_ms)?, before?);
    let seconds = double(uptime_ms.checked_sub(*uptime_before).filter(|ms| *ms > 0)?) / 1000.0;
    let rate = |now: u64, before: u64| Some(round(double(now.checked_sub(before)?) / seconds, 2));
    Some(Rates {
        insert: rate(now.insert, before.insert)?,
        query: rate(now.query, before.query)?,
        update: rate(now.update, before.update)?,
        delete: rate(now.delete, before.delete)?,
        getmore: rate(now.getmore, before.getmore)?,
        command: rate(now.command, before.command)?,
    })
}

fn total_rate(rates: &Rates) -> f64 {
    round(
        rates.insert + rates.query + rates.update + rates.delete + rates.getmore + rates.command,
        2,
    )
}

fn read_write_ratio(counters: &Opcounters) -> Option<f64> {
    let writes = counters.insert + counters.update + counters.delete;
    (writes > 0).then(|| {
        round(
            double(counters.query + counters.getmore) / double(writes),
            2,
        )
    })
}

fn hit_ratio(cache: &Cache) -> Option<f64> {
    let (requested, read) = cache.pages_requested.zip(cache.pages_read)?;
    share(requested.checked_sub(read)?, requested)
}

#[cfg(test)]
mod tests;
