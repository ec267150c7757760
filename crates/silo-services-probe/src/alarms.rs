//! Alarms about services, mongod, disk and certificates: what is wrong now, from the last checks and the overview. silo-backup sends those about backups
//! itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde::Serialize;
use silo_alerts::alarms::{Alarm, Alarms, Problem};
use silo_alerts::delivery::{FailedDelivery, Message, Webhook, ping};
use silo_core::secret::Secret;
use silo_core::units::now;
use silo_web::snapshot::{RefreshPolicy, Snapshot};
use utoipa::ToSchema;

use crate::overview::Overview;
use crate::services::{ServiceView, Services};
use crate::status::Status;
use crate::status_store::StatusStore;

/// Pause between two evaluations.
const EVERY: Duration = Duration::from_secs(5);
/// Pause between two pings of the dead man's switch.
const PING_EVERY: Duration = Duration::from_secs(300);
/// From this used share on, the disk is filling up.
const MAX_DISK_SHARE: f64 = 0.9;
/// If it will be full within so many days, the disk is filling up.
const MIN_DAYS_UNTIL_FULL: f64 = 7.0;

/// Receivers of alarms.
#[derive(Clone, Debug)]
pub struct Receivers {
    /// Webhook.
    pub webhook: Option<Webhook>,
    /// Dead man's switch: requested while this process runs.
    pub ping: Option<Secret>,
    /// After this time an alarm is repeated that nobody has acknowledged.
    pub repeat: SignedDuration,
}

/// Open alarms, and whether they can be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlarmsView {
    /// Open alarms, by code.
    pub alarms: Vec<Alarm>,
    /// `true` if there is a webhook.
    pub set_up: bool,
    /// Last delivery to the webhook, if it failed.
    pub failed_delivery: Option<FailedDelivery>,
    /// Last ping of the dead man's switch, if it failed.
    pub failed_ping: Option<FailedDelivery>,
}

/// Keeper of the alarms.
pub struct AlarmKeeper {
    /// Open alarms, for readers.
    pub view: Arc<Snapshot<AlarmsView>>,
    receivers: Receivers,
    store: Arc<StatusStore>,
    overview: Arc<Snapshot<Overview>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    alarms: Alarms,
    failed_delivery: Option<FailedDelivery>,
    failed_ping: Option<FailedDelivery>,
}

impl AlarmKeeper {
    /// A keeper that goes on from the alarms of the process before.
    #[must_use]
    pub fn new(
        receivers: Receivers,
        store: Arc<StatusStore>,
        overview: Arc<Snapshot<Overview>>,
    ) -> Self {
        let policy = RefreshPolicy {
            interval: EVERY,
            // Attempts to deliver what is due.
            timeout: Duration::from_secs(60),
            initial_wait: Duration::from_millis(1500),
        };
        let alarms = Alarms::restored(store.alarms());
        Self {
            view: Arc::new(Snapshot::new("alarms", policy)),
            receivers,
            store,
            overview,
            state: Mutex::new(State {
                alarms,
                ..State::default()
            }),
        }
    }

    /// Evaluates and sends until the runtime ends.
    pub async fn run(&self) {
        let mut pinged: Option<Instant> = None;
        loop {
            let started = Instant::now();
            if let Some(problems) = self.problems() {
                self.state().alarms.update(problems, now());
            }
            self.publish(started);
            self.send_due().await;
            if pinged.is_none_or(|at| at.elapsed() >= PING_EVERY) {
                pinged = Some(Instant::now());
                self.ping().await;
            }
            self.publish(started);
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Acknowledges an alarm, so that it is not repeated; `None` if there is no such alarm.
    pub fn acknowledge(&self, code: &str, by: &str) -> Option<Alarm> {
        let alarm = self.state().alarms.acknowledge(code, by, now()).cloned();
        self.publish(Instant::now());
        alarm
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong now; `None` while it is unknown: before the first checks, and while this machine is offline.
    fn problems(&self) -> Option<Vec<Problem>> {
        let services = self.store.services.current().ok()?;
        if !services.value.connected {
            return None;
        }
        let overview = self.overview.current().ok()?;
        Some(problems(&services.value, &overview.value))
    }

    async fn send_due(&self) {
        let Some(webhook) = &self.receivers.webhook else {
            return;
        };
        let due = self.state().alarms.due(now(), self.receivers.repeat);
        for alarm in due {
            let outcome = webhook.send(&message(&alarm)).await;
            let mut state = self.state();
            state.alarms.record(&alarm.code, outcome.is_ok(), now());
            state.failed_delivery = outcome.err();
        }
    }

    async fn ping(&self) {
        let Some(switch) = &self.receivers.ping else {
            return;
        };
        let open: Vec<String> = {
            let state = self.state();
            let open = state.alarms.open();
            let unknown = open.filter(|it| it.ended.is_none() && it.acknowledged.is_none());
            unknown.map(|alarm| alarm.detail.clone()).collect()
        };
        let end = if open.is_empty() { "" } else { "/fail" };
        let outcome = ping(switch, end, &open.join("\n")).await;
        self.state().failed_ping = outcome.err();
    }

    fn publish(&self, started: Instant) {
        let state = self.state();
        let alarms: Vec<Alarm> = state.alarms.open().cloned().collect();
        self.store.keep_alarms(alarms.clone());
        let view = AlarmsView {
            alarms: alarms.into_iter().filter(|it| it.ended.is_none()).collect(),
            set_up: self.receivers.webhook.is_some(),
            failed_delivery: state.failed_delivery.clone(),
            failed_ping: state.failed_ping.clone(),
        };
        drop(state);
        self.view.publish(Ok(view.into()), started.elapsed());
    }
}

fn message(alarm: &Alarm) -> Message {
    let Alarm { code, detail, .. } = alarm;
    let recovered = alarm.ended.is_some();
    let since = alarm.since;
    Message {
        source: "silo",
        code: code.clone(),
        detail: if recovered {
            format!("no longer: {detail} (since {since})")
        } else {
            format!("{detail} (since {since})")
        },
        recovered,
    }
}

fn problems(services: &Services, overview: &Overview) -> Vec<Problem> {
    let mut problems: Vec<_> = services.services.iter().flat_map(of_service).collect();
    if let Some(database) = &overview.database
        && database.figures.status == "down"
    {
        problems.push(Problem {
            code: "mongod_down".into(),
            detail: "mongod is down".into(),
        });
    }
    problems.extend(of_disk(overview));
    problems
}

fn of_service(service: &ServiceView) -> impl Iterator<Item = Problem> + use<> {
    let name = &service.name;
    let down = (service.status == Status::Down).then(|| {
        let reason = service.reasons.first().map(|reason| reason.detail.as_str());
        Problem {
            code: format!("service_down.{name}"),
            detail: format!("{name} is down: {}", reason.unwrap_or("no reason is known")),
        }
    });
    let expiring = service
        .reasons
        .iter()
        .find(|reason| reason.code == "certificate_expires");
    let expiring = expiring.map(|reason| Problem {
        code: format!("certificate_expires.{name}"),
        detail: format!("{name}: {}", reason.detail),
    });
    down.into_iter().chain(expiring)
}

fn of_disk(overview: &Overview) -> Option<Problem> {
    let disk = &overview.disk.as_ref()?.figures;
    let used = disk.used_share?;
    let days = disk.days_until_full;
    let soon = days.is_some_and(|days| days < MIN_DAYS_UNTIL_FULL);
    (used >= MAX_DISK_SHARE || soon).then(|| {
        let days = days.map(|days| format!(", and full in {days:.0} days at its present growth"));
        Problem {
            code: "disk_filling_up".into(),
            detail: format!(
                "the disk of mongod is {:.0} % full{}",
                used * 100.0,
                days.unwrap_or_default()
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::overview::{Database, Disk, Part};

    fn overview(status: &str, used_share: f64, days_until_full: Option<f64>) -> Overview {
        fn part<T>(figures: T) -> Option<Part<T>> {
            Some(Part {
                figures,
                as_of: Some(Timestamp::UNIX_EPOCH),
                state: silo_web::snapshot::Freshness::Fresh,
            })
        }
        Overview {
            database: part(Database {
                status: status.into(),
                version: None,
                uptime_seconds: None,
            }),
            disk: part(Disk {
                free_bytes: Some(1),
                used_share: Some(used_share),
                days_until_full,
            }),
            ..Overview::default()
        }
    }

    #[test]
    fn mongod_and_a_full_disk_are_problems() {
        let codes = |overview: &Overview| -> Vec<String> {
            let problems = problems(&Services::default(), overview);
            problems.into_iter().map(|problem| problem.code).collect()
        };
        assert_eq!(codes(&overview("up", 0.5, None)), Vec::<String>::new());
        assert_eq!(
            codes(&overview("degraded", 0.5, Some(30.0))),
            Vec::<String>::new()
        );
        assert_eq!(codes(&overview("down", 0.5, None)), ["mongod_down"]);
        assert_eq!(codes(&overview("up", 0.91, None)), ["disk_filling_up"]);
        assert_eq!(codes(&overview("up", 0.5, Some(6.0))), ["disk_filling_up"]);
        assert_eq!(codes(&Overview::default()), Vec::<String>::new());
    }
}
