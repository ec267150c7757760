//! Client connections, from `$currentOp`.

use futures_util::TryStreamExt;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Document, doc};

use super::{Gateway, MAX_TIME_MS};

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Application name that the client reports.
    pub app_name: Option<String>,
    /// Name and version of the driver.
    pub driver: Option<String>,
    /// Client address without the port.
    pub address: Option<String>,
    /// `true` if an operation is running.
    pub active: bool,
}

impl Gateway {
    /// Lists client connections, idle ones included.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn connections(&self) -> Result<Vec<Connection>, DatabaseError> {
        let fields = doc! { "appName": 1, "clientMetadata.driver": 1, "clientMetadata.application": 1, "client": 1, "active": 1 };
        let pipeline = vec![
            doc! { "$currentOp": { "allUsers": true, "idleConnections": true } },
            doc! { "$project": fields },
        ];
        let command =
            doc! { "aggregate": 1, "pipeline": pipeline, "cursor": {}, "maxTimeMS": MAX_TIME_MS };
        let cursor = self
            .client
            .database("admin")
            .run_cursor_command(command)
            .await?;
        let operations: Vec<Document> = cursor.try_collect().await?;
        Ok(operations.iter().filter_map(read_connection).collect())
    }
}

/// The server's own threads have neither a client address nor client metadata.
fn read_connection(operation: &Document) -> Option<Connection> {
    let text = |path: &str| field::text(operation, path).filter(|text| !text.is_empty());
    let client = text("client");
    if client.is_none() && !operation.contains_key("clientMetadata") && text("appName").is_none() {
        return None;
    }
    let driver = text("clientMetadata.driver.name").map(|name| {
        // Drivers that wrap others join names with `|`: the first is the outermost.
        let outer = |text: &str| text.split('|').next().unwrap_or_default().to_owned();
        [
            outer(name),
            text("clientMetadata.driver.version")
                .map(outer)
                .unwrap_or_default(),
        ]
        .join(" ")
        .trim()
        .to_owned()
    });
    Some(Connection {
        app_name: text("appName")
            .or_else(|| text("clientMetadata.application.name"))
            .map(str::to_owned),
        driver,
        address: client.map(|client| {
            client
                .rsplit_once(':')
                .map_or(client, |(host, _)| host)
                .to_owned()
        }),
        active: field::flag(operation, "active").unwrap_or(false),
    })
}
