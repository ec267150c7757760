//! Acknowledgement of damaged and missing backups, which ends their alarm.

use crate::catalog::Catalog;
use crate::context::Context;
use crate::error::Error;
use crate::run::published_index::PublishedIndex;
use silo_cli::progress::Reporter;

/// Acknowledges that a backup is missing or damaged: it is no longer reported as a problem. Returns the problems that were acknowledged.
///
/// # Errors
/// When there is no problem with this backup, or the database cannot be written.
pub async fn acknowledge(
    context: &Context,
    id: &str,
    reason: &str,
    report: &Reporter,
) -> Result<Vec<String>, Error> {
    context
        .leased(report, async |_| {
            let catalog = Catalog::read(context, &context.client).await;
            // A part of an id would acknowledge several backups.
            let is_id = crate::repository::manifest::is_id(id);
            let mut acknowledged = Vec::new();
            for destination in &catalog.destinations {
                let problems = destination.problems().into_iter();
                let problems: Vec<String> = problems.filter(|text| text.contains(id)).collect();
                let Some(repository) = destination.repository_id() else {
                    continue;
                };
                if problems.is_empty() || !is_id {
                    continue;
                }
                PublishedIndex::new(&context.client, repository)
                    .acknowledge(id, reason)
                    .await?;
                acknowledged.extend(problems);
            }
            if acknowledged.is_empty() {
                return Err(Error::NotFound(format!(
                    "there is no problem with a backup {id}; `silo-backup status` shows problems with the full ids"
                )));
            }
            Ok(acknowledged)
        })
        .await
}
