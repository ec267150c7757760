//! Outgoing connections: to probed services, for the connectivity check, and to Silo's other services.

pub mod connectivity;
pub mod dialer;
pub mod fetch;
pub mod redis;
mod tls;
