//! Collections that changed while the database was read.

use silo_mongo::collections::{self, Collection};
use silo_mongo::mongodb::Database;

use crate::error::Error;
use crate::repository::manifest::ChangedDuringRead;

/// Collections that were created, dropped or renamed while the database was read.
pub(super) async fn changes(
    database: &Database,
    before: &[Collection],
    missing: Vec<String>,
) -> Result<ChangedDuringRead, Error> {
    let after = collections::list_without_indexes(database)
        .await
        .map_err(Error::database("listing the collections again"))?;
    // A view has no UUID.
    let same = |one: &Collection, other: &Collection| {
        one.uuid == other.uuid && (one.uuid.is_some() || one.name == other.name)
    };
    let mut changed = ChangedDuringRead {
        not_read: missing,
        ..ChangedDuringRead::default()
    };
    for was in before {
        match after.iter().find(|is| same(was, is)) {
            Some(is) if is.name == was.name => {}
            Some(is) => changed.renamed.push(format!("{} to {}", was.name, is.name)),
            None => changed.dropped.push(was.name.clone()),
        }
    }
    let created = after
        .iter()
        .filter(|is| !before.iter().any(|was| same(was, is)));
    changed.created = created.map(|is| is.name.clone()).collect();
    Ok(changed)
}
