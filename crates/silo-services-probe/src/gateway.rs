//! Outgoing connections: to probed services, for the connectivity check, and to Silo's other services.

pub mod connectivity;
pub mod fetch;
mod network;
pub mod siblings;
mod tls;
