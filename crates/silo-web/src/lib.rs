//! Code shared by all HTTP services of Silo.
//!
//! A service measures in the background ([`snapshot`]) and answers from the last measurement ([`answer`]) or with an error ([`problem`]). It pushes
//! events ([`stream`]), requests data from other services ([`internal_client`]), is assembled by [`app`], run by [`server`] and [`process`], and
//! checked by [`healthcheck`]. This crate does not depend on a database or on object storage.

pub mod answer;
pub mod app;
pub mod health;
pub mod healthcheck;
pub mod input;
pub mod internal_client;
pub mod metrics;
mod middleware;
pub mod openapi;
pub mod operator;
pub mod problem;
pub mod process;
pub mod server;
pub mod service;
pub mod snapshot;
pub mod stream;
