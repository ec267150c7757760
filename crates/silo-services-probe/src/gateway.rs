//! The ways out: to the services that are probed, to what tells whether this machine is connected, and to Silo's other services.

pub mod connectivity;
pub mod fetch;
mod network;
pub mod siblings;
mod tls;
