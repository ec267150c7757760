//! Delivery of messages: a webhook in the format of its receiver, and pings of dead man's switches.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use log::warn;
use reqwest::{Client, RequestBuilder};
use serde::Serialize;
use serde_json::json;
use silo_core::secret::Secret;
use utoipa::ToSchema;

/// Time limit of one attempt.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Retries after a failed attempt.
const RETRIES: usize = 3;
/// The longest text of a message, in characters: Discord takes 2,000.
const LONGEST_TEXT: usize = 1_900;

/// Format of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON with all fields, and with the fields that Slack and Discord show.
    Json,
    /// Discord's: `content`.
    Discord,
    /// Slack's: `text`.
    Slack,
    /// ntfy's: the text as body; title, priority and tags as headers.
    Ntfy,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Json, Self::Discord, Self::Slack, Self::Ntfy];

    /// Name in the settings.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Discord => "discord",
            Self::Slack => "slack",
            Self::Ntfy => "ntfy",
        }
    }

    /// Format by its name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.word() == word)
    }
}

/// A webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// URL.
    pub url: Secret,
    /// Format of what is sent.
    pub format: Format,
}

/// Message to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Service that sends it.
    pub source: &'static str,
    /// A stable code.
    pub code: String,
    /// One sentence.
    pub detail: String,
    /// `true` if an alarm has ended.
    pub recovered: bool,
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

impl Webhook {
    /// Sends a message, and waits until the receiver has it.
    ///
    /// # Errors
    /// When all attempts have failed.
    pub async fn send(&self, message: &Message) -> Result<(), FailedDelivery> {
        deliver("webhook", |http| self.request(http, message)).await
    }

    fn request(&self, http: &Client, message: &Message) -> RequestBuilder {
        let text = format!("{}: {}", message.source, message.detail);
        let text: String = text.chars().take(LONGEST_TEXT).collect();
        let post = http.post(self.url.expose());
        match self.format {
            Format::Json => post.json(&json!({
                "source": message.source,
                "code": message.code,
                "state": if message.recovered { "recovered" } else { "alarm" },
                "detail": message.detail,
                "at": Timestamp::now(),
                "text": text,
                "content": text,
            })),
            // Names in a text must not notify everybody.
            Format::Discord => {
                post.json(&json!({ "content": text, "allowed_mentions": { "parse": [] } }))
            }
            Format::Slack => post.json(&json!({ "text": text })),
            Format::Ntfy => {
                let (priority, tag) = if message.recovered {
                    ("default", "white_check_mark")
                } else {
                    ("high", "warning")
                };
                post.header("Title", format!("silo: {}", message.code))
                    .header("Priority", priority)
                    .header("Tags", tag)
                    .body(text)
            }
        }
    }
}

/// Pings a dead man's switch in the style of Healthchecks. `end` is appended to its URL: `/start`, `/fail`, or nothing for success.
///
/// # Errors
/// When all attempts have failed.
pub async fn ping(url: &Secret, end: &str, body: &str) -> Result<(), FailedDelivery> {
    let url = format!("{}{end}", url.expose().trim_end_matches('/'));
    deliver("ping", |http| http.post(&url).body(body.to_owned())).await
}

/// Uses a client of its own: alerts are rare, and a long-lived client keeps all certificate authorities in memory.
async fn deliver(
    receiver: &'static str,
    request: impl Fn(&Client) -> RequestBuilder,
) -> Result<(), FailedDelivery> {
    let http = Client::builder().timeout(TIME_LIMIT).build();
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
    send.retry(pauses).await.map_err(|error| {
        warn!(receiver; "an alert could not be delivered: {error}");
        FailedDelivery {
            receiver,
            at: Timestamp::now(),
            error,
        }
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(format: Format, recovered: bool) -> reqwest::Request {
        let webhook = Webhook {
            url: Secret::new("https://hooks.example/secret"),
            format,
        };
        let message = Message {
            source: "silo",
            code: "service_down.oven".into(),
            detail: "oven is down: @everyone".into(),
            recovered,
        };
        webhook.request(&Client::new(), &message).build().unwrap()
    }

    #[test]
    fn each_format_is_what_its_receiver_documents() {
        let body = |format| {
            let request = sent(format, false);
            let body = request.body().unwrap().as_bytes().unwrap().to_vec();
            serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_else(|_| {
                serde_json::Value::String(String::from_utf8(body.clone()).unwrap())
            })
        };
        let text = "silo: oven is down: @everyone";
        assert_eq!(body(Format::Slack), json!({ "text": text }));
        let discord = json!({ "content": text, "allowed_mentions": { "parse": [] } });
        assert_eq!(body(Format::Discord), discord);
        assert_eq!(body(Format::Ntfy), json!(text));
        let plain = body(Format::Json);
        assert_eq!(
            (&plain["code"], &plain["state"], &plain["text"]),
            (&json!("service_down.oven"), &json!("alarm"), &json!(text))
        );
        let ntfy = sent(Format::Ntfy, true);
        assert_eq!(ntfy.headers()["title"], "silo: service_down.oven");
        assert_eq!(ntfy.headers()["tags"], "white_check_mark");
    }
}
