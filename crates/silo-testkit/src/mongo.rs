//! MongoDB servers for tests and the local stack.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::doc;
use mongodb::options::ClientOptions;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::{LineSink, Process, ProcessError};
use crate::tools::Tool;

/// How long a server may take to come up.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// How long a server may take to end.
const DOWN_WITHIN: Duration = Duration::from_secs(10);

/// What can go wrong with a server.
#[derive(Debug, thiserror::Error)]
pub enum MongoError {
    /// A tool is missing, or a folder cannot be made.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It did not come up.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It did not take a command.
    #[error("the server refused: {0}")]
    Command(#[from] mongodb::error::Error),
}

/// Which implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `secantusd-rs`.
    Rust,
    /// `secantusd-py`.
    Python,
}

/// The user that fills a server with data.
const OWNER: (&str, &str) = ("owner", "owner-password");
/// The user that Silo's services sign in as: it can read and watch, and nothing else.
const READER: (&str, &str) = ("silo_reader", "reader-password");

/// The user that silo-backup signs in as: it reads the database, and writes in Silo's own.
const BACKUP: (&str, &str) = ("silo_backup", "backup-password");
/// The user that drills sign in as: it makes scratch databases.
const DRILL: (&str, &str) = ("silo_drill", "drill-password");

/// A running server. Dropping it kills it and removes its data.
pub struct MongoServer {
    kind: Kind,
    process: Option<Process>,
    port: u16,
    auth: bool,
    folder: PathBuf,
    sink: Option<LineSink>,
    // Removed when the server is dropped; servers of the local stack keep their folder elsewhere.
    _temporary: Option<TempDir>,
}

impl MongoServer {
    /// Starts a server on a free port, with data in a temporary folder and no sign-in.
    ///
    /// # Errors
    /// When the tool is missing or the server does not come up.
    pub async fn start(kind: Kind) -> Result<Self, MongoError> {
        let temporary = TempDir::with_prefix("silo-mongo-")?;
        let mut server = Self::new(kind, temporary.path(), None);
        server._temporary = Some(temporary);
        server.up(0).await?;
        Ok(server)
    }

    /// The same with sign-in: users are made first, then the server starts again asking for them.
    ///
    /// # Errors
    /// When the tool is missing or the server does not come up.
    pub async fn start_with_users(kind: Kind, database: &str) -> Result<Self, MongoError> {
        let mut server = Self::start(kind).await?;
        server.require_users(database).await?;
        Ok(server)
    }

    /// Starts a server with data in a folder that stays.
    ///
    /// # Errors
    /// When the tool is missing or the server does not come up.
    pub async fn start_in(
        kind: Kind,
        folder: &Path,
        sink: Option<LineSink>,
    ) -> Result<Self, MongoError> {
        let mut server = Self::new(kind, folder, sink);
        server.up(0).await?;
        Ok(server)
    }

    /// A server that is not running yet, on a port that nobody listens on.
    ///
    /// # Errors
    /// When no port or folder can be had.
    pub fn absent(kind: Kind) -> Result<Self, MongoError> {
        let temporary = TempDir::with_prefix("silo-mongo-")?;
        let mut server = Self::new(kind, temporary.path(), None);
        server._temporary = Some(temporary);
        server.port = std::net::TcpListener::bind(("127.0.0.1", 0))?
            .local_addr()?
            .port();
        Ok(server)
    }

    fn new(kind: Kind, folder: &Path, sink: Option<LineSink>) -> Self {
        let folder = folder.to_path_buf();
        Self {
            kind,
            process: None,
            port: 0,
            auth: false,
            folder,
            sink,
            _temporary: None,
        }
    }

    /// Makes the owner, the reader and those of backups, and starts the server again with sign-in.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn require_users(&mut self, database: &str) -> Result<(), MongoError> {
        let admin = self.client().await?.database("admin");
        let (owner, owner_password) = OWNER;
        admin.run_command(doc! { "createUser": owner, "pwd": owner_password, "roles": [{ "role": "root", "db": "admin" }] }).await?;
        let of = |roles: &[(&str, &str)]| {
            let role = |(role, db): &(&str, &str)| doc! { "role": *role, "db": *db };
            roles.iter().map(role).collect::<Vec<_>>()
        };
        let reads = [("read", database), ("clusterMonitor", "admin")];
        let backs_up = [
            ("read", database),
            ("clusterMonitor", "admin"),
            ("readWrite", "silo"),
        ];
        let drills = [
            ("readWriteAnyDatabase", "admin"),
            ("dbAdminAnyDatabase", "admin"),
        ];
        let users = [
            (READER, of(&reads)),
            (BACKUP, of(&backs_up)),
            (DRILL, of(&drills)),
        ];
        for ((user, password), roles) in users {
            let create = doc! { "createUser": user, "pwd": password, "roles": roles };
            admin.run_command(create).await?;
        }
        self.stop().await?;
        self.auth = true;
        self.up(self.port).await
    }

    /// Ends it in order; its data and port stay.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn stop(&mut self) -> Result<(), MongoError> {
        if let Some(mut process) = self.process.take() {
            process.stop(DOWN_WITHIN).await?;
        }
        Ok(())
    }

    /// Starts it again, on the same port with the same data.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_again(&mut self) -> Result<(), MongoError> {
        self.up(self.port).await
    }

    /// The connection string of somebody who may do everything.
    #[must_use]
    pub fn uri(&self) -> String {
        self.uri_for(OWNER)
    }

    /// The connection string of the account that Silo's services use.
    #[must_use]
    pub fn reader_uri(&self) -> String {
        self.uri_for(READER)
    }

    /// The connection string of the account that silo-backup uses.
    #[must_use]
    pub fn backup_uri(&self) -> String {
        self.uri_for(BACKUP)
    }

    /// The connection string of the account that drills use.
    #[must_use]
    pub fn drill_uri(&self) -> String {
        self.uri_for(DRILL)
    }

    /// A client that may do everything.
    ///
    /// # Errors
    /// When the connection string cannot be used.
    pub async fn client(&self) -> Result<Client, MongoError> {
        let mut options = ClientOptions::parse(self.uri()).await?;
        options.server_selection_timeout = Some(Duration::from_secs(5));
        Ok(Client::with_options(options)?)
    }

    /// The process, while it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    fn uri_for(&self, (user, password): (&str, &str)) -> String {
        let port = self.port;
        if self.auth {
            format!(
                "mongodb://{user}:{password}@127.0.0.1:{port}/?authSource=admin&directConnection=true"
            )
        } else {
            format!("mongodb://127.0.0.1:{port}/?directConnection=true")
        }
    }

    async fn up(&mut self, port: u16) -> Result<(), MongoError> {
        let tool = if self.kind == Kind::Rust {
            Tool::SecantusRust
        } else {
            Tool::SecantusPython
        };
        let mut command = Command::new(tool.installed()?);
        command
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--storage-path",
            ])
            .arg(&self.folder);
        // Settings of this machine's user must not leak in.
        command.current_dir(&self.folder);
        if self.kind == Kind::Rust {
            // Its default cache is 4 GB, and each log file is allocated in full.
            command.args([
                "--cache-size",
                "256M",
                "--log-file-max",
                "8MB",
                "--log-level",
                "WARNING",
            ]);
        }
        if self.auth {
            command.arg("--auth");
        }
        let mut process = Process::start("the Mongo server", command, self.sink.clone())?;
        self.port = process.wait_for_line(UP_WITHIN, listening_port).await?;
        self.process = Some(process);
        Ok(())
    }
}

/// The port in `... listening on 127.0.0.1:12345`.
fn listening_port(line: &str) -> Option<u16> {
    let (_, address) = line.rsplit_once("listening on ")?;
    address.trim().rsplit(':').next()?.parse().ok()
}
