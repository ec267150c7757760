//! Answers about all services, and about one.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::atproto_network::{Accounts, Sync};
use crate::changes::Change;
use crate::history::series::{Point, Uptime};
use crate::kinds::Facts;
use crate::probe::Kind;
use crate::status::Status;

/// All services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Services {
    /// Number of services by status.
    #[serde(flatten)]
    pub counts: Counts,
    /// `true` if the prober itself is online; while it is offline, every status is unknown.
    pub connected: bool,
    /// Each of them, in the order of the settings.
    pub services: Vec<ServiceView>,
}

/// Number of services by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counts {
    /// All.
    pub total: u64,
    /// Services that answer as expected.
    pub up: u64,
    /// Services that answer with warnings, or failed once.
    pub degraded: u64,
    /// Services that failed several times in a row.
    pub down: u64,
    /// Services without a known status.
    pub unknown: u64,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// Name of the service.
    pub name: String,
    /// Kind of the service.
    pub kind: Kind,
    /// URL of the service.
    pub target: String,
    /// Current status.
    pub status: Status,
    /// Since when it does; `null` before the first check.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Reasons for not being up; empty if it is.
    pub reasons: Vec<Reason>,
    /// Duration of the last check in milliseconds.
    pub response_ms: Option<u64>,
    /// Duration of its steps.
    pub steps: TimingsMs,
    /// When the last check ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked_at: Option<Timestamp>,
    /// Interval between checks in seconds.
    pub interval_seconds: u64,
    /// Days until its certificate expires; negative when it has; `null` without TLS, or when none was shown.
    pub certificate_days: Option<i64>,
    /// Uptime over 24 hours and 30 days.
    pub uptime: Uptimes,
    /// The last failures, five at the most, the newest first.
    pub last_failures: Vec<PastFailure>,
}

/// Reason why a service is not up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reason {
    /// A stable name: `refused`, `name_not_found`, `unreachable`, `reset`, `tls_expired`, `timed_out_answering`, `status`, `body`,
    /// `slow`, `certificate_expires`, `not_ready`, `prober_offline`...
    pub code: String,
    /// One sentence for people.
    pub detail: String,
}

/// Duration of each step of a check in milliseconds; `null` if the step was not reached or does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TimingsMs {
    /// Looking up the name.
    pub resolve: Option<u64>,
    /// Connecting.
    pub connect: Option<u64>,
    /// Agreeing on TLS.
    pub tls: Option<u64>,
    /// Waiting for the head of the answer.
    pub answer: Option<u64>,
    /// Reading the body.
    pub body: Option<u64>,
}

/// Uptime over two periods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Uptimes {
    /// The last 24 hours.
    #[serde(rename = "last24h")]
    pub last_24h: Uptime,
    /// The last 30 days.
    #[serde(rename = "last30d")]
    pub last_30d: Uptime,
}

/// A failure of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PastFailure {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Reason, as a stable code.
    pub code: String,
    /// Reason, in one sentence.
    pub detail: String,
}

/// One service with all details.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDetail {
    /// The same as in the list.
    #[serde(flatten)]
    pub service: ServiceView,
    /// Facts by kind; `null` before the first good answer.
    pub facts: Option<Facts>,
    /// When that was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub facts_as_of: Option<Timestamp>,
    /// Accounts; only of an AT-protocol server, `null` when they could not be counted.
    pub accounts: Option<Accounts>,
    /// Share of AC's content in the AT-protocol network; only for AT-protocol servers, `null` if unknown.
    pub sync: Option<Sync>,
    /// The last 24 hours, by 15 minutes.
    pub last_day: Vec<Point>,
    /// The last 30 days, by 4 hours.
    pub last_month: Vec<Point>,
    /// The last changes of state, ten at the most, the newest first.
    pub changes: Vec<Change>,
}

impl Counts {
    /// Counts services.
    #[must_use]
    pub fn of(services: &[ServiceView]) -> Self {
        let mut counts = Self::default();
        for service in services {
            counts.total += 1;
            match service.status {
                Status::Up => counts.up += 1,
                Status::Degraded => counts.degraded += 1,
                Status::Down => counts.down += 1,
                Status::Unknown => counts.unknown += 1,
            }
        }
        counts
    }
}
