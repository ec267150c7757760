//! Alarms about services, mongod, disk and certificates: what is wrong now, from the last checks and the overview. silo-backup sends those about backups
//! itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde::Serialize;
use silo_alerts::alarms::{Alarm, Alarms, Findings};
use silo_alerts::delivery::{FailedDelivery, Webhook, ping};
use silo_core::secret::Secret;
use silo_core::units::now;
use silo_web::snapshot::{Freshness, RefreshPolicy, Snapshot};
use utoipa::ToSchema;

use crate::overview::{Database, Disk, Overview, Part};
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
            if let Some(findings) = self.findings() {
                self.state().alarms.update(findings, now());
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
    fn findings(&self) -> Option<Findings> {
        let services = self.store.services.current().ok()?;
        if !services.value.connected {
            return None;
        }
        let overview = self.overview.current().ok()?;
        Some(evaluate(&services.value, &overview.value))
    }

    async fn send_due(&self) {
        let Some(webhook) = &self.receivers.webhook else {
            return;
        };
        let due = self.state().alarms.due(now(), self.receivers.repeat);
        for alarm in due {
            let outcome = webhook.send(&alarm.message("silo")).await;
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
            let new = open.filter(|it| it.ended.is_none() && it.acknowledged.is_none());
            new.map(|alarm| alarm.detail.clone()).collect()
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

fn evaluate(services: &Services, overview: &Overview) -> Findings {
    let mut findings = Findings::default();
    for service in &services.services {
        evaluate_service(service, &mut findings);
    }
    evaluate_mongod(overview.database.as_ref(), &mut findings);
    evaluate_disk(overview.disk.as_ref(), &mut findings);
    findings
}

/// A service that was not checked yet, and the certificate of one that showed none, are unknown.
fn evaluate_service(service: &ServiceView, findings: &mut Findings) {
    let name = &service.name;
    let code = format!("service_down.{name}");
    let reason = |code: &str| service.reasons.iter().find(|reason| reason.code == code);
    match service.status {
        Status::Unknown => findings.unknown(code),
        Status::Down => {
            let reason = service.reasons.first().map(|reason| reason.detail.as_str());
            let reason = reason.unwrap_or("no reason is known");
            findings.problem(code, format!("{name} is down: {reason}"));
        }
        Status::Up | Status::Degraded => {}
    }
    let code = format!("certificate_expires.{name}");
    if let Some(reason) = reason("certificate_expires") {
        findings.problem(code, format!("{name}: {}", reason.detail));
    } else if service.certificate_days.is_none() || service.status == Status::Down {
        findings.unknown(code);
    }
}

/// silo-db-api says that mongod is down, with its last figures. If it does not answer itself, nothing is known.
fn evaluate_mongod(database: Option<&Part<Database>>, findings: &mut Findings) {
    let code = "mongod_down";
    match database {
        Some(part) if part.figures.status == "down" => findings.problem(code, "mongod is down"),
        Some(part) if is_current(part.state) => {}
        _ => findings.unknown(code),
    }
}

fn evaluate_disk(disk: Option<&Part<Disk>>, findings: &mut Findings) {
    let code = "disk_filling_up";
    let current = disk.filter(|part| is_current(part.state));
    let Some((used, days)) =
        current.and_then(|part| Some((part.figures.used_share?, part.figures.days_until_full)))
    else {
        return findings.unknown(code);
    };
    let soon = days.is_some_and(|days| days < MIN_DAYS_UNTIL_FULL);
    if used >= MAX_DISK_SHARE || soon {
        let days = days.map(|days| format!(", and full in {days:.0} days at its present growth"));
        let (share, days) = (used * 100.0, days.unwrap_or_default());
        findings.problem(
            code,
            format!("the disk of mongod is {share:.0} % full{days}"),
        );
    }
}

fn is_current(state: Freshness) -> bool {
    matches!(state, Freshness::Fresh | Freshness::Partial)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn overview(status: &str, used_share: f64, days_until_full: Option<f64>) -> Overview {
        fn part<T>(figures: T) -> Option<Part<T>> {
            Some(Part {
                figures,
                as_of: Some(Timestamp::UNIX_EPOCH),
                state: Freshness::Fresh,
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
            let findings = evaluate(&Services::default(), overview);
            let problems = findings.problems.into_iter();
            problems.map(|problem| problem.code).collect()
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

    /// As after a restart, or while silo-db-api does not answer: an open alarm must not be told to have ended.
    #[test]
    fn without_a_current_answer_nothing_is_known() {
        let unknown = |overview: &Overview| evaluate(&Services::default(), overview).unknown;
        let both = ["mongod_down", "disk_filling_up"];
        assert_eq!(unknown(&Overview::default()), both);
        let mut last = overview("up", 0.5, None);
        assert_eq!(unknown(&last), Vec::<String>::new());
        if let (Some(database), Some(disk)) = (&mut last.database, &mut last.disk) {
            (database.state, disk.state) = (Freshness::Stale, Freshness::Stale);
        }
        assert_eq!(unknown(&last), both);
    }
}
