//! Alerts: pings at the start and end of a run, and a webhook when an operator must act.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use log::{error, warn};
use serde::Serialize;
use silo_core::secret::Secret;
use utoipa::ToSchema;

/// Time limit of one attempt.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Retries after a failed attempt.
const RETRIES: usize = 3;

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
    pub webhook: Option<Secret>,
}

/// Record of an alert that could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedDelivery {
    /// `ping` or `webhook`.
    pub receiver: &'static str,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Error, without the URL.
    pub error: String,
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
        let (ping, end, body) = match event {
            Event::RunStarted => (&self.receivers.ping, "/start", ""),
            Event::RunSucceeded(what) => (&self.receivers.ping, "", what.as_str()),
            Event::Alarm(_, detail) => (&self.receivers.ping, "/fail", detail.as_str()),
            Event::DrillSucceeded(what) => (&self.receivers.drill_ping, "", what.as_str()),
            Event::DrillFailed(_, detail) => (&self.receivers.drill_ping, "/fail", detail.as_str()),
        };
        let mut failed = None;
        if let Some(ping) = ping {
            let url = format!("{}{end}", ping.expose().trim_end_matches('/'));
            failed = self
                .deliver("ping", |http| http.post(&url).body(body.to_owned()))
                .await;
        }
        let alarm = match event {
            Event::Alarm(code, detail) | Event::DrillFailed(code, detail) => Some((code, detail)),
            _ => None,
        };
        let webhook = self.receivers.webhook.as_ref().zip(alarm);
        if let Some((webhook, (code, detail))) = webhook {
            let text = format!("silo-backup: {detail}");
            // `text` and `content` are what Slack and Discord show.
            let body = serde_json::json!({ "source": "silo-backup", "code": code, "detail": detail, "at": Timestamp::now(), "text": text, "content": text });
            failed = self
                .deliver("webhook", |http| http.post(webhook.expose()).json(&body))
                .await
                .or(failed);
        }
        if ping.is_some() || webhook.is_some() {
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

    /// Uses a client of its own: alerts are rare, and a long-lived client keeps all certificate authorities in memory.
    async fn deliver(
        &self,
        receiver: &'static str,
        request: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> Option<FailedDelivery> {
        let http = reqwest::Client::builder().timeout(TIME_LIMIT).build();
        let send = || async {
            let http = http.as_ref().map_err(describe)?;
            let answer = request(http)
                .send()
                .await
                .map_err(|error| describe(&error))?;
            let status = answer.status();
            if status.is_success() {
                Ok(())
            } else {
                Err(format!(
                    "the receiver answers with status {}",
                    status.as_u16()
                ))
            }
        };
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(300))
            .with_max_times(RETRIES)
            .with_jitter();
        let error = send.retry(pauses).await.err()?;
        warn!(receiver; "an alert could not be delivered: {error}");
        Some(FailedDelivery {
            receiver,
            at: Timestamp::now(),
            error,
        })
    }
}

/// Text of an error without the URL, which is a secret.
fn describe(error: &reqwest::Error) -> String {
    match error {
        error if error.is_timeout() => "the receiver does not answer in time".into(),
        error if error.is_connect() => "the receiver cannot be reached".into(),
        error if error.is_builder() => "TLS cannot be set up on this machine".into(),
        _ => "the request failed".into(),
    }
}
