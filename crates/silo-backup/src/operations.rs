//! Commands of an operator that change what a repository contains: initialise, adopt, accept, pin, acknowledge.

pub mod accept;
pub mod acknowledge;
pub mod adopt;
pub mod init;
pub mod pin;

use serde::Serialize;

use crate::catalog::Catalog;
use crate::error::Error;

/// Writes a file into every destination that has a backup.
async fn write_everywhere(
    catalog: &Catalog,
    id: &str,
    key: &str,
    value: &impl Serialize,
) -> Result<(), Error> {
    for destination in &catalog.destinations {
        let entries = &destination.contents.entries;
        if entries.iter().any(|entry| entry.manifest.id == id) {
            destination.repository.write_json(key, value).await?;
        }
    }
    all_were_read(catalog)
}

/// An error if a destination could not be read, so that the command is run again.
fn all_were_read(catalog: &Catalog) -> Result<(), Error> {
    match catalog.failed.first() {
        Some((_, error)) => Err(error.clone()),
        None => Ok(()),
    }
}
