//! Settings of the receivers.

use jiff::SignedDuration;
use silo_core::secret::Secret;
use silo_core::settings::SettingsReader;
use silo_core::variables::{ALERT_REPEAT_HOURS, ALERT_WEBHOOK_FORMAT, ALERT_WEBHOOK_URL, Variable};

use crate::delivery::{Format, Webhook};

/// Reads the webhook; `None` if none is set.
pub fn webhook(from: &mut SettingsReader, allow_http: bool) -> Option<Webhook> {
    let word = from.text(ALERT_WEBHOOK_FORMAT);
    let format = Format::from_word(&word);
    if format.is_none() {
        let words = Format::ALL.map(Format::word).join(", ");
        from.problem(format!(
            "{ALERT_WEBHOOK_FORMAT}: `{word}` is not one of {words}"
        ));
    }
    let url = receiver(from, ALERT_WEBHOOK_URL, allow_http)?;
    Some(Webhook {
        url,
        format: format?,
    })
}

/// Reads after what time an alarm is repeated that nobody has acknowledged.
pub fn repeat(from: &mut SettingsReader) -> SignedDuration {
    let hours = from.number(ALERT_REPEAT_HOURS, 1..=168);
    SignedDuration::from_hours(i64::try_from(hours).unwrap_or(168))
}

/// Reads the URL of a receiver. It must use TLS, unless it is on this machine or `allow_http` is set.
pub fn receiver(from: &mut SettingsReader, variable: Variable, allow_http: bool) -> Option<Secret> {
    let url = from.optional_text(variable)?;
    // Not repeated: who knows the address can speak in our name.
    match reqwest::Url::parse(&url) {
        Ok(parsed) if parsed.scheme() == "https" => {}
        Ok(parsed) if parsed.scheme() == "http" => {
            if !allow_http && !is_this_machine(&parsed) {
                from.problem(format!(
                    "{variable}: use https://, because the address is a secret"
                ));
            }
        }
        _ => from.problem(format!(
            "{variable}: must be an address that begins with http:// or https://"
        )),
    }
    Some(Secret::new(url))
}

/// `true` if the URL's host is a loopback address or `localhost`.
#[must_use]
pub fn is_this_machine(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
