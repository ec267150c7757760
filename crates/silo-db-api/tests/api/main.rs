//! The silo-db-api binary over HTTP, against real Mongo servers. One module for each noun of the API.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a test ends where something is not as it must be, and its counts are small"
)]

mod service;

mod access;
mod atproto;
mod bad_input;
mod clients;
mod collections;
mod compare;
mod documents;
mod events;
mod health;
mod history;
mod keeps;
mod lists;
mod operations;
mod outage;
mod real_server;
mod scaffold;
mod secrets;
mod settings;
mod states;
mod tapes;
mod users;
