//! Leases, stored in the database `silo`: one run at a time on any machine, and beside it one continuous backup.
//!
//! No clocks are compared. The holder renews the lease; another process takes it over when it has seen no renewal for the lease's lifetime by its own
//! monotonic clock, or when the holder was a process of the same machine that has ended, or this one before it released it. Every takeover increments a fencing token. All later writes
//! of the holder are conditional on its token, so those of a stale holder match nothing.

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::warn;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{DateTime, Document, doc};
use silo_mongo::mongodb::{Client, Collection};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// The database that is Silo's own.
pub const SILO: &str = "silo";
/// Time after which a lease expires without a renewal.
const LIFETIME: Duration = Duration::from_secs(40);
/// Interval between renewals.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(8);
/// Interval of attempts while waiting for a lease.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Time limit of one renewal.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Purpose of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Backups, drills and whatever else reads or writes whole backups.
    Backup,
    /// Continuous backup, which runs beside them.
    Oplog,
}

impl Purpose {
    /// Id of its document.
    fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Oplog => "oplog",
        }
    }
}

/// A held lease. Dropping it lets it expire; [`Lease::release`] frees it at once.
pub struct Lease {
    state: LeaseState,
    /// Cancelled when the lease is lost.
    pub lost: CancellationToken,
    beating: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct LeaseState {
    leases: Collection<Document>,
    name: &'static str,
    holder: Arc<str>,
    token: i64,
}

impl Lease {
    /// Acquires the lease. If another process holds it, waits until that process renews it (an error) or the lease expires.
    ///
    /// # Errors
    /// [`Error::Busy`] when the holder renews the lease.
    pub async fn acquire(client: &Client, purpose: Purpose) -> Result<Self, Error> {
        let name = purpose.name();
        let leases = client
            .database(SILO)
            .collection::<Document>(NAME_OF_COLLECTION);
        let action = "taking the lease (the account has to write in the database `silo`)";
        let mut watched: Option<(i64, i64, Instant)> = None;
        loop {
            let found = leases
                .find_one(doc! { "_id": name })
                .await
                .map_err(Error::database(action))?;
            let found = match found {
                Some(found) => found,
                None => {
                    // Another process may create it first.
                    let first = doc! { "_id": name, "token": 0_i64, "beat": 0_i64, "holder": "", "host": "" };
                    drop(leases.insert_one(first).await);
                    leases
                        .find_one(doc! { "_id": name })
                        .await
                        .map_err(Error::database(action))?
                        .unwrap_or_default()
                }
            };
            if field::count(&found, "token").is_none() || field::count(&found, "beat").is_none() {
                let repair = doc! { "$set": { "token": 0_i64, "beat": 0_i64, "holder": "" } };
                warn!(lease = name; "the lease is damaged; it is repaired");
                leases
                    .update_one(doc! { "_id": name }, repair)
                    .await
                    .map_err(Error::database(action))?;
                continue;
            }
            let number = |name| {
                field::count(&found, name)
                    .and_then(|count| i64::try_from(count).ok())
                    .unwrap_or_default()
            };
            let (token, beat) = (number("token"), number("beat"));
            let holder = field::text(&found, "holder").unwrap_or_default();
            let host = field::text(&found, "host").unwrap_or_default();
            let free = holder.is_empty() || is_dead(host, holder) || released().contains(holder);
            let expired = watched.is_some_and(|(of, last, since)| {
                (of, last) == (token, beat) && since.elapsed() >= LIFETIME
            });
            if free || expired {
                if let Some(lease) = Self::take_over(&leases, name, token, beat)
                    .await
                    .map_err(Error::database(action))?
                {
                    return Ok(lease);
                }
                // Another process was faster, or the entry is damaged.
                tokio::time::sleep(POLL_INTERVAL).await;
                continue;
            }
            match watched {
                Some((of, last, _)) if (of, last) != (token, beat) => {
                    return Err(Error::Busy(
                        "another run is under way, here or on another machine".into(),
                    ));
                }
                Some(_) => {}
                None => watched = Some((token, beat, Instant::now())),
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn take_over(
        leases: &Collection<Document>,
        name: &'static str,
        token: i64,
        beat: i64,
    ) -> silo_mongo::mongodb::error::Result<Option<Self>> {
        let holder: Arc<str> = holder().into();
        let as_seen = doc! { "_id": name, "token": token, "beat": beat };
        let mine = doc! { "$set": { "token": token + 1, "beat": 0_i64, "holder": &*holder, "host": host(), "at": DateTime::now() } };
        let taken = leases.update_one(as_seen, mine).await?;
        if taken.modified_count == 0 {
            return Ok(None);
        }
        let state = LeaseState {
            leases: leases.clone(),
            name,
            holder,
            token: token + 1,
        };
        let lost = CancellationToken::new();
        let beating = tokio::spawn(state.clone().keep_beating(lost.clone()));
        Ok(Some(Self {
            state,
            lost,
            beating,
        }))
    }

    /// Fencing token of this lease: larger than those of all earlier leases.
    #[must_use]
    pub fn fencing_token(&self) -> u64 {
        self.state.token.cast_unsigned()
    }

    /// Confirms in the database that the lease is still held.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process has taken it over.
    pub async fn confirm(&self) -> Result<(), Error> {
        match self.state.beat().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Busy("another run has taken over the lease".into())),
            Err(error) => Err(Error::database("confirming the lease")(&error)),
        }
    }

    /// Releases the lease, so that another process can acquire it at once.
    pub async fn release(self) {
        self.beating.abort();
        let mine = doc! { "_id": self.state.name, "token": self.state.token, "holder": &*self.state.holder };
        let freed = self
            .state
            .leases
            .update_one(mine, doc! { "$set": { "holder": "" } });
        let freed = tokio::time::timeout(RENEWAL_TIMEOUT, freed.into_future()).await;
        if !matches!(freed, Ok(Ok(_))) {
            // For other processes it expires, because renewals have stopped.
            released().insert(self.state.holder.to_string());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

impl LeaseState {
    async fn beat(&self) -> silo_mongo::mongodb::error::Result<bool> {
        let mine = doc! { "_id": self.name, "token": self.token, "holder": &*self.holder };
        let beat = doc! { "$inc": { "beat": 1_i64 }, "$set": { "at": DateTime::now() } };
        // A connection that is half open would never answer.
        let renewed = tokio::time::timeout(
            RENEWAL_TIMEOUT,
            self.leases.update_one(mine, beat).into_future(),
        );
        match renewed.await {
            Ok(renewed) => Ok(renewed?.matched_count == 1),
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    async fn keep_beating(self, lost: CancellationToken) {
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(RENEWAL_INTERVAL).await;
            match self.beat().await {
                Ok(true) => last = Instant::now(),
                Ok(false) => break,
                Err(_) if last.elapsed() < LIFETIME - 2 * RENEWAL_INTERVAL => {}
                Err(_) => break,
            }
        }
        warn!(lease = self.name; "the lease is lost; this run ends");
        lost.cancel();
    }
}

/// The collection of leases.
const NAME_OF_COLLECTION: &str = "leases";

/// Holders of this process that have released their lease while the database did not answer.
fn released() -> MutexGuard<'static, BTreeSet<String>> {
    static RELEASED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    RELEASED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Identity of this process as a holder: PID, start time, and a random number that distinguishes successive leases of the same process.
fn holder() -> String {
    let id = std::process::id();
    format!(
        "{id} {} {}",
        started(id).unwrap_or_default(),
        rand::random::<u32>()
    )
}

/// Identity of this machine: boot id and PID namespace. PIDs can be compared only if both are equal.
fn host() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), namespace.display())
}

/// `true` if the holder was a process on this machine and has ended.
fn is_dead(of_host: &str, holder: &str) -> bool {
    let mut parts = holder.split(' ');
    let id = parts.next().and_then(|id| id.parse().ok());
    let (Some(id), Some(then)) = (id, parts.next()) else {
        return false;
    };
    // Without a host identity, or where other users' processes are hidden (hidepid), nothing can be concluded.
    of_host.len() > 36
        && started(1).is_some()
        && of_host == host()
        && started(id).is_none_or(|now| now != then)
}

/// When a process was started, in ticks since the machine was (`/proc/<id>/stat`, field 22).
fn started(id: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    // A zombie holds nothing.
    (fields.first() != Some(&"Z")).then(|| fields.get(19).map(|ticks| (*ticks).to_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_can_be_known_to_be_gone() {
        let own = holder();
        assert!(!is_dead(&host(), &own));
        assert!(is_dead(&host(), "4194305 1 1"));
        assert!(
            is_dead(&host(), &format!("{} 1 1", std::process::id())),
            "the number was given to another process"
        );
        assert!(!is_dead(
            "another machine that was booted some time ago",
            "4194305 1 1"
        ));
        assert!(!is_dead("", "4194305 1 1"));
    }
}
