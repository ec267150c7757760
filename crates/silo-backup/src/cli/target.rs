//! Arguments that name a server or a destination, and confirmation by name.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use silo_cli::secret_file;
use silo_core::secret::Secret;
use silo_mongo::connect::{Patience, connect};
use silo_mongo::mongodb::Client;

use crate::catalog::Destination;
use crate::context::Context;
use crate::error::Error;
use crate::repository::Entry;

/// Server to restore to.
#[derive(Args)]
pub(super) struct TargetArgs {
    /// File with the server's connection string, readable only by you; - for standard input. Default: the server in the settings
    #[arg(long, value_name = "FILE")]
    to_file: Option<PathBuf>,
}

impl TargetArgs {
    /// `true` for the server in the settings.
    pub(super) fn is_default(&self) -> bool {
        self.to_file.is_none()
    }

    /// The connection string.
    pub(super) fn uri(&self, context: &Context) -> Result<Secret, Error> {
        let Some(file) = &self.to_file else {
            return Ok(context.settings.mongo.clone());
        };
        secret_file::read(file).map_err(Error::Refused)
    }

    /// Client of the server.
    pub(super) async fn client(&self, context: &Context) -> Result<Client, Error> {
        open(&self.uri(context)?).await
    }
}

/// Opens a client.
pub(super) async fn open(uri: &Secret) -> Result<Client, Error> {
    let client = connect(uri, crate::settings::NAME, Patience::LongRunning);
    let client = client.await;
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

/// Refuses a backup that the database does not remember, unless the bucket is trusted.
pub(super) fn trust(
    destination: &Destination,
    entry: &Entry,
    trust_bucket: bool,
) -> Result<(), Error> {
    let id = &entry.manifest.id;
    let remembered = destination.published.as_ref().is_ok_and(|published| {
        published
            .iter()
            .any(|known| known.id == *id && known.sha256 == entry.sha256)
    });
    match (remembered, trust_bucket) {
        (true, _) => Ok(()),
        (false, true) => {
            log::warn!(id = id.as_str(); "the database does not remember this backup; it is restored because of --trust-bucket");
            Ok(())
        }
        (false, false) => Err(Error::Refused(format!(
            "the database does not remember {id}. On a new server, run `silo-backup init --adopt`, or use --trust-bucket: whoever can write the bucket could have made this backup"
        ))),
    }
}
