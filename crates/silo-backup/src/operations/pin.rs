//! Pins: backups that are never pruned.

use crate::catalog::Catalog;
use crate::context::Context;
use crate::error::Error;
use crate::repository::{Entry, Pin};
use silo_cli::progress::Reporter;

/// Pins a backup in all destinations that have it. Returns its id.
///
/// # Errors
/// When no destination has it, or the pin could not be written everywhere; running it again completes it.
pub async fn pin(
    context: &Context,
    backup: &str,
    reason: &str,
    report: &Reporter,
) -> Result<String, Error> {
    let pin = Pin {
        at: context.clock.now(),
        reason: reason.to_owned(),
    };
    super::write_everywhere(context, backup, "pins", &pin, |_| Ok(()), report).await
}

/// Removes the pin of a backup. Returns its id.
///
/// # Errors
/// When no destination has it, it is not pinned, or the pin could not be deleted everywhere.
pub async fn unpin(context: &Context, backup: &str, report: &Reporter) -> Result<String, Error> {
    context
        .leased(report, async |_| {
            let catalog = Catalog::read(context, &context.client).await;
            let (_, entry) = catalog.find(backup, false)?;
            let id = entry.manifest.id.clone();
            let is_pinned = |entry: &Entry| entry.manifest.id == id && entry.pin.is_some();
            if !catalog.entries().any(is_pinned) {
                return Err(Error::Refused(format!("{id} is not pinned")));
            }
            for destination in &catalog.destinations {
                destination
                    .repository
                    .delete(&format!("pins/{id}.json"))
                    .await?;
            }
            super::all_were_read(&catalog)?;
            Ok(id)
        })
        .await
}
