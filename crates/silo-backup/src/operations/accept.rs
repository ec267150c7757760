//! Acceptance of held backups.

use crate::context::Context;
use crate::error::Error;
use crate::repository::Acceptance;
use crate::repository::manifest::{Manifest, State};
use silo_cli::progress::Reporter;

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
    let acceptance = Acceptance {
        at: context.clock.now(),
        reason: reason.to_owned(),
    };
    let is_held = |manifest: &Manifest| match manifest.state {
        State::Held => Ok(()),
        State::Verified => Err(Error::Refused(format!("{} is not held", manifest.id))),
    };
    super::write_everywhere(context, backup, "accepted", &acceptance, is_held, report).await
}
