//! What every HTTP service of Silo shares.
//!
//! A service measures in the background ([`snapshot`]), answers from the last measurement ([`answer`]) or says what is wrong
//! ([`problem`]), tells news as it happens ([`stream`]), asks its siblings ([`sibling`]), is built by [`app`], run by [`server`] for
//! as long as its [`process`] lives, and watched by [`healthcheck`]. This crate knows no database and no bucket.

pub mod answer;
pub mod app;
pub mod health;
pub mod healthcheck;
pub mod input;
pub mod metrics;
mod middleware;
pub mod openapi;
pub mod operator;
pub mod problem;
pub mod process;
pub mod server;
pub mod service;
pub mod sibling;
pub mod snapshot;
pub mod stream;
