//! `ops/mongo/setup` and `ops/mongo/init.js`, with the real mongosh and mongod: certificates, replica set, roles and accounts.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use silo_testkit::certificates::Authority;
use silo_testkit::node;
use silo_testkit::process::Process;
use silo_testkit::tools::{Tool, workspace};
use silo_testkit::wait::wait_for;
use tempfile::TempDir;
use tokio::process::Command;

/// Time limit for every step: mongosh takes two seconds, and other tests run beside this one.
const WITHIN: Duration = Duration::from_secs(90);
/// Days for which Caddy's certificates are valid here.
const DAYS: i64 = 90;

/// Folders and files as in the containers `mongo` and `mongo-setup`.
struct Stage {
    folder: TempDir,
    authority: Authority,
    port: u16,
}

impl Stage {
    /// A data folder with an administrator, as the image's entrypoint leaves it; and an authority, which has issued nothing yet.
    async fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new().unwrap(),
            port: free.local_addr().unwrap().port(),
        };
        drop(free);
        for folder in [
            "caddy/pki/authorities/local",
            "caddy/certificates/local/127.0.0.1",
            "caddy/certificates/local/localhost",
            "tls",
            "ca",
            "data",
            "bin",
        ] {
            fs::create_dir_all(stage.path(folder)).unwrap();
        }
        let root = stage.path("caddy/pki/authorities/local/root.crt");
        stage.authority.save(&root).unwrap();
        node::put_mongosh_into(&stage.path("bin")).unwrap();
        stage.accounts("root-password", &[]);
        let keyfile = stage.path("keyfile");
        fs::write(&keyfile, "c2lsby10ZXN0LWtleWZpbGU=").unwrap();
        fs::set_permissions(&keyfile, fs::Permissions::from_mode(0o400)).unwrap();
        let mut mongod = stage.mongod(&[]).await;
        let client = stage.client(None).await;
        let root = doc! { "createUser": "root", "pwd": "root-password", "roles": ["root"] };
        client.database("admin").run_command(root).await.unwrap();
        mongod.stop(WITHIN).await.unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the list of accounts: the administrator's password, and job, name, password and database of others.
    fn accounts(&self, root: &str, others: &[(&str, &str, &str, &str)]) {
        let (port, ca) = (self.port, self.path("ca/ca.pem"));
        let uri = |name: &str, password: &str, source: &str| {
            format!(
                "mongodb://{name}:{password}@127.0.0.1:{port}/?authSource={source}&tls=true&tlsCAFile={}",
                ca.display()
            )
        };
        let mut lines = vec![format!("root {}", uri("root", root, "admin"))];
        for (job, name, password, source) in others {
            lines.push(format!("{job} {}", uri(name, password, source)));
        }
        fs::write(self.path("accounts"), lines.join("\n")).unwrap();
    }

    /// Caddy obtains a certificate.
    fn obtain(&self, days: i64) {
        for host in ["127.0.0.1", "localhost"] {
            let file = |ending: &str| {
                self.path(&format!("caddy/certificates/local/{host}/{host}.{ending}"))
            };
            let pair = self.authority.save_pair(&file("crt"), &file("key"), days);
            pair.unwrap();
        }
    }

    async fn mongod(&self, more: &[&str]) -> Process {
        let mut command = Command::new(Tool::Mongod.installed().unwrap());
        command
            .args(["--bind_ip", "127.0.0.1", "--nounixsocket"])
            .args(["--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"])
            .args(["--port", &self.port.to_string(), "--dbpath"])
            .arg(self.path("data"))
            .args(more);
        let mut mongod = Process::start("mongod", command, None).unwrap();
        let listens = |line: &str| line.contains("Waiting for connections").then_some(());
        mongod.wait_for_line(WITHIN, listens).await.unwrap();
        mongod
    }

    /// mongod with the configuration of the droplet.
    async fn droplet_mongod(&self) -> Process {
        let file = |name: &str| self.path(name).display().to_string();
        self.mongod(&[
            "--replSet",
            "rs0",
            "--keyFile",
            &file("keyfile"),
            "--tlsMode",
            "requireTLS",
            "--tlsAllowConnectionsWithoutCertificates",
            "--tlsCertificateKeyFile",
            &file("tls/mongod.pem"),
            "--tlsCAFile",
            &file("tls/ca.pem"),
        ])
        .await
    }

    fn command(&self, arguments: &[&str], host: &str) -> Command {
        let mut command = Command::new(workspace().join("ops/mongo/setup"));
        let path = std::env::var("PATH").unwrap();
        command
            .args(arguments)
            .env_clear()
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("MONGO_HOST", format!("{host}:{}", self.port))
            .env("MONGO_ACCOUNTS_FILE", self.path("accounts"))
            .env("CADDY_DATA", self.path("caddy"))
            .env("MONGO_TLS_FOLDER", self.path("tls"))
            .env("MONGO_CA_FOLDER", self.path("ca"))
            .env("TMPDIR", self.folder.path())
            .env("SETUP_INTERVAL", "1");
        command
    }

    /// Starts what the container runs.
    fn setup(&self) -> Process {
        let command = self.command(&["watch"], "127.0.0.1");
        Process::start("setup", command, None).unwrap()
    }

    /// Runs `init`. Returns its exit code and what it printed.
    async fn init(&self, host: &str, dry_run: bool) -> (Option<i32>, String) {
        let mut command = self.command(&["init"], host);
        if dry_run {
            command.env("DRY_RUN", "1");
        }
        let output = command.output().await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    async fn is_healthy(&self) -> bool {
        let mut command = self.command(&["healthcheck"], "127.0.0.1");
        command.status().await.unwrap().success()
    }

    async fn until_healthy(&self, healthy: bool) {
        let state = wait_for(WITHIN, || async {
            (self.is_healthy().await == healthy).then_some(())
        });
        state.await.unwrap();
    }

    /// A client of mongod with TLS as an account, or without both.
    async fn client(&self, account: Option<(&str, &str)>) -> Client {
        let uri = match account {
            None => format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port),
            Some((name, password)) => format!(
                "mongodb://{name}:{password}@127.0.0.1:{}/?authSource=admin&directConnection=true&tls=true&tlsCAFile={}",
                self.port,
                self.path("ca/ca.pem").display()
            ),
        };
        Client::with_options(ClientOptions::parse(uri).await.unwrap()).unwrap()
    }

    /// Serial number of the certificate that mongod presents.
    fn presented(&self) -> String {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        let stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let stream = connector.build().connect("localhost", stream).unwrap();
        let certificate = stream.ssl().peer_certificate().unwrap();
        let serial = certificate.serial_number().to_bn().unwrap();
        serial.to_hex_str().unwrap().to_string()
    }
}

const OTHERS: [(&str, &str, &str, &str); 3] = [
    ("reader", "silo_reader", "reader-password", "admin"),
    ("backup", "silo_backup", "backup-password", "admin"),
    ("client", "lith", "p%40ss", "aesthetic"),
];

fn says(text: &'static str) -> impl Fn(&str) -> Option<()> {
    move |line| line.contains(text).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_certificate_is_waited_for_and_a_renewed_one_presented_without_a_restart() {
    let stage = Stage::new().await;
    stage.accounts("root-password", &OTHERS);
    let mut setup = stage.setup();
    let late = setup.wait_for_line(WITHIN, says("Caddy has no certificate for 127.0.0.1 yet"));
    late.await.unwrap();
    assert!(!stage.is_healthy().await);
    assert!(!stage.path("tls/mongod.pem").exists());

    stage.obtain(DAYS);
    let installed = wait_for(WITHIN, || async {
        stage.path("tls/mongod.pem").exists().then_some(())
    });
    installed.await.unwrap();
    // One authority and not all public ones, whose names mongod would send to every client.
    let authorities = fs::read_to_string(stage.path("tls/ca.pem")).unwrap();
    assert_eq!(authorities.matches("BEGIN CERTIFICATE").count(), 1);
    let mode = fs::metadata(stage.path("tls/mongod.pem")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o640);
    let _mongod = stage.droplet_mongod().await;
    stage.until_healthy(true).await;
    let lines = setup.last_lines().join("\n");
    for item in [
        "created replica set rs0 at 127.0.0.1:",
        "created role siloBackup",
        "created account lith in aesthetic: readWrite on aesthetic",
    ] {
        assert!(lines.contains(item), "{lines}");
    }

    let open = stage.client(Some(("silo_reader", "reader-password"))).await;
    let find = async || {
        let moods = open.database("aesthetic").collection::<Document>("moods");
        moods.find_one(doc! {}).await
    };
    find().await.unwrap();
    let before = stage.presented();
    stage.obtain(DAYS);
    let renewed = setup.wait_for_line(WITHIN, says("mongod presents the new certificate"));
    renewed.await.unwrap();
    assert_ne!(stage.presented(), before);
    find().await.unwrap();
    stage.until_healthy(true).await;

    // An expired one is a fault, whatever mongod presents.
    stage.obtain(-1);
    let expired = setup.wait_for_line(WITHIN, says("has expired"));
    expired.await.unwrap();
    stage.until_healthy(false).await;
    stage.obtain(DAYS);
    stage.until_healthy(true).await;
}

/// mongod does not start with an empty list of authorities.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_whose_root_is_unknown_leaves_mongod_all_authorities() {
    let stage = Stage::new().await;
    fs::remove_file(stage.path("caddy/pki/authorities/local/root.crt")).unwrap();
    stage.obtain(DAYS);
    let _setup = stage.setup();
    let installed = wait_for(WITHIN, || async {
        stage.path("tls/mongod.pem").exists().then_some(())
    });
    installed.await.unwrap();
    let read = |name: &str| fs::read(stage.path(name)).unwrap();
    let authorities = read("tls/ca.pem");
    assert!(!authorities.is_empty());
    assert_eq!(authorities, read("ca/ca.pem"));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_roles_and_names_are_brought_up_to_date() {
    let stage = Stage::new().await;
    stage.obtain(DAYS);
    let mut setup = stage.setup();
    let absent = setup.wait_for_line(WITHIN, says("mongod does not answer"));
    absent.await.unwrap();
    setup.stop(WITHIN).await.unwrap();
    let _mongod = stage.droplet_mongod().await;
    // Killed after the replica set and before the accounts.
    let root = stage.client(Some(("root", "root-password"))).await;
    let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", stage.port) };
    let set = doc! { "replSetInitiate": { "_id": "rs0", "members": [member] } };
    root.database("admin").run_command(set).await.unwrap();
    stage.accounts("root-password", &OTHERS);
    let (code, planned) = stage.init("127.0.0.1", true).await;
    assert_eq!(code, Some(0), "{planned}");
    assert!(planned.contains("unchanged replica set"), "{planned}");
    let (_, done) = stage.init("127.0.0.1", false).await;
    assert_eq!(planned, done, "a dry run changes nothing");
    let (_, again) = stage.init("127.0.0.1", false).await;
    assert!(
        again.lines().all(|line| line.starts_with("unchanged ")),
        "{again}"
    );

    // Another password, more roles than configured, a changed role, and an account that is not configured.
    let mut others = OTHERS;
    others[2].2 = "another";
    stage.accounts("root-password", &others[1..]);
    let more = doc! { "grantRolesToUser": "silo_backup", "roles": ["readWriteAnyDatabase"] };
    root.database("admin").run_command(more).await.unwrap();
    let role = doc! { "updateRole": "siloBackup", "privileges": [] };
    root.database("admin").run_command(role).await.unwrap();
    let (code, changed) = stage.init("127.0.0.1", false).await;
    assert_eq!(code, Some(0), "{changed}");
    for item in [
        "changed role siloBackup",
        "unchanged role siloDrill",
        "changed account silo_backup in admin: siloBackup on admin, readWrite on silo",
        "changed account lith in aesthetic: password",
        "review account silo_reader in admin",
    ] {
        assert!(changed.contains(item), "{item}: {changed}");
    }

    // The host got another name.
    let (code, renamed) = stage.init("localhost", false).await;
    assert_eq!(code, Some(0), "{renamed}");
    assert!(
        renamed.contains("changed replica set rs0 at localhost:"),
        "{renamed}"
    );
    let hello = root
        .database("admin")
        .run_command(doc! { "hello": 1 })
        .await;
    let me = hello.unwrap().get_str("me").unwrap().to_owned();
    assert_eq!(me, format!("localhost:{}", stage.port));

    // Errors name what is wrong, and no password.
    stage.accounts("hunter2", &OTHERS);
    let (code, wrong) = stage.init("localhost", false).await;
    assert_eq!(code, Some(1));
    assert!(
        wrong.contains("did not accept the administrator's password"),
        "{wrong}"
    );
    assert!(!wrong.contains("hunter2"), "{wrong}");
    fs::write(
        stage.path("accounts"),
        "king mongodb://a:hunter2@h/\nreader hunter2\n",
    )
    .unwrap();
    let (code, wrong) = stage.init("localhost", false).await;
    assert_eq!(code, Some(1));
    for problem in [
        "line 1: a job is one of",
        "line 2: a connection string",
        "has to be `root`",
    ] {
        assert!(wrong.contains(problem), "{wrong}");
    }
    assert!(!wrong.contains("hunter2"), "{wrong}");
}
