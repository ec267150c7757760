//! Client connections, from `$currentOp`.

use std::collections::BTreeMap;

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
        let fields = doc! { "appName": 1, "clientMetadata.driver": 1, "clientMetadata.application": 1, "client": 1, "active": 1, "host": 1, "shard": 1, "connectionId": 1 };
        let pipeline = vec![
            doc! { "$currentOp": { "allUsers": true, "idleConnections": true, "idleSessions": false } },
            doc! { "$project": fields },
        ];
        let command =
            doc! { "aggregate": 1, "pipeline": pipeline, "cursor": {}, "maxTimeMS": MAX_TIME_MS };
        Ok(read_connections(&self.all("admin", command).await?))
    }
}

/// One entry for each connection, also if several operations run in it. Connections are numbered by each server of a sharded cluster.
fn read_connections(operations: &[Document]) -> Vec<Connection> {
    let mut found = BTreeMap::<_, Connection>::new();
    for (at, operation) in operations.iter().enumerate() {
        let Some(connection) = read_connection(operation) else {
            continue;
        };
        let server = field::text(operation, "shard").or_else(|| field::text(operation, "host"));
        let number = field::count(operation, "connectionId");
        // An operation without a number counts as a connection of its own.
        let key = (server, number.ok_or(at));
        let active = connection.active;
        found.entry(key).or_insert(connection).active |= active;
    }
    found.into_values().collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_with_several_operations_is_counted_once() {
        let operation = |host: &str, number: i64, active| doc! { "host": host, "connectionId": number, "client": "10.0.0.1:5", "active": active };
        let operations = [
            operation("a", 1, false),
            operation("a", 1, true),
            operation("b", 1, false),
            doc! { "client": "10.0.0.1:6", "active": false },
            doc! { "client": "10.0.0.1:7", "active": false },
            doc! { "host": "a", "desc": "a thread of the server" },
        ];
        let connections = read_connections(&operations);
        let active = connections.iter().filter(|connection| connection.active);
        assert_eq!((connections.len(), active.count()), (4, 1));
    }
}
