//! Alerts: pings at the start and end of a run, and a webhook when an operator must act.

use std::sync::{Arc, Mutex, PoisonError};

use log::error;
use silo_alerts::delivery::{FailedDelivery, Message, Webhook, ping};
use silo_core::secret::Secret;

/// Event to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A run begins.
    RunStarted,
    /// A good backup was made; with its description.
    RunSucceeded(String),
    /// A run failed, a backup is held or has vanished, or the newest good backup is too old; with a stable code and the reason.
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

/// Receivers of alerts. Clones share the record of failed deliveries.
#[derive(Clone)]
pub struct Alerts {
    receivers: Receivers,
    failed: Arc<Mutex<Option<FailedDelivery>>>,
}

impl Alerts {
    /// Receivers from the settings; none if neither is set.
    #[must_use]
    pub fn new(receivers: Receivers) -> Self {
        Self {
            receivers,
            failed: Arc::default(),
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
            Event::Alarm(_, detail) => (&receivers.ping, "/fail", detail.as_str()),
            Event::DrillSucceeded(what) => (&receivers.drill_ping, "", what.as_str()),
            Event::DrillFailed(_, detail) => (&receivers.drill_ping, "/fail", detail.as_str()),
        };
        let mut failed = None;
        if let Some(switch) = switch {
            failed = ping(switch, end, body).await.err();
        }
        let alarm = match event {
            Event::Alarm(code, detail) | Event::DrillFailed(code, detail) => Some((code, detail)),
            _ => None,
        };
        let webhook = receivers.webhook.as_ref().zip(alarm);
        if let Some((webhook, (code, detail))) = webhook {
            let message = Message {
                source: "silo-backup",
                code: (*code).to_owned(),
                detail: detail.clone(),
                recovered: false,
            };
            failed = webhook.send(&message).await.err().or(failed);
        }
        if switch.is_some() || webhook.is_some() {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        }
    }

    /// `true` if there is any receiver.
    #[must_use]
    pub fn are_set_up(&self) -> bool {
        self.receivers.ping.is_some() || self.receivers.webhook.is_some()
    }

    /// Last delivery, if it failed.
    #[must_use]
    pub fn failure(&self) -> Option<FailedDelivery> {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
