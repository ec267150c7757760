//! Schedule of checks: each service at its own interval, first checks spread out, at most three at a time; none while this machine is offline.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::check::check;
use crate::gateway::connectivity::Connectivity;
use crate::gateway::fetch::Fetcher;
use crate::probe::{CONCURRENT_CHECKS, Probe};
use crate::status_store::StatusStore;

/// The first checks are spread over this.
const SPREAD: Duration = Duration::from_millis(800);
/// Interval of connectivity checks while this machine is offline.
const OFFLINE_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Dependencies of the prober.
pub struct Prober {
    /// The services.
    pub probes: Vec<Probe>,
    /// Recipient of the results.
    pub store: Arc<StatusStore>,
    /// HTTP client.
    pub fetcher: Fetcher,
    /// Check of this machine's own connectivity.
    pub connectivity: Connectivity,
}

impl Prober {
    /// Checks all services until the runtime ends.
    pub async fn run(self) {
        if self.probes.is_empty() {
            return self.publish_empty_list().await;
        }
        let (connected, _) = watch::channel(true);
        let shared = Arc::new(Shared {
            prober: self,
            gate: Semaphore::new(CONCURRENT_CHECKS),
            connected,
        });
        for place in 0..shared.prober.probes.len() {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move { shared.keep_checking(place).await });
        }
        shared.watch_connection().await;
    }

    /// Publishes an empty list when no services are configured.
    async fn publish_empty_list(&self) {
        loop {
            self.store.refresh();
            tokio::time::sleep(self.store.services.ttl()).await;
        }
    }
}

struct Shared {
    prober: Prober,
    gate: Semaphore,
    connected: watch::Sender<bool>,
}

impl Shared {
    async fn keep_checking(&self, place: usize) {
        let Prober {
            probes,
            store,
            fetcher,
            ..
        } = &self.prober;
        let Some(probe) = probes.get(place) else {
            return;
        };
        let mut round = 0;
        let mut due = Instant::now() + first_delay(&probe.name);
        loop {
            tokio::time::sleep_until(due).await;
            self.until_connected().await;
            let started = Instant::now();
            let found = {
                // The gate is never closed.
                let _turn = self.gate.acquire().await;
                check(fetcher, probe).await
            };
            if found.proves_connectivity() {
                self.prober.connectivity.prove().await;
            }
            if found.may_be_offline() && !self.prober.connectivity.is_online().await {
                self.connected.send_replace(false);
                store.set_offline();
                continue;
            }
            store.note(place, &found);
            round += 1;
            due = next_at(started, Instant::now(), probe, round);
        }
    }

    async fn until_connected(&self) {
        // The sender lives as long as this.
        drop(
            self.connected
                .subscribe()
                .wait_for(|connected| *connected)
                .await,
        );
    }

    /// Checks services until one answers, or refuses, from outside: the addresses of the connectivity check may be blocked.
    async fn some_probe_answers(&self) -> bool {
        for probe in &self.prober.probes {
            if check(&self.prober.fetcher, probe)
                .await
                .proves_connectivity()
            {
                self.prober.connectivity.prove().await;
                return true;
            }
        }
        false
    }

    /// Looks, after the connection was lost, until it is there again.
    async fn watch_connection(&self) {
        let mut changes = self.connected.subscribe();
        loop {
            drop(changes.wait_for(|connected| !connected).await);
            tokio::time::sleep(OFFLINE_POLL_INTERVAL).await;
            if self.prober.connectivity.is_online().await || self.some_probe_answers().await {
                self.prober.store.regain_connection();
                self.connected.send_replace(true);
            } else {
                self.prober.store.refresh();
            }
        }
    }
}

/// When the first check of a service begins: spread by its name, so that they do not all begin at once.
fn first_delay(name: &str) -> Duration {
    SPREAD.mul_f64(spread(name, 0))
}

/// When the next check begins: an interval after the last began, a twentieth sooner or later; at once when that has passed.
fn next_at(started: Instant, now: Instant, probe: &Probe, round: u64) -> Instant {
    let jitter = 0.95 + 0.1 * spread(&probe.name, round);
    (started + probe.interval.mul_f64(jitter)).max(now)
}

/// A number from 0 to 1 that differs from name to name and from round to round, and is the same every time it is asked for.
fn spread(name: &str, round: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (name, round).hash(&mut hasher);
    let [high, ..] = hasher.finish().to_be_bytes();
    f64::from(high) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Expect, FAILURES_TO_DOWN, Kind};

    #[test]
    fn checks_are_an_interval_apart_give_or_take_a_twentieth() {
        let probe = Probe {
            name: "oven".into(),
            kind: Kind::Oven,
            url: "http://127.0.0.1:1".parse().unwrap(),
            interval: Duration::from_secs(100),
            timeout: Duration::from_secs(3),
            failures_to_down: FAILURES_TO_DOWN,
            sign_in: None,
            expect: Expect::default(),
        };
        let started = Instant::now();
        let gaps: Vec<_> = (0..200)
            .map(|round| next_at(started, started, &probe, round) - started)
            .collect();
        let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(
            *least >= Duration::from_millis(94_999) && *least < Duration::from_secs(97),
            "{least:?}"
        );
        assert!(
            *most <= Duration::from_millis(105_001) && *most > Duration::from_secs(103),
            "{most:?}"
        );
        let late = started + Duration::from_secs(500);
        assert_eq!(
            next_at(started, late, &probe, 1),
            late,
            "what is overdue begins at once"
        );
    }
}
