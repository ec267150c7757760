//! Alerts: pings at the start and end of a run, a webhook when an operator must act, and the alarms that are open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use log::error;
use silo_alerts::alarms::{Alarm, Alarms, Findings};
use silo_alerts::delivery::{FailedDelivery, Message, Webhook, ping};
use silo_core::secret::Secret;

use crate::settings::NAME;

/// Appended to the URL of a dead man's switch.
const FAIL: &str = "/fail";

/// Event to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A run begins.
    RunStarted,
    /// A good backup was made; with its description.
    RunSucceeded(String),
    /// A run failed, or a backup is held or has vanished; with a stable code and the reason.
    Alarm(&'static str, String),
    /// A drill restored a backup identically; with its description.
    DrillSucceeded(String),
    /// A drill failed, or could not run; with a stable code and the reason.
    DrillFailed(&'static str, String),
}

/// URLs that alerts are sent to.
#[derive(Clone, Debug, Default)]
pub struct Receivers {
    /// Dead man's switch of backups: `/start` and `/fail` are appended.
    pub ping: Option<Secret>,
    /// Dead man's switch of drills.
    pub drill_ping: Option<Secret>,
    /// Webhook for everything that needs an operator.
    pub webhook: Option<Webhook>,
}

/// Receivers of alerts, and the open alarms. Clones share both.
#[derive(Clone)]
pub struct Alerts {
    receivers: Receivers,
    repeat: SignedDuration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    alarms: Alarms,
    failed: Option<FailedDelivery>,
}

impl Alerts {
    /// Receivers from the settings; none if neither is set. An alarm that nobody acknowledges is repeated after `repeat`.
    #[must_use]
    pub fn new(receivers: Receivers, repeat: SignedDuration) -> Self {
        Self {
            receivers,
            repeat,
            state: Arc::default(),
        }
    }

    /// Sends an alert, and waits until every receiver has it or all attempts have failed.
    pub async fn send(&self, event: &Event) {
        if let Event::Alarm(code, detail) | Event::DrillFailed(code, detail) = event {
            error!(code = *code; "alarm: {detail}");
        }
        let receivers = &self.receivers;
        let (switch, end, body) = match event {
            Event::RunStarted => (&receivers.ping, "/start", ""),
            Event::RunSucceeded(what) => (&receivers.ping, "", what.as_str()),
            Event::Alarm(_, detail) => (&receivers.ping, FAIL, detail.as_str()),
            Event::DrillSucceeded(what) => (&receivers.drill_ping, "", what.as_str()),
            Event::DrillFailed(_, detail) => (&receivers.drill_ping, FAIL, detail.as_str()),
        };
        let message = match event {
            Event::Alarm(code, detail) | Event::DrillFailed(code, detail) => Some(Message {
                source: NAME,
                code: (*code).to_owned(),
                detail: detail.clone(),
                recovered: false,
            }),
            _ => None,
        };
        let ping = switch.as_ref().map(|switch| (switch, end, body));
        self.deliver(ping, message).await;
    }

    /// Takes over what is wrong now, and sends alarms that begin, end, or were not acknowledged.
    pub async fn update(&self, findings: Findings, now: Timestamp) {
        let due = {
            let mut state = self.state();
            state.alarms.update(findings, now);
            state.alarms.due(now, self.repeat)
        };
        for alarm in due.iter().filter(|alarm| self.has_receiver(alarm)) {
            let switch = self.switch(alarm).filter(|_| alarm.ended.is_none());
            let ping = switch.map(|switch| (switch, FAIL, alarm.detail.as_str()));
            let delivered = self.deliver(ping, Some(alarm.message(NAME))).await;
            self.state().alarms.record(&alarm.code, delivered, now);
        }
    }

    /// Pings a dead man's switch, and sends a message to the webhook. Returns whether all that were asked took it.
    async fn deliver(
        &self,
        to_ping: Option<(&Secret, &str, &str)>,
        message: Option<Message>,
    ) -> bool {
        let webhook = self.receivers.webhook.as_ref().zip(message);
        if to_ping.is_none() && webhook.is_none() {
            return true;
        }
        let mut failed = None;
        if let Some((switch, end, body)) = to_ping {
            failed = ping(switch, end, body).await.err();
        }
        if let Some((webhook, message)) = webhook {
            failed = webhook.send(&message).await.err().or(failed);
        }
        let delivered = failed.is_none();
        self.state().failed = failed;
        delivered
    }

    /// Dead man's switch that an alarm pings; `None` if it is not set.
    fn switch(&self, alarm: &Alarm) -> Option<&Secret> {
        let receivers = &self.receivers;
        let switch = if alarm.code.contains("drill") {
            &receivers.drill_ping
        } else {
            &receivers.ping
        };
        switch.as_ref()
    }

    fn has_receiver(&self, alarm: &Alarm) -> bool {
        self.receivers.webhook.is_some() || self.switch(alarm).is_some()
    }

    /// `true` if failed backups have a receiver.
    #[must_use]
    pub fn are_set_up(&self) -> bool {
        self.receivers.ping.is_some() || self.receivers.webhook.is_some()
    }

    /// Last delivery, if it failed.
    #[must_use]
    pub fn failure(&self) -> Option<FailedDelivery> {
        self.state().failed.clone()
    }

    /// Open alarms, by code.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        let state = self.state();
        let open = state.alarms.open();
        open.filter(|alarm| alarm.ended.is_none())
            .map(|alarm| self.shown(alarm))
            .collect()
    }

    /// Acknowledges an alarm, so that it is not repeated; `None` if there is no such alarm.
    #[must_use]
    pub fn acknowledge(&self, code: &str, by: &str, now: Timestamp) -> Option<Alarm> {
        let mut state = self.state();
        let acknowledged = state.alarms.acknowledge(code, by, now);
        acknowledged.map(|alarm| self.shown(alarm))
    }

    /// An alarm as operators see it: one that was reported when it happened is unsent, too, if nobody receives it.
    fn shown(&self, alarm: &Alarm) -> Alarm {
        Alarm {
            sent: alarm.sent.filter(|_| self.has_receiver(alarm)),
            ..alarm.clone()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use silo_testkit::ac::{Role, Simulator};

    use super::*;

    #[tokio::test]
    async fn alarms_of_drills_ping_their_own_url_and_are_unsent_without_a_receiver() {
        let (ping, drill_ping) = (
            Simulator::start(Role::Http).await.unwrap(),
            Simulator::start(Role::Http).await.unwrap(),
        );
        let receivers = Receivers {
            ping: Some(Secret::new(format!("{}/run", ping.url()))),
            drill_ping: Some(Secret::new(format!("{}/drill", drill_ping.url()))),
            webhook: None,
        };
        let without_drills = Receivers {
            drill_ping: None,
            ..receivers.clone()
        };
        let now = Timestamp::UNIX_EPOCH;
        let sent = async |receivers, codes: &[&str]| {
            let alerts = Alerts::new(receivers, SignedDuration::from_hours(6));
            let mut findings = Findings::default();
            for code in codes {
                findings.problem(*code, format!("{code}!"));
            }
            alerts.update(findings, now).await;
            let alarms = alerts.alarms().into_iter();
            let sent = alarms.filter(|alarm| alarm.sent == Some(now));
            sent.map(|alarm| alarm.code).collect::<Vec<_>>()
        };
        let received = |simulator: &Simulator| {
            let requests = simulator.received().into_iter();
            let requests = requests.map(|request| (request.line, request.body));
            requests.collect::<Vec<_>>()
        };
        let line = |line: &str, body: &str| (line.to_owned(), body.to_owned());

        let codes = ["drill_failed", "moment_drill_failed", "overdue"];
        assert_eq!(sent(receivers, &codes).await, codes);
        assert_eq!(received(&ping), [line("POST /run/fail", "overdue!")]);
        let drills = [
            line("POST /drill/fail", "drill_failed!"),
            line("POST /drill/fail", "moment_drill_failed!"),
        ];
        assert_eq!(received(&drill_ping), drills);

        assert_eq!(sent(without_drills.clone(), &codes).await, ["overdue"]);
        assert_eq!(received(&drill_ping), drills);

        let alerts = Alerts::new(without_drills, SignedDuration::from_hours(6));
        let mut findings = Findings::default();
        for code in ["backup_failed", "drill_failed"] {
            findings.reported(code, "at its end", Some(now));
        }
        alerts.update(findings, now).await;
        let alarms = alerts.alarms().into_iter();
        let sent: Vec<_> = alarms.map(|alarm| (alarm.since, alarm.sent)).collect();
        assert_eq!(sent, [(now, Some(now)), (now, None)]);
    }
}
