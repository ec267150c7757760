//! The migration to Silo, as commands that can be rehearsed: `import` a JSON backup, `copy` a database over the network, `compare` two databases,
//! `cutover` of the connection strings, and the checks before the old cluster is given up.

pub mod cli;
pub mod copy;
pub mod cutover;
pub mod error;
pub mod import;
pub mod json;
pub mod selection;
pub mod server;
pub mod sqlite;
pub mod verify;

/// Name of the program.
pub const NAME: &str = "silo-migrate";
