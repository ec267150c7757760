//! Opening a client: every limit set, nothing left to a default that waits for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::event::EventHandler;
use mongodb::options::{ClientOptions, ReadPreference, SelectionCriteria, Tls};
use silo_core::secret::Secret;

use crate::commands::Commands;

/// Error in a connection string. Never contains the string.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConnectError {
    /// The string cannot be parsed, or its `mongodb+srv` name cannot be resolved.
    #[error("is not a usable mongodb:// or mongodb+srv:// connection string")]
    Unusable,
    /// The file that its `tlsCAFile` names is not there.
    #[error("names a tlsCAFile that does not exist")]
    NoAuthorities,
}

/// Time to wait for the CA file at a first start, when the service that obtains the certificate has not written it yet.
const AUTHORITIES_WITHIN: Duration = Duration::from_secs(30);

/// Time limit for opening a connection, for a page that waits for the answer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time limit for finding a server that can run a command.
pub const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_millis(1500);

/// Beginning of a connection string whose hosts are found by DNS.
const SRV_SCHEME: &str = "mongodb+srv://";

/// Reads from the primary, or from a secondary while there is none. Commands sent with `run_command` ignore the client's read preference, so each
/// needs it (driver specification "Server Selection", section "Use of read preferences with commands").
#[must_use]
pub fn primary_preferred() -> SelectionCriteria {
    SelectionCriteria::ReadPreference(ReadPreference::PrimaryPreferred { options: None })
}

/// Connects directly to the only host of a connection string, unless the string says otherwise. `replicaSet` is ignored then: with it, the driver
/// does not use a server that has been removed from its replica set.
fn ask_one_server(options: &mut ClientOptions) {
    let balanced = options.load_balanced == Some(true);
    if options.hosts.len() == 1 && options.direct_connection != Some(false) && !balanced {
        options.direct_connection = Some(true);
        options.repl_set_name = None;
    }
}

/// Time limits and retries of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// For answers that a person waits for: fails within seconds, without retries. If the string names one host, that server is asked whatever
    /// its state: a secondary, a recovering and a removed member answer too.
    Interactive,
    /// For work of minutes or hours, which must survive an election: waits 30 s for a server, and retries.
    LongRunning,
}

/// Opens a client. It connects when it is first used, so a server that is not there yet is no error here.
///
/// `app_name` is what the server shows for this client. The pool holds at most five connections, of which a change stream takes one, and keeps none
/// open when idle.
///
/// # Errors
/// When the connection string cannot be used.
pub async fn connect(
    uri: &Secret,
    app_name: &str,
    patience: Patience,
) -> Result<Client, ConnectError> {
    let options = options(uri, app_name, patience).await?;
    Client::with_options(options).map_err(|_unprintable| ConnectError::Unusable)
}

/// Opens a client with [`Patience::Interactive`] whose commands are counted. To count them, the driver parses every reply, which takes several times
/// its size.
///
/// # Errors
/// When the connection string cannot be used.
pub async fn connect_counted(
    uri: &Secret,
    app_name: &str,
    commands: Arc<Commands>,
) -> Result<Client, ConnectError> {
    let mut options = options(uri, app_name, Patience::Interactive).await?;
    options.command_event_handler =
        Some(EventHandler::callback(move |event| commands.note(&event)));
    Client::with_options(options).map_err(|_unprintable| ConnectError::Unusable)
}

async fn options(
    uri: &Secret,
    app_name: &str,
    patience: Patience,
) -> Result<ClientOptions, ConnectError> {
    let long = patience == Patience::LongRunning;
    let mut options = ClientOptions::parse(uri.expose())
        .await
        .map_err(|_unprintable| ConnectError::Unusable)?;
    if let Some(Tls::Enabled(tls)) = &options.tls
        && let Some(file) = &tls.ca_file_path
    {
        let began = Instant::now();
        while !file.exists() {
            if began.elapsed() > AUTHORITIES_WITHIN {
                return Err(ConnectError::NoAuthorities);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    options.app_name = Some(app_name.to_owned());
    options.max_pool_size = Some(5);
    options.min_pool_size = Some(0);
    options.max_idle_time = Some(Duration::from_secs(120));
    options.connect_timeout = Some(if long {
        Duration::from_secs(10)
    } else {
        CONNECT_TIMEOUT
    });
    options.server_selection_timeout = Some(if long {
        Duration::from_secs(30)
    } else {
        SERVER_SELECTION_TIMEOUT
    });
    options.heartbeat_freq = Some(Duration::from_secs(5));
    options.retry_reads = Some(long);
    options.retry_writes = Some(long);
    if options.selection_criteria.is_none() {
        options.selection_criteria = Some(primary_preferred());
    }
    if !long && !uri.expose().starts_with(SRV_SCHEME) {
        ask_one_server(&mut options);
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DatabaseError;

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_told_from_one_that_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let uri = Secret::new(format!("mongodb://{address}/"));
        let failure = async || {
            let client = connect(&uri, "test", Patience::Interactive).await.unwrap();
            let ping = mongodb::bson::doc! { "ping": 1 };
            let answer = client.database("admin").run_command(ping).await;
            DatabaseError::from(answer.unwrap_err())
        };
        assert_eq!(failure().await, DatabaseError::Silent);
        drop(listener);
        assert_eq!(failure().await, DatabaseError::Unreachable);
    }

    #[tokio::test]
    async fn one_host_is_asked_directly_unless_the_string_says_otherwise() {
        for (uri, direct, set) in [
            ("mongodb://a/", Some(true), None),
            ("mongodb://a/?replicaSet=rs0", Some(true), None),
            ("mongodb://a,b/?replicaSet=rs0", None, Some("rs0")),
            (
                "mongodb://a/?directConnection=false&replicaSet=rs0",
                Some(false),
                Some("rs0"),
            ),
            ("mongodb://a/?loadBalanced=true", None, None),
        ] {
            let mut options = ClientOptions::parse(uri).await.unwrap();
            ask_one_server(&mut options);
            assert_eq!(options.direct_connection, direct, "{uri}");
            assert_eq!(options.repl_set_name.as_deref(), set, "{uri}");
        }
    }
}
