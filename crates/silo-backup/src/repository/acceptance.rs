//! Acceptance of held backups.

use jiff::Timestamp;

use super::Repository;
use super::contents::Acceptance;
use super::manifest::State;
use crate::error::Error;

/// Accepts a held backup in all repositories that have it, so that it counts as good. Returns its id for each of them, at least one.
///
/// # Errors
/// When no repository has it, it is not held, or the acceptance could not be written.
pub async fn accept(
    repositories: impl IntoIterator<Item = &Repository>,
    backup: &str,
    reason: &str,
) -> Result<Vec<String>, Error> {
    let mut accepted_ids = Vec::new();
    for repository in repositories {
        let contents = repository.contents().await?;
        let Ok(entry) = contents.find(backup) else {
            continue;
        };
        let id = &entry.manifest.id;
        if entry.manifest.state != State::Held {
            return Err(Error::Refused(format!("{id} is not held")));
        }
        let acceptance = Acceptance {
            at: Timestamp::now(),
            reason: reason.to_owned(),
        };
        repository
            .write_json(&format!("accepted/{id}.json"), &acceptance)
            .await?;
        accepted_ids.push(id.clone());
    }
    if accepted_ids.is_empty() {
        return Err(Error::NotFound(format!(
            "there is no backup {backup}; `silo-backup list` shows the existing ones"
        )));
    }
    Ok(accepted_ids)
}
