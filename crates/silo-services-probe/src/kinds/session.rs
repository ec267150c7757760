//! The session server, which visitors' sockets are connected to. It has no `/health`. Its `/status` also lists its clients with their
//! addresses and places, which are dropped unread.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::field::{count, seconds};
use super::reply::nothing_known;
use crate::failure::Failure;

pub(super) const PATH: &str = "/status";

/// Facts that the session server reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Uptime in seconds.
    pub uptime_seconds: Option<u64>,
    /// Web sockets, those of dashboards among them.
    pub websockets: Option<u64>,
    /// Clients over UDP.
    pub udp: Option<u64>,
    /// Visitors: clients with one handle, user or address count once.
    pub visitors: Option<u64>,
}

pub(super) fn read(value: &Value) -> Result<Session, Failure> {
    let totals = &value["totals"];
    let session = Session {
        uptime_seconds: seconds(&value["server"]["uptime"]),
        websockets: count(&totals["websocket"]),
        udp: count(&totals["udp"]),
        visitors: count(&totals["unique_clients"]),
    };
    if (session.uptime_seconds, session.websockets, session.visitors) == (None, None, None) {
        return Err(nothing_known("the session server"));
    }
    Ok(session)
}
