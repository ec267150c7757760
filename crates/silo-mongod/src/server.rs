//! mongod, reached as one of its accounts: at the host of the administrator's connection string, directly.

use std::time::Duration;

use silo_mongo::field;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_mongo::mongodb::error::{Error as DriverError, ErrorKind};
use silo_mongo::mongodb::options::ClientOptions;
use silo_mongo::mongodb::{Client, Database};

use crate::accounts::Account;
use crate::error::Error;

/// Time limit for finding the server, per command.
const SELECTION: Duration = Duration::from_secs(2);

/// The database `admin` of mongod, as an account.
///
/// # Errors
/// When the account's options cannot be used.
pub fn admin(of: &Account, to: &Account) -> Result<Database, Error> {
    let mut options: ClientOptions = of.options.clone();
    // AC's connection strings name the set, which need not be there yet, and the address of others.
    options.hosts.clone_from(&to.options.hosts);
    options.tls.clone_from(&to.options.tls);
    options.direct_connection = Some(true);
    options.repl_set_name = None;
    options.app_name = Some(crate::NAME.into());
    options.server_selection_timeout = Some(SELECTION);
    options.connect_timeout = Some(SELECTION);
    options.max_pool_size = Some(1);
    let client = Client::with_options(options);
    let client = client.map_err(Error::database(format!("connecting as {}", of.name)))?;
    Ok(client.database("admin"))
}

/// Error code of the server, if the error comes from it.
#[must_use]
pub fn code(error: &DriverError) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

/// Runs a command.
///
/// # Errors
/// The error of the command.
pub async fn run(admin: &Database, command: Document, doing: &str) -> Result<Document, Error> {
    admin
        .run_command(command)
        .await
        .map_err(Error::database(doing))
}

/// `true` if the server is the primary and accepts writes.
pub async fn is_primary(admin: &Database) -> bool {
    let hello = admin.run_command(doc! { "hello": 1 }).await;
    hello.is_ok_and(|hello| field::flag(&hello, "isWritablePrimary") == Some(true))
}
