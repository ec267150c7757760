//! One line of the log file: a checksum and a record.
//!
//! ```text
//! 1a2b3c4d m 29400000 oven 1 0 0 0 123       checks of a minute since 1970: up, degraded, failed, down, milliseconds
//! 1a2b3c4d h 490000 oven 58 1 1 0 7140       the same for an hour whose minutes are no longer kept
//! 1a2b3c4d e 12 1764000000123 oven up degraded reset it cut the connection
//! 1a2b3c4d a [{"code":"service_down.oven",...}]   the open alarms, as JSON
//! ```
//!
//! The checksum is CRC-32 (IEEE) of the record, without the blank before it, in hexadecimal.

use jiff::Timestamp;
use silo_alerts::alarms::Alarm;

use super::tally::Tally;
use crate::changes::Change;
use crate::status::Status;

/// Record of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Checks of a minute.
    Minute {
        /// The service.
        name: String,
        /// The minute since 1970.
        at: u32,
        /// Counted results.
        tally: Tally,
    },
    /// Checks of an hour.
    Hour {
        /// The service.
        name: String,
        /// The hour since 1970.
        at: u32,
        /// Counted results.
        tally: Tally,
    },
    /// A change of state.
    Change(Change),
    /// All open alarms; it replaces earlier ones.
    Alarms(Vec<Alarm>),
}

impl Record {
    /// The line, with its newline.
    #[must_use]
    pub fn line(&self) -> String {
        let text = match self {
            Self::Minute { name, at, tally } => format!("m {at} {name} {}", counts(*tally)),
            Self::Hour { name, at, tally } => format!("h {at} {name} {}", counts(*tally)),
            Self::Change(change) => {
                let Change { id, name, .. } = change;
                let (from, to) = (change.from.word(), change.to.word());
                let at = change.at.as_millisecond();
                let code = change.code.as_deref().unwrap_or("-");
                let detail = change
                    .detail
                    .as_deref()
                    .unwrap_or("")
                    .replace(['\n', '\r'], " ");
                format!("e {id} {at} {name} {from} {to} {code} {detail}")
            }
            // Alarms have nothing that cannot be written, and JSON has no newline in a text.
            Self::Alarms(alarms) => {
                format!("a {}", serde_json::to_string(alarms).unwrap_or_default())
            }
        };
        format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()))
    }

    /// Parses a line without its newline; `None` if it is damaged: wrong checksum, unknown kind or invalid field.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let (sum, text) = line.split_once(' ')?;
        if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(text.as_bytes()) {
            return None;
        }
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "m" => parse_tally(rest).map(|(at, name, tally)| Self::Minute { name, at, tally }),
            "h" => parse_tally(rest).map(|(at, name, tally)| Self::Hour { name, at, tally }),
            "e" => parse_change(rest).map(Self::Change),
            "a" => serde_json::from_str(rest).ok().map(Self::Alarms),
            _ => None,
        }
    }
}

fn counts(tally: Tally) -> String {
    let Tally {
        up,
        degraded,
        failed,
        down,
        answered_ms,
    } = tally;
    format!("{up} {degraded} {failed} {down} {answered_ms}")
}

fn parse_tally(text: &str) -> Option<(u32, String, Tally)> {
    let mut words = text.split(' ');
    let at = words.next()?.parse().ok()?;
    let name = words.next()?.to_owned();
    let tally = Tally {
        up: words.next()?.parse().ok()?,
        degraded: words.next()?.parse().ok()?,
        failed: words.next()?.parse().ok()?,
        down: words.next()?.parse().ok()?,
        answered_ms: words.next()?.parse().ok()?,
    };
    Some((at, name, tally))
}

fn parse_change(text: &str) -> Option<Change> {
    let mut words = text.splitn(7, ' ');
    let change = Change {
        id: words.next()?.parse().ok()?,
        at: Timestamp::from_millisecond(words.next()?.parse().ok()?).ok()?,
        name: words.next()?.to_owned(),
        from: Status::from_word(words.next()?)?,
        to: Status::from_word(words.next()?)?,
        code: words.next().filter(|code| *code != "-").map(str::to_owned),
        detail: words
            .next()
            .filter(|detail| !detail.is_empty())
            .map(str::to_owned),
    };
    Some(change)
}
