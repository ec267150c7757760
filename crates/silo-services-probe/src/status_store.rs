//! Status of all services: records results of checks, keeps history, broadcasts changes, and publishes the list for readers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use jiff::Timestamp;
use log::{info, warn};
use silo_alerts::alarms::Alarm;
use silo_core::units::now;
use silo_web::snapshot::{Measured, RefreshPolicy, Snapshot, SourceError};
use silo_web::stream::Event;
use silo_web::stream::broadcast::{Backlog, Broadcaster, events};
use tokio::sync::watch;

use crate::changes::{Change, MAX_LAG};
use crate::check::Check;
use crate::history::series::{Point, Range};
use crate::history::{History, minute_of};
use crate::kinds::Facts;
use crate::probe::{CONCURRENT_CHECKS, Probe};
use crate::services::{Counts, Reason, ServiceView, Services};
use crate::status::Status;

mod entry;

use self::entry::{Entry, tally, uptimes};

/// Time that a request waits for the first checks after start.
const INITIAL_WAIT: Duration = Duration::from_millis(1500);

/// Status of all services: written by the prober, read by the HTTP handlers.
pub struct StatusStore {
    /// The published list, for readers.
    pub services: Arc<Snapshot<Services>>,
    counts: watch::Sender<Counts>,
    listeners: Broadcaster<Change>,
    inner: Mutex<Inner>,
}

struct Inner {
    connected: bool,
    entries: Vec<Entry>,
    history: History,
}

/// Data of one service's page.
pub struct ServiceState {
    /// The same as in the list.
    pub view: ServiceView,
    /// Facts that its kind reports, and the time of the check they come from.
    pub facts: Option<(Facts, Timestamp)>,
    /// Latest changes, newest first.
    pub changes: Vec<Change>,
}

impl StatusStore {
    /// A store for these probes, starting from a history.
    #[must_use]
    pub fn new(probes: &[Probe], history: History) -> Self {
        let quickest = probes.iter().map(|probe| probe.interval).min();
        let longest = probes.iter().map(|probe| probe.timeout).max();
        let pace = RefreshPolicy {
            interval: quickest.unwrap_or(Duration::from_secs(30)),
            // In the worst case all checks wait for each other, three at a time.
            timeout: longest.unwrap_or_default()
                * u32::try_from(probes.len().div_ceil(CONCURRENT_CHECKS)).unwrap_or(1),
            initial_wait: INITIAL_WAIT,
        };
        let entries = probes
            .iter()
            .map(|probe| Entry::new(probe, &history))
            .collect();
        Self {
            services: Arc::new(Snapshot::new("services", pace)),
            counts: watch::Sender::new(Counts::default()),
            listeners: Broadcaster::new(MAX_LAG),
            inner: Mutex::new(Inner {
                connected: true,
                entries,
                history,
            }),
        }
    }

    /// Records a check's result. `place` is the probe's index in the settings.
    pub fn note(&self, place: usize, check: &Check) {
        let mut inner = self.inner();
        let now = now();
        let Inner {
            connected,
            entries,
            history,
        } = &mut *inner;
        // A check that was under way when the connection was lost proves nothing.
        let Some(entry) = entries.get_mut(place).filter(|_| *connected) else {
            return;
        };
        let status = entry.status_after(check);
        history.note(&entry.probe.name, now, tally(check, status));
        entry.take(check, now);
        entry.view.uptime = uptimes(history, &entry.probe, now);
        let change = entry.turn(status, now);
        self.broadcast(history, change);
        self.publish(&inner, check.elapsed);
    }

    /// Records that the prober is offline: the status of every service becomes unknown.
    pub fn set_offline(&self) {
        let mut inner = self.inner();
        if !inner.connected {
            return;
        }
        warn!("the prober is offline: no service is reported as down until it is online again");
        inner.connected = false;
        let now = now();
        let Inner {
            entries, history, ..
        } = &mut *inner;
        for entry in entries {
            entry.view.reasons = vec![Reason {
                code: "prober_offline".into(),
                detail: "the prober itself is offline".into(),
            }];
            entry.failures = 0;
            let change = entry.turn(Status::Unknown, now);
            self.broadcast(history, change);
        }
        self.publish(&inner, Duration::ZERO);
    }

    /// The prober is connected again.
    pub fn regain_connection(&self) {
        let mut inner = self.inner();
        info!("this machine is connected again");
        inner.connected = true;
        self.publish(&inner, Duration::ZERO);
    }

    /// Publishes the list again without a new check, so that its age shows that the prober is running.
    pub fn refresh(&self) {
        self.publish(&self.inner(), Duration::ZERO);
    }

    /// The open alarms of the process before.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        self.inner().history.alarms().to_vec()
    }

    /// Keeps the open alarms for the next process.
    pub fn keep_alarms(&self, alarms: Vec<Alarm>) {
        self.inner().history.note_alarms(alarms);
    }

    /// Data of one service; `None` if there is no service of that name.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<ServiceState> {
        let inner = self.inner();
        let entry = inner
            .entries
            .iter()
            .find(|entry| entry.probe.name == name)?;
        let changes = inner
            .history
            .changes()
            .rev()
            .filter(|change| change.name == name);
        Some(ServiceState {
            view: entry.view.clone(),
            facts: entry.facts.clone(),
            changes: changes.take(10).cloned().collect(),
        })
    }

    /// The points of a service over a period; `None` when there is none of that name.
    #[must_use]
    pub fn points(&self, name: &str, range: Range) -> Option<Vec<Point>> {
        let inner = self.inner();
        inner
            .entries
            .iter()
            .find(|entry| entry.probe.name == name)?;
        let nothing = Default::default();
        let series = inner.history.series(name).unwrap_or(&nothing);
        Some(series.points(range, minute_of(now())))
    }

    /// Changes as they happen, preceded by those after `last` that the client has missed.
    pub fn listen(&self, last: Option<u64>) -> impl Stream<Item = Event> + use<> {
        let live = self.listeners.subscribe();
        let missed = last.map(|last| Backlog::since(last, self.inner().history.changes()));
        events("change", missed.unwrap_or_default(), live)
    }

    /// Kept changes of all services, newest first.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let inner = self.inner();
        inner.history.changes().rev().cloned().collect()
    }

    /// Number of services by status, whenever it changes.
    #[must_use]
    pub fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    fn broadcast(&self, history: &mut History, change: Option<Change>) {
        let Some(change) = change else { return };
        let change = history.note_change(change);
        let (name, to) = (change.name.as_str(), change.to.word());
        let code = change.code.as_deref().unwrap_or_default();
        if matches!(change.to, Status::Down | Status::Degraded) {
            warn!(service = name, code; "{name} is {to}: {}", change.detail.as_deref().unwrap_or_default());
        } else {
            info!(service = name; "{name} is {to}");
        }
        self.listeners.send(change);
    }

    fn publish(&self, inner: &Inner, elapsed: Duration) {
        let services: Vec<_> = inner
            .entries
            .iter()
            .map(|entry| entry.view.clone())
            .collect();
        let counts = Counts::of(&services);
        self.counts.send_if_modified(|before| {
            let changed = *before != counts;
            *before = counts;
            changed
        });
        let offline = || {
            let detail = "the prober is offline, so the status of all services is unknown";
            SourceError::new("prober", "prober_offline", detail)
        };
        let errors = (!inner.connected).then(offline).into_iter();
        let errors = errors.chain(inner.history.failure().cloned()).collect();
        let value = Services {
            counts,
            connected: inner.connected,
            services,
        };
        self.services
            .publish(Ok(Measured { value, errors }), elapsed);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Check;
    use crate::failure::Failure;
    use crate::gateway::fetch::Timings;
    use crate::probe::{Expect, FAILURES_TO_DOWN, Kind};

    fn store(folder: &tempfile::TempDir) -> StatusStore {
        let probe = Probe {
            name: "feed".into(),
            kind: Kind::Http,
            url: "http://127.0.0.1/".parse().unwrap(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(3),
            failures_to_down: FAILURES_TO_DOWN,
            sign_in: None,
            expect: Expect::default(),
        };
        StatusStore::new(&[probe], History::open(folder.path()).unwrap())
    }

    fn failed() -> Check {
        Check {
            outcome: Err(Failure::Refused),
            elapsed: Duration::ZERO,
            steps: Timings::default(),
            certificate_days: None,
            scope: None,
        }
    }

    #[test]
    fn while_the_prober_is_offline_nothing_is_down_and_its_time_counts_neither_way() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        store.note(0, &failed());
        store.set_offline();
        store.note(0, &failed());
        let reading = store.services.current().unwrap();
        let feed = &reading.value.services[0];
        assert_eq!(
            (feed.status, reading.value.connected),
            (Status::Unknown, false)
        );
        assert_eq!(feed.reasons[0].code, "prober_offline");
        assert_eq!(reading.errors[0].code, "prober_offline");
        assert_eq!(feed.uptime.last_24h.checks, 1);
        store.regain_connection();
        store.note(0, &failed());
        let reading = store.services.current().unwrap();
        let status = reading.value.services[0].status;
        assert_eq!(status, Status::Degraded, "the first failure since");
    }

    /// The overview is gathered again when this changes, and not only every ten seconds.
    #[test]
    fn receivers_of_counts_learn_of_a_service_that_goes_down() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let mut counts = store.counts();
        store.note(0, &failed());
        assert!(counts.has_changed().unwrap());
        assert_eq!(counts.borrow_and_update().degraded, 1);
        store.note(0, &failed());
        assert_eq!(counts.borrow_and_update().down, 1);
        store.note(0, &failed());
        assert!(!counts.has_changed().unwrap(), "down it was already");
    }
}
