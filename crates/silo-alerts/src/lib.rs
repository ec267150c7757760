//! Alerts: `delivery` sends messages to a webhook and pings dead man's switches; `alarms` keeps which alarms are open, and when each is sent.

pub mod alarms;
pub mod delivery;
pub mod settings;
