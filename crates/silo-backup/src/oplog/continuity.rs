//! Which backups a server's oplog continues.

use super::Position;
use super::server::ServerOplog;
use crate::error::Error;
use crate::repository::Entry;
use crate::repository::manifest::{Consistency, Manifest, Server};

/// Position of a backup that can be rolled forward; `None` if it cannot: it is not good, or not of one moment.
#[must_use]
pub fn position(entry: &Entry) -> Option<Position> {
    let manifest = &entry.manifest;
    let exact = manifest.consistency == Consistency::Snapshot && entry.is_good();
    manifest.cluster_time.filter(|_| exact)
}

/// Reason why a server's oplog does not continue a backup: another replica set or version. `None` if it may.
#[must_use]
pub fn differs(server: &Server, base: &Manifest) -> Option<String> {
    let then = &base.source.server;
    if server.replica_set_id.is_none() || server.replica_set_id != then.replica_set_id {
        return Some(format!(
            "the server is of another replica set than the backup {}, or it cannot be known, so its oplog does not continue the backup",
            base.id
        ));
    }
    if server.version != then.version
        || server.feature_compatibility_version != then.feature_compatibility_version
    {
        return Some(format!(
            "the server has another version than when the backup {} was made, and its oplog may have another format; make a backup first",
            base.id
        ));
    }
    None
}

/// Refuses an oplog that does not continue a backup: one that begins after it, or that has no entry at its position, because the server was set back
/// to a state before it.
///
/// # Errors
/// [`Error::Refused`], or the error of the command.
pub async fn continues(oplog: &ServerOplog, from: Position, base: &Manifest) -> Result<(), Error> {
    if oplog.has(from).await? {
        return Ok(());
    }
    let id = &base.id;
    Err(Error::Refused(match oplog.oldest().await? {
        Some(oldest) if oldest > from => format!(
            "the server's oplog does not go back to the backup {id} at {from}: it begins at {oldest}; make a backup, from which later moments can be restored"
        ),
        _ => format!(
            "the server's oplog has no entry at {from}, the position of the backup {id}, so it does not continue it: was the server set back?"
        ),
    }))
}
