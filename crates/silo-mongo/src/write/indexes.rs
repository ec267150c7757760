//! Building indexes.

use futures_util::{StreamExt, stream};
use mongodb::Database;
use mongodb::bson::{Document, doc};

use crate::collections::Collection;
use crate::error::ActionError;

/// Collections whose indexes are built at once: most of a build's time is waiting for the server's journal.
const CONCURRENT_BUILDS: usize = 4;

/// Builds the indexes that let documents expire, or those that do not. Returns the failed steps.
pub async fn build(
    database: &Database,
    collections: &[Collection],
    expiring: bool,
) -> Vec<ActionError> {
    let builds = collections
        .iter()
        .map(|collection| build_of(database, collection, expiring));
    let failed: Vec<_> = stream::iter(builds)
        .buffer_unordered(CONCURRENT_BUILDS)
        .collect()
        .await;
    failed.into_iter().flatten().collect()
}

/// Builds the indexes of one collection. If they cannot be built at once, they are built one by one, so that a single one that fails does not prevent the
/// others.
async fn build_of(
    database: &Database,
    collection: &Collection,
    expiring: bool,
) -> Vec<ActionError> {
    let mut failed = Vec::new();
    let wanted = |index: &&Document| {
        let own = index.get_str("name").ok() == Some("_id_") || index.contains_key("clustered");
        !own && index.contains_key("expireAfterSeconds") == expiring
    };
    let indexes = collection.indexes.iter().filter(wanted);
    let indexes: Vec<Document> = indexes.map(|index| request(collection, index)).collect();
    if indexes.is_empty() || create(database, collection, &indexes).await.is_ok() {
        return failed;
    }
    for index in &indexes {
        let name = index.get_str("name").unwrap_or_default();
        if let Err(error) = create(database, collection, std::slice::from_ref(index)).await {
            failed.push(ActionError {
                action: format!("building index {name} of {}", collection.name),
                error,
            });
        }
    }
    failed
}

/// Specification of an index for `createIndexes`. `listIndexes` shows no collation for a simple one, and `createIndexes` without one uses the
/// collection's default.
fn request(collection: &Collection, index: &Document) -> Document {
    let mut request = index.clone();
    if collection.options.contains_key("collation") && !index.contains_key("collation") {
        request.insert("collation", doc! { "locale": "simple" });
    }
    request
}

async fn create(
    database: &Database,
    collection: &Collection,
    indexes: &[Document],
) -> Result<(), crate::error::DatabaseError> {
    let mut command = doc! { "createIndexes": &collection.name, "indexes": indexes };
    // Options of a newer server, which this one does not know.
    command.insert("ignoreUnknownIndexOptions", true);
    database.run_command(command).await?;
    Ok(())
}
