//! Creating collections.

use mongodb::Database;
use mongodb::bson::{Document, doc};

use crate::collections::{Collection, Kind, indexes};
use crate::error::{ActionError, DatabaseError};

/// Creates a collection, time series or view with these options, and with no other index than a server needs.
///
/// # Errors
/// The error of the server.
pub async fn create(
    database: &Database,
    collection: &Collection,
    options: Document,
) -> Result<(), ActionError> {
    let mut command = doc! { "create": &collection.name };
    command.extend(options);
    let created = database.run_command(command).await;
    created.map_err(ActionError::of(format!("creating {}", collection.name)))?;
    if collection.kind == Kind::TimeSeries {
        let dropped = drop_own_indexes(database, collection).await;
        dropped.map_err(ActionError::of(format!(
            "reading the indexes of {}",
            collection.name
        )))?;
    }
    Ok(())
}

/// Since 6.3 a server creates an index on the meta and time fields of a time series. A collection of an older server had none.
async fn drop_own_indexes(
    database: &Database,
    collection: &Collection,
) -> Result<(), DatabaseError> {
    for index in indexes(database, &collection.name).await? {
        let name = index.get_str("name").unwrap_or_default();
        let wanted = collection
            .indexes
            .iter()
            .any(|wanted| wanted.get_str("name").ok() == Some(name));
        if !wanted {
            database
                .run_command(doc! { "dropIndexes": &collection.name, "index": name })
                .await?;
        }
    }
    Ok(())
}
