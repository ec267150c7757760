//! Commands of an operator that change what a repository contains: initialise, adopt, accept, pin, acknowledge.

pub mod accept;
pub mod acknowledge;
pub mod adopt;
pub mod init;
pub mod pin;

use serde::Serialize;

use crate::catalog::Catalog;
use crate::context::Context;
use crate::error::Error;
use crate::repository::manifest::Manifest;
use silo_cli::progress::Reporter;

/// Writes a file about a backup into a folder of every destination that has it, unless `check` refuses. Returns its id.
async fn write_everywhere(
    context: &Context,
    backup: &str,
    folder: &str,
    value: &impl Serialize,
    check: impl FnOnce(&Manifest) -> Result<(), Error>,
    report: &Reporter,
) -> Result<String, Error> {
    context
        .leased(report, async |_| {
            let catalog = Catalog::read(context, &context.client).await;
            let (_, found) = catalog.find(backup, false)?;
            check(&found.manifest)?;
            let id = &found.manifest.id;
            for destination in &catalog.destinations {
                let entries = &destination.contents.entries;
                if entries.iter().any(|entry| entry.manifest.id == *id) {
                    let key = format!("{folder}/{id}.json");
                    destination.repository.write_json(&key, value).await?;
                }
            }
            all_were_read(&catalog)?;
            Ok(id.clone())
        })
        .await
}

/// An error if a destination could not be read, so that the command is run again.
fn all_were_read(catalog: &Catalog) -> Result<(), Error> {
    match catalog.failed.first() {
        Some((_, error)) => Err(error.clone()),
        None => Ok(()),
    }
}
