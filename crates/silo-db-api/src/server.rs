//! State of mongod: up, degraded or down, and its load.

mod view;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use silo_core::units::{double, round, share};
use silo_mongo::error::DatabaseError;
use silo_mongo::privileges::{Privileges, privileges};
use silo_mongo::versions;
use silo_web::snapshot::{Measured, SourceError};

use crate::gateway::{Cache, Gateway, Opcounters, Status, source_error};

pub use view::{Rates, Server, ServerStatus};

/// Rates kept for the sparkline.
const KEPT_RATES: usize = 90;
/// Above this share of connections in use the server is degraded.
const MAX_CONNECTION_SHARE: f64 = 0.9;

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
        let at = |error| source_error("mongod", error);
        let (status, refused) = match self.gateway.server_status().await {
            Ok(status) => (status, None),
            // The server is up, but the account may not read its state.
            Err(error @ (DatabaseError::NotAuthorized | DatabaseError::NotSupported)) => {
                self.gateway.ping().await.map_err(at)?;
                (Status::default(), Some(source_error("serverStatus", error)))
            }
            Err(error) => {
                self.remember_rights(None);
                return Err(at(error));
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
                log::info!("the account can read and watch, and cannot write")
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
    let note = "the account lacks the role clusterMonitor, so the server's status is unknown";
    Server {
        notes: vec![note.into()],
        ..server
    }
}

fn notes(status: &Status) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some((current, available)) = status.connections.current.zip(status.connections.available)
        && share(current, current.saturating_add(available))
            .is_some_and(|used| used > MAX_CONNECTION_SHARE)
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
