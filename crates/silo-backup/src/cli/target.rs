//! Arguments that name a server or a destination, and confirmation by name.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use silo_core::secret::Secret;
use silo_mongo::commands::Commands;
use silo_mongo::connect::connect;
use silo_mongo::mongodb::Client;

use crate::context::Context;
use crate::error::Error;
use crate::repository::Repository;

/// Server to restore to.
#[derive(Args)]
pub(super) struct TargetArgs {
    /// Connection string of the server; default: the one in the settings. Other users of this machine can see a password given here
    #[arg(long, value_name = "URI")]
    to: Option<String>,
    /// File with the connection string, readable only by you
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    to_file: Option<PathBuf>,
}

/// Repository to read: the primary one, or the second copy.
pub(super) fn destination(context: &Context, copy: bool) -> Result<&Repository, Error> {
    match (copy, &context.copy) {
        (false, _) => Ok(&context.primary),
        (true, Some(copy)) => Ok(copy),
        (true, None) => Err(Error::Refused(
            "there is no second copy: BACKUP_COPY_* are not set".into(),
        )),
    }
}

impl TargetArgs {
    /// The connection string.
    pub(super) fn uri(&self, context: &Context) -> Result<Secret, Error> {
        match (&self.to, &self.to_file) {
            (Some(uri), _) => Ok(Secret::new(uri)),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    Error::Refused(format!("{} cannot be read: {error}", file.display()))
                })?;
                Ok(Secret::new(text.trim()))
            }
            (None, None) => Ok(context.settings.mongo.clone()),
        }
    }

    /// Client of the server.
    pub(super) async fn client(&self, context: &Context) -> Result<Client, Error> {
        open(&self.uri(context)?).await
    }
}

/// Opens a client.
pub(super) async fn open(uri: &Secret) -> Result<Client, Error> {
    let client = connect(uri, crate::settings::NAME, Commands::default().into()).await;
    client.map_err(|error| Error::Refused(format!("the target {error}")))
}

/// Confirms an action by the database's name, from the argument or typed at the terminal.
pub(super) fn confirmed(database: &str, given: Option<String>, what: &str) -> Result<(), Error> {
    let typed = match given {
        Some(typed) => typed,
        None if std::io::stdin().is_terminal() => {
            let mut stderr = std::io::stderr();
            drop(
                write!(stderr, "{what}\nType {database} to go on: ").and_then(|()| stderr.flush()),
            );
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)?;
            line.trim().to_owned()
        }
        None => {
            return Err(Error::Refused(format!(
                "{what} Confirm with --confirm {database}"
            )));
        }
    };
    if typed == database {
        Ok(())
    } else {
        Err(Error::Refused(format!(
            "`{typed}` is not {database}; nothing was done"
        )))
    }
}
