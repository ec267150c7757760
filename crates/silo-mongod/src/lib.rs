//! silo-mongod looks after mongod: `init` makes it a replica set with one account for each of those who use it, and `certificate`
//! gives it the certificate that Caddy obtained, without a restart.
//!
//! `accounts` is who there is and what each may do; `server` is mongod, asked as its administrator. `pem` reads, makes and compares
//! certificates.

pub mod certificate;
pub mod init;

pub mod accounts;
pub mod pem;
pub mod server;

pub mod error;
pub mod settings;

/// The name of this program: its process, its log lines.
pub const NAME: &str = "silo-mongod";
