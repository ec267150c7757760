//! Outgoing connections: to probed services, for the connectivity check, and to Silo's other services.

pub mod connectivity;
mod dialer;
pub mod fetch;
pub mod internal;
mod tls;
