//! Beginning of a chain: a good backup that the server's oplog continues.

use std::collections::{BTreeMap, BTreeSet};

use super::spool::{Chain, Spool};
use crate::catalog::Catalog;
use crate::context::Context;
use crate::dump::identify;
use crate::error::Error;
use crate::oplog::continuity::{differs, position};
use crate::oplog::server::ServerOplog;

/// The chain that can begin now, at the newest good backup that the oplog continues and no chain began at.
///
/// # Errors
/// [`Error::NotFound`] if there is none, so that a backup has to be made.
pub(super) async fn find(context: &Context, spool: &Spool) -> Result<Chain, Error> {
    let client = &context.status_client;
    let oplog = ServerOplog::new(client, &context.settings.database);
    // Without a replica set there is no oplog.
    oplog.majority().await?;
    let server = identify(client).await?;
    let catalog = Catalog::read(context, client).await;
    let bases = catalog
        .entries()
        .filter_map(|entry| Some((position(entry)?, &entry.manifest)));
    let mut bases: Vec<_> = bases.collect();
    bases.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let spooled = spool.all();
    let mut different = None;
    for (base, manifest) in bases {
        let id = &manifest.id;
        if spooled.iter().any(|chain| chain.id == *id) {
            continue;
        }
        if let Some(reason) = differs(&server, manifest) {
            different.get_or_insert(reason);
            continue;
        }
        let Some(anchor) = oplog.anchor(base).await? else {
            continue;
        };
        // A destination that cannot be read does not stop the others; the uploader looks again.
        let (mut is_used, mut failed) = (None, None);
        for repository in context.repositories() {
            match repository.slices(id).await {
                Ok(slices) => is_used = Some(is_used.unwrap_or(false) || !slices.is_empty()),
                Err(error) => failed = Some(error),
            }
        }
        if let (None, Some(error)) = (is_used, failed) {
            return Err(error);
        }
        if is_used == Some(false) {
            return Ok(Chain {
                id: id.clone(),
                base,
                anchor,
                server_version: server.version,
                feature_compatibility_version: server.feature_compatibility_version,
                stored: BTreeMap::new(),
                incomplete: BTreeSet::new(),
                ended: None,
            });
        }
    }
    match catalog.failed.into_iter().next() {
        Some((_, error)) if catalog.destinations.is_empty() => Err(error),
        _ => Err(Error::NotFound(different.unwrap_or_else(|| {
            "no good backup is one that the server's oplog continues and at which no chain began before".into()
        }))),
    }
}

/// Reason why a chain cannot be continued with this server: another version than when the chain began. `None` if it can.
///
/// # Errors
/// The error of the command.
pub(super) async fn other_server(
    context: &Context,
    chain: &Chain,
) -> Result<Option<String>, Error> {
    let server = identify(&context.status_client).await?;
    let same = server.version == chain.server_version
        && server.feature_compatibility_version == chain.feature_compatibility_version;
    Ok((!same).then(|| {
        format!(
            "the server has version {}, and had {} when the chain began",
            server.version, chain.server_version
        )
    }))
}
