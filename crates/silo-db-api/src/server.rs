//! State of mongod: up, degraded or down, its load and its replica set.

mod load;
mod notes;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use silo_core::units::{double, round};
use silo_mongo::error::DatabaseError;
use silo_mongo::privileges::{Privileges, privileges};
use silo_mongo::versions;
use silo_web::snapshot::{Measured, SourceError};

use crate::gateway::{Gateway, OperationCounts, ReplicaSet, Status, source_error};
use load::Load;

pub use view::{CachePressure, Rates, Server, ServerStatus};

/// Pause between two looks at the account's privileges, which an administrator may change at any time.
const PRIVILEGES_EVERY: Duration = Duration::from_secs(60);

/// Watcher of the server, which remembers the counters that rates are computed from.
#[derive(Clone)]
pub struct Watcher {
    gateway: Gateway,
    every: Duration,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    load: Load,
    privileges: Option<(Privileges, Instant)>,
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
        self.memory().load.begin();
        let at = |error| source_error("mongod", error);
        let mut errors = Vec::new();
        let status = match self.gateway.server_status().await {
            Ok(status) => Some(status),
            // The server is up, but the account may not read its state.
            Err(error @ (DatabaseError::NotAuthorized | DatabaseError::NotSupported)) => {
                self.gateway.ping().await.map_err(at)?;
                errors.push(source_error("serverStatus", error));
                None
            }
            Err(error) => {
                self.memory().privileges = None;
                return Err(at(error));
            }
        };
        let replica_set = match self.gateway.replica_set().await {
            Ok(replica_set) => replica_set,
            Err(error) if error.is_without_server() => return Err(at(error)),
            Err(error) => {
                errors.push(source_error("replSetGetStatus", error));
                None
            }
        };
        if let Some(version) = status.as_ref().and_then(|status| status.version.as_ref()) {
            self.warn_of_version(version);
        }
        errors.extend(self.check_privileges().await.err());
        let value = self.describe(status, replica_set);
        Ok(Measured { value, errors })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs the known faults of this version, once for each version that is seen.
    fn warn_of_version(&self, version: &str) {
        let mut memory = self.memory();
        if memory.warned_of.as_deref() == Some(version) {
            return;
        }
        for warning in versions::warnings(version) {
            log::warn!("{warning}");
        }
        memory.warned_of = Some(version.to_owned());
    }

    /// Asks what the account may do, once a minute, and logs a change.
    async fn check_privileges(&self) -> Result<(), SourceError> {
        let known = self.memory().privileges.clone();
        if known
            .as_ref()
            .is_some_and(|(_, at)| at.elapsed() < PRIVILEGES_EVERY)
        {
            return Ok(());
        }
        let privileges = privileges(self.gateway.client(), self.gateway.database_name())
            .await
            .map_err(|error| source_error("connectionStatus", error))?;
        if known.is_none_or(|(known, _)| known != privileges) {
            self.log_privileges(&privileges);
        }
        self.memory().privileges = Some((privileges, Instant::now()));
        Ok(())
    }

    fn log_privileges(&self, privileges: &Privileges) {
        match privileges {
            Privileges::ReadOnly => {
                log::info!("the account can read and watch, and cannot write");
            }
            Privileges::CanWrite(actions) => log::warn!(
                actions = actions.join(",").as_str();
                "THE ACCOUNT CAN WRITE to {}: give this service one with only read and clusterMonitor", self.gateway.database_name()
            ),
            Privileges::Unauthenticated => log::warn!(
                "THE SERVER REQUIRES NO AUTHENTICATION: anyone who reaches it can read and write everything; turn on authorization"
            ),
        }
    }

    /// `status` is `None` if the account may not read it.
    fn describe(&self, status: Option<Status>, replica_set: Option<ReplicaSet>) -> Server {
        let mut memory = self.memory();
        let notes = notes::notes(status.as_ref(), replica_set.as_ref());
        let status = status.unwrap_or_default();
        let rates = memory.load.finish(&status);
        let account = memory.privileges.as_ref().map(|(it, _)| match it {
            Privileges::ReadOnly => "readOnly",
            Privileges::CanWrite(_) => "canWrite",
            Privileges::Unauthenticated => "unauthenticated",
        });
        Server {
            notes,
            version_warnings: status
                .version
                .as_deref()
                .map(versions::warnings)
                .unwrap_or_default(),
            uptime_seconds: status.uptime_ms.map(|ms| ms / 1000),
            read_write_ratio: status.operations.as_ref().and_then(read_write_ratio),
            per_second: rates,
            recent_operations_per_second: memory.load.recent_rates(),
            sample_ms: silo_core::units::whole_millis(self.every),
            cache_pressure: memory.load.cache_pressure(),
            version: status.version,
            connections: status.connections,
            opcounters: status.opcounters,
            operations: status.operations,
            resident_bytes: status.resident_bytes,
            cache: status.cache,
            expiry: status.expiry,
            replica_set,
            oplog_window_seconds: status.oplog_window_seconds,
            account,
        }
    }
}

fn read_write_ratio(operations: &OperationCounts) -> Option<f64> {
    (operations.writes > 0).then(|| round(double(operations.reads) / double(operations.writes), 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_without_writes_is_unknown() {
        let ratio = |reads, writes| {
            read_write_ratio(&OperationCounts {
                reads,
                writes,
                commands: 9,
            })
        };
        assert_eq!(ratio(5, 0), None);
        assert_eq!(ratio(17, 3), Some(5.67));
    }
}
