//! Approval of held backups.

use jiff::Timestamp;

use super::Repository;
use super::contents::Approval;
use super::manifest::State;
use crate::error::Error;

/// Approves a held backup in all repositories that have it, so that it counts as good. Returns its id for each of them, at least one.
///
/// # Errors
/// When no repository has it, it is not held, or the approval could not be written.
pub async fn approve(
    repositories: impl IntoIterator<Item = &Repository>,
    backup: &str,
    why: &str,
) -> Result<Vec<String>, Error> {
    let mut approved = Vec::new();
    for repository in repositories {
        let contents = repository.contents().await?;
        let Ok(entry) = contents.find(backup) else {
            continue;
        };
        let id = &entry.manifest.id;
        if entry.manifest.state != State::Held {
            return Err(Error::Refused(format!("{id} is not held")));
        }
        let approval = Approval {
            at: Timestamp::now(),
            why: why.to_owned(),
        };
        repository
            .write_json(&format!("accepted/{id}.json"), &approval)
            .await?;
        approved.push(id.clone());
    }
    if approved.is_empty() {
        return Err(Error::NotFound(format!(
            "there is no backup {backup}; `silo-backup list` shows the existing ones"
        )));
    }
    Ok(approved)
}
