//! Servers that a command names.

use std::path::{Path, PathBuf};

use silo_cli::secret_file;
use silo_core::secret::Secret;
use silo_mongo::connect::{Patience, connect};
use silo_mongo::mongodb::options::ClientOptions;
use silo_mongo::mongodb::{Client, Database};

use crate::NAME;
use crate::error::Error;

/// Opens the database of a connection string in a file. The name of the database is given, or part of the string.
///
/// # Errors
/// When the file cannot be read or other users can read it, the string cannot be used, or no database is named.
pub async fn open(file: &Path, database: Option<&str>) -> Result<Database, Error> {
    let uri = secret_file::read(file).map_err(Error::Refused)?;
    let name = match database {
        Some(name) => name.to_owned(),
        None => database_of(&uri).await.ok_or_else(|| {
            Error::Usage(format!(
                "the connection string in {} names no database: add it after the last slash, or use --database",
                file.display()
            ))
        })?,
    };
    Ok(client(&uri, file).await?.database(&name))
}

async fn client(uri: &Secret, file: &Path) -> Result<Client, Error> {
    let client = connect(uri, NAME, Patience::LongRunning).await;
    client.map_err(|error| {
        Error::Usage(format!(
            "the connection string in {} {error}",
            file.display()
        ))
    })
}

async fn database_of(uri: &Secret) -> Option<String> {
    let options = ClientOptions::parse(uri.expose()).await.ok()?;
    options.default_database
}

/// A file with a connection string, and the name of its database.
#[derive(clap::Args, Clone, Debug)]
pub struct TargetArgs {
    /// File with the target's connection string, readable only by you; - for standard input
    #[arg(long, value_name = "FILE", env = "MONGODB_CONNECTION_STRING_FILE")]
    pub to_file: PathBuf,
    /// Name of the database. Default: that of the connection string
    #[arg(long, env = "MONGODB_NAME")]
    pub database: Option<String>,
}

impl TargetArgs {
    /// Opens the database.
    ///
    /// # Errors
    /// See [`open`].
    pub async fn open(&self) -> Result<Database, Error> {
        open(&self.to_file, self.database.as_deref()).await
    }
}

/// The two databases of a command.
#[derive(clap::Args, Clone, Debug)]
pub struct PairArgs {
    /// File with the connection string of the source, readable only by you
    source: PathBuf,
    /// File with the connection string of the target, readable only by you
    target: PathBuf,
    /// Name of the source's database. Default: that of its connection string
    #[arg(long)]
    source_database: Option<String>,
    /// Name of the target's database. Default: that of its connection string
    #[arg(long, env = "MONGODB_NAME")]
    target_database: Option<String>,
}

impl PairArgs {
    /// Opens source and target.
    ///
    /// # Errors
    /// See [`open`].
    pub async fn open(&self) -> Result<(Database, Database), Error> {
        let source = open(&self.source, self.source_database.as_deref()).await?;
        let target = open(&self.target, self.target_database.as_deref()).await?;
        Ok((source, target))
    }
}
