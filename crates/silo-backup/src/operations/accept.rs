//! Acceptance of held backups.

use crate::catalog::Catalog;
use crate::context::Context;
use crate::error::Error;
use crate::progress::Reporter;
use crate::repository::Acceptance;
use crate::repository::manifest::State;

/// Accepts a held backup in all destinations that have it, so that it counts as good. Returns its id.
///
/// # Errors
/// When no destination has it, it is not held, or the acceptance could not be written everywhere; running it again completes it.
pub async fn accept(
    context: &Context,
    backup: &str,
    reason: &str,
    report: &Reporter,
) -> Result<String, Error> {
    context
        .leased(report, async |_| {
            let catalog = Catalog::read(context, &context.client).await;
            let (_, entry) = catalog.find(backup, false)?;
            let id = entry.manifest.id.clone();
            if entry.manifest.state != State::Held {
                return Err(Error::Refused(format!("{id} is not held")));
            }
            let acceptance = Acceptance {
                at: context.clock.now(),
                reason: reason.to_owned(),
            };
            let key = format!("accepted/{id}.json");
            super::write_everywhere(&catalog, &id, &key, &acceptance).await?;
            Ok(id)
        })
        .await
}
