//! mongod for tests and the local stack: the real server, as a replica set of one member.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{self, Bson, Document, doc};
use mongodb::options::ClientOptions;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::certificates::Authority;
use crate::process::{LineSink, Process, ProcessError};
use crate::tools::{Tool, workspace};
use crate::wait::wait_for;

/// Time limit for starting; one second is normal.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// Time limit for an orderly end.
const DOWN_WITHIN: Duration = Duration::from_secs(20);
/// Another process may take a free port before mongod does.
const PORT_ATTEMPTS: usize = 5;

/// Name of the replica set, as on the droplet.
pub const REPLICA_SET: &str = "rs0";

/// Errors of starting and using a server.
#[derive(Debug, thiserror::Error)]
pub enum MongoError {
    /// `mongod` is not installed, or a file cannot be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// `mongod` did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A command failed.
    #[error("mongod: {0}")]
    Command(#[from] mongodb::error::Error),
    /// The replica set of one did not elect its member.
    #[error("mongod did not become primary within {} s", UP_WITHIN.as_secs())]
    NoPrimary,
    /// OpenSSL could not make a certificate.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] openssl::error::ErrorStack),
}

/// An account: user name and password. All sign in to `admin`.
type Account = (&'static str, &'static str);

/// Administrator of every server with accounts.
const OWNER: Account = ("owner", "owner-password");
/// Account of silo-db-api, with the droplet's roles.
const READER: Account = ("silo_reader", "reader-password");
/// Account of silo-backup, with the droplet's roles.
const BACKUP: Account = ("silo_backup", "backup-password");
/// Account that drills restore with, with the droplet's roles.
const DRILL: Account = ("silo_drill", "drill-password");
/// Account of one of AC's services, with the droplet's roles.
const CLIENT: Account = ("lith", "lith-password");

/// The accounts besides the administrator, and the droplet's job of each.
const ACCOUNTS: [(Account, &str); 4] = [
    (READER, "reader"),
    (BACKUP, "backup"),
    (DRILL, "drill"),
    (CLIENT, "client"),
];
/// File of the droplet's roles and of the roles of each job, so that tests run with the rights that the services have there.
const ROLES: &str = "ops/mongo/roles.json";
/// Stands in [`ROLES`] for AC's database.
const ROLES_DATABASE: &str = "DATABASE";

/// Options for starting a server. The default is one without accounts and TLS, in a temporary folder.
#[derive(Clone, Default)]
pub struct Setup {
    database: Option<String>,
    tls: bool,
    fail_points: bool,
    standalone: bool,
    arguments: Vec<String>,
    clock: Option<PathBuf>,
    folder: Option<PathBuf>,
    sink: Option<LineSink>,
}

impl Setup {
    /// Requires sign-in, and creates the droplet's accounts for this database.
    #[must_use]
    pub fn accounts(mut self, database: &str) -> Self {
        self.database = Some(database.to_owned());
        self
    }

    /// Requires TLS, with a certificate of an authority made for this server.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Enables fail points ([`MongoServer::fail_commands`]).
    #[must_use]
    pub fn fail_points(mut self) -> Self {
        self.fail_points = true;
        self
    }

    /// Starts it without a replica set: it has no snapshot reads, change streams or transactions.
    #[must_use]
    pub fn standalone(mut self) -> Self {
        self.standalone = true;
        self
    }

    /// Adds arguments of `mongod`'s command line.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Moves the server's clock by what this file says, such as `+42d` or `-195m`, for as long as it says so. Needs Debian's `libfaketime`.
    #[must_use]
    pub fn clock(mut self, file: &Path) -> Self {
        self.clock = Some(file.to_path_buf());
        self
    }

    /// Keeps the data in this folder instead of a temporary one.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_path_buf());
        self
    }

    /// Passes each line of `mongod`'s log on.
    #[must_use]
    pub fn log_to(mut self, sink: Option<LineSink>) -> Self {
        self.sink = sink;
        self
    }

    /// Starts the server and waits until it is primary and has its accounts.
    ///
    /// # Errors
    /// When `mongod` is not installed or does not start.
    pub async fn start(self) -> Result<MongoServer, MongoError> {
        let mut server = MongoServer::new(self)?;
        server.start_again().await?;
        Ok(server)
    }
}

/// The library for [`Setup::clock`].
#[must_use]
pub fn faketime() -> PathBuf {
    let folder = format!("{}-linux-gnu/faketime", std::env::consts::ARCH);
    Path::new("/usr/lib")
        .join(folder)
        .join("libfaketimeMT.so.1")
}

/// A mongod server. Dropping it kills the process and removes the data, unless [`Setup::folder`] was set.
pub struct MongoServer {
    setup: Setup,
    process: Option<Process>,
    port: u16,
    /// The replica set is initiated and the accounts are created.
    initialised: bool,
    data: PathBuf,
    /// Keyfile, certificate and, unless a folder was passed, the data.
    folder: TempDir,
}

impl MongoServer {
    /// Starts a server without accounts and TLS on a free port.
    ///
    /// # Errors
    /// When `mongod` is not installed or does not start.
    pub async fn start() -> Result<Self, MongoError> {
        Setup::default().start().await
    }

    /// Starts a server that requires sign-in and has the droplet's accounts for this database.
    ///
    /// # Errors
    /// When `mongod` is not installed or does not start.
    pub async fn start_with_accounts(database: &str) -> Result<Self, MongoError> {
        Setup::default().accounts(database).start().await
    }

    /// A server that has not been started, for tests of an outage at start. Its port was free a moment ago; [`Self::start_again`] starts mongod on
    /// it.
    ///
    /// # Errors
    /// When no port or folder is available.
    pub fn absent() -> Result<Self, MongoError> {
        let mut server = Self::new(Setup::default())?;
        server.port = free_port()?;
        Ok(server)
    }

    fn new(setup: Setup) -> Result<Self, MongoError> {
        let folder = TempDir::with_prefix("silo-mongod-")?;
        let data = match &setup.folder {
            Some(given) => given.clone(),
            None => folder.path().join("data"),
        };
        std::fs::create_dir_all(&data)?;
        if setup.database.is_some() {
            let keyfile = folder.path().join("keyfile");
            std::fs::write(&keyfile, "c2lsby10ZXN0LWtleWZpbGU=")?;
            std::fs::set_permissions(&keyfile, std::fs::Permissions::from_mode(0o400))?;
        }
        if setup.tls {
            let authority = Authority::new()?;
            authority.save(&folder.path().join("ca.pem"))?;
            authority.save_server(&folder.path().join("server.pem"))?;
        }
        Ok(Self {
            setup,
            process: None,
            port: 0,
            initialised: false,
            data,
            folder,
        })
    }

    /// Shuts mongod down cleanly; its data and port are kept for [`Self::start_again`].
    ///
    /// # Errors
    /// When waiting for the process fails.
    pub async fn stop(&mut self) -> Result<(), MongoError> {
        if let Some(mut process) = self.process.take() {
            process.stop(DOWN_WITHIN).await?;
        }
        Ok(())
    }

    /// Starts it, or starts it again on the same port with the same data.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> Result<(), MongoError> {
        let mut attempts = 0;
        loop {
            let fixed = self.port != 0;
            let port = if fixed { self.port } else { free_port()? };
            match self.spawn(port).await {
                Ok(process) => {
                    (self.process, self.port) = (Some(process), port);
                    break;
                }
                Err(MongoError::Process(error))
                    if !fixed
                        && attempts < PORT_ATTEMPTS
                        && error.to_string().contains("Address already in use") =>
                {
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        }
        if !self.initialised {
            self.initialise().await?;
            self.initialised = true;
        }
        self.until_primary().await
    }

    async fn spawn(&self, port: u16) -> Result<Process, MongoError> {
        let mut command = Command::new(Tool::Mongod.installed()?);
        command
            .args([
                "--bind_ip",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--nounixsocket",
                "--wiredTigerEngineConfigString",
                "log=(prealloc=false,file_max=10MB)",
            ])
            .arg("--dbpath")
            .arg(&self.data);
        // Small: each test has a server of its own.
        for (name, value) in [("--wiredTigerCacheSizeGB", "0.25"), ("--oplogSize", "64")] {
            if !self.setup.arguments.iter().any(|argument| argument == name) {
                command.args([name, value]);
            }
        }
        let mut parameters = vec![
            "diagnosticDataCollectionEnabled=false",
            // Without this, a primary waits 15 s for its clients after a signal.
            "shutdownTimeoutMillisForSignaledShutdown=0",
        ];
        if self.setup.fail_points {
            parameters.push("enableTestCommands=1");
        }
        for parameter in parameters {
            command.args(["--setParameter", parameter]);
        }
        if !self.setup.standalone {
            command.args(["--replSet", REPLICA_SET]);
        }
        if self.setup.database.is_some() {
            command
                .arg("--keyFile")
                .arg(self.folder.path().join("keyfile"));
        }
        if self.setup.tls {
            command.args([
                "--tlsMode",
                "requireTLS",
                "--tlsAllowConnectionsWithoutCertificates",
            ]);
            for (option, file) in [
                ("--tlsCertificateKeyFile", "server.pem"),
                ("--tlsCAFile", "ca.pem"),
            ] {
                command.arg(option).arg(self.folder.path().join(file));
            }
        }
        command.args(&self.setup.arguments);
        if let Some(file) = &self.setup.clock {
            command
                .env("LD_PRELOAD", faketime())
                .env("FAKETIME_TIMESTAMP_FILE", file)
                .env("FAKETIME_NO_CACHE", "1")
                // Time limits are measured with the monotonic clock, which nobody sets.
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut process = Process::start("mongod", command, self.setup.sink.clone())?;
        process
            .wait_for_line(UP_WITHIN, |line| {
                line.contains("Waiting for connections").then_some(())
            })
            .await?;
        Ok(process)
    }

    /// Initiates the replica set and creates the accounts. Both are allowed without sign-in from this machine for as long as there is no account
    /// (MongoDB's localhost exception).
    async fn initialise(&self) -> Result<(), MongoError> {
        let admin = self.client_of(None).await?.database("admin");
        if !self.setup.standalone {
            let member = doc! { "_id": 0, "host": self.address() };
            let config = doc! { "_id": REPLICA_SET, "members": [member] };
            admin
                .run_command(doc! { "replSetInitiate": config })
                .await?;
            self.until_primary().await?;
        }
        let Some(database) = &self.setup.database else {
            return Ok(());
        };
        let (owner, password) = OWNER;
        let root = doc! { "role": "root", "db": "admin" };
        admin
            .run_command(doc! { "createUser": owner, "pwd": password, "roles": [root] })
            .await?;
        let admin = self.client().await?.database("admin");
        let roles = std::fs::read_to_string(workspace().join(ROLES))?;
        let roles = roles.replace(ROLES_DATABASE, database);
        let roles: Value = serde_json::from_str(&roles).map_err(std::io::Error::from)?;
        let bson = |value: &Value| bson::serialize_to_bson(value).map_err(std::io::Error::other);
        for (name, privileges) in roles["roles"].as_object().into_iter().flatten() {
            let role = doc! { "createRole": name, "privileges": bson(privileges)?, "roles": [] };
            admin.run_command(role).await?;
        }
        for ((user, password), job) in ACCOUNTS {
            let roles = bson(&roles["accounts"][job])?;
            let create = doc! { "createUser": user, "pwd": password, "roles": roles };
            admin.run_command(create).await?;
        }
        Ok(())
    }

    async fn until_primary(&self) -> Result<(), MongoError> {
        let admin = self.client_of(None).await?.database("admin");
        let primary = wait_for(UP_WITHIN, || async {
            let hello = admin.run_command(doc! { "hello": 1 }).await.ok()?;
            hello
                .get_bool("isWritablePrimary")
                .ok()
                .filter(|primary| *primary)
        });
        primary.await.map(drop).ok_or(MongoError::NoPrimary)
    }

    /// Connection string of the administrator; without credentials if the server has no accounts.
    #[must_use]
    pub fn uri(&self) -> String {
        self.uri_for(Some(OWNER))
    }

    /// Connection string of silo-db-api's account.
    #[must_use]
    pub fn reader_uri(&self) -> String {
        self.uri_for(Some(READER))
    }

    /// Connection string of silo-backup's account.
    #[must_use]
    pub fn backup_uri(&self) -> String {
        self.uri_for(Some(BACKUP))
    }

    /// Connection string of the account that drills restore with.
    #[must_use]
    pub fn drill_uri(&self) -> String {
        self.uri_for(Some(DRILL))
    }

    /// Connection string of one of AC's services.
    #[must_use]
    pub fn client_uri(&self) -> String {
        self.uri_for(Some(CLIENT))
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A client of the administrator.
    ///
    /// # Errors
    /// When the connection string cannot be used.
    pub async fn client(&self) -> Result<Client, MongoError> {
        self.client_of(Some(OWNER)).await
    }

    async fn client_of(&self, account: Option<Account>) -> Result<Client, MongoError> {
        let mut options = ClientOptions::parse(self.uri_for(account)).await?;
        options.server_selection_timeout = Some(Duration::from_secs(10));
        Ok(Client::with_options(options)?)
    }

    /// The process, while it runs.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Makes commands fail (fail point `failCommand`): which commands, how many times, and `data` as the server documents it, such as
    /// `{ errorCode: 189 }`, `{ closeConnection: true }` or `{ blockConnection: true, blockTimeMS: 500 }`, with `appName` to hit one client only.
    ///
    /// # Errors
    /// When the server was started without [`Setup::fail_points`].
    pub async fn fail_commands(
        &self,
        commands: &[&str],
        times: i32,
        mut data: Document,
    ) -> Result<(), MongoError> {
        let commands: Vec<Bson> = commands.iter().map(|&command| command.into()).collect();
        data.insert("failCommands", commands);
        let fail =
            doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": data };
        let admin = self.client().await?.database("admin");
        admin.run_command(fail).await?;
        Ok(())
    }

    /// Ends what [`Self::fail_commands`] began, and returns how many commands have failed.
    ///
    /// # Errors
    /// When the server was started without [`Setup::fail_points`].
    pub async fn stop_failing(&self) -> Result<i64, MongoError> {
        let admin = self.client().await?.database("admin");
        let off = doc! { "configureFailPoint": "failCommand", "mode": "off" };
        let before = admin.run_command(off).await?;
        let count = before.get("count");
        Ok(count
            .and_then(|count| count.as_i64().or(count.as_i32().map(i64::from)))
            .unwrap_or(0))
    }

    /// Makes the primary step down; with no other member it is elected again after a second.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn step_down(&self) -> Result<(), MongoError> {
        let admin = self.client().await?.database("admin");
        let step_down = doc! { "replSetStepDown": 1, "force": true };
        admin.run_command(step_down).await?;
        Ok(())
    }

    /// Takes away the server's majority: adds two voting members that do not exist, and waits until it has stepped down. It then is a secondary without
    /// a primary.
    ///
    /// # Errors
    /// When the server refuses, or does not step down.
    pub async fn lose_majority(&self) -> Result<(), MongoError> {
        let admin = self.client().await?.database("admin");
        let mut config = admin
            .run_command(doc! { "replSetGetConfig": 1 })
            .await?
            .get_document("config")
            .cloned()
            .unwrap_or_default();
        if let Ok(members) = config.get_array_mut("members") {
            // Ports below 10 of the loopback interface: nothing listens there.
            members.push(doc! { "_id": 1, "host": "127.0.0.1:1" }.into());
            members.push(doc! { "_id": 2, "host": "127.0.0.1:2" }.into());
        }
        if let Ok(settings) = config.get_document_mut("settings") {
            settings.insert("electionTimeoutMillis", 1000);
            settings.insert("heartbeatIntervalMillis", 300);
        }
        admin
            .run_command(doc! { "replSetReconfig": config, "force": true })
            .await?;
        let stepped_down = wait_for(UP_WITHIN, || async {
            let hello = admin.run_command(doc! { "hello": 1 }).await.ok()?;
            hello
                .get_bool("secondary")
                .ok()
                .filter(|secondary| *secondary)
        });
        stepped_down.await.map(drop).ok_or(MongoError::NoPrimary)
    }

    /// Starts it again on another port. Its replica set's configuration does not contain that address, so it is in state REMOVED.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn move_to_another_port(&mut self) -> Result<(), MongoError> {
        self.stop().await?;
        let port = free_port()?;
        (self.process, self.port) = (Some(self.spawn(port).await?), port);
        Ok(())
    }

    fn uri_for(&self, account: Option<Account>) -> String {
        let sign_in = match account.filter(|_| self.setup.database.is_some()) {
            Some((user, password)) => format!("{user}:{password}@"),
            None => String::new(),
        };
        let mut uri = format!(
            "mongodb://{sign_in}127.0.0.1:{}/?authSource=admin&directConnection=true",
            self.port
        );
        if self.setup.tls {
            let file = self.folder.path().join("ca.pem");
            uri.push_str(&format!("&tls=true&tlsCAFile={}", file.display()));
        }
        uri
    }
}

/// A port of the loopback interface on which nothing listens.
pub(crate) fn free_port() -> std::io::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}
