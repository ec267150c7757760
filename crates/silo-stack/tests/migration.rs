//! The whole migration, as in the runbook's "Leave Atlas": two servers, the real services, and three `.env` files.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use silo_core::secret::Secret;
use silo_spaces::Spaces;
use silo_spaces::endpoint::{Addressing, Endpoint, Limits};
use silo_testkit::demo::Demo;
use silo_testkit::mongo::{MongoServer, Setup};
use silo_testkit::node::{self, Form, NodeService};
use silo_testkit::program::{Ended, TIME_LIMIT, ended, terminated, write_private};
use silo_testkit::s3::Storage;
use silo_testkit::service::{Reply, Service};
use silo_testkit::wait::wait_for;
use tempfile::TempDir;
use tokio::process::{Child, Command};

const DATABASE: &str = "aesthetic";
/// Time limit for the server to notice that a client has closed its connections.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);
/// Names that AC's services connect with.
const SERVICES: [&str; 3] = ["oven", "session", "lith"];

struct Migration {
    programs: PathBuf,
    old: MongoServer,
    silo: MongoServer,
    folder: TempDir,
}

impl Migration {
    async fn start() -> Self {
        let programs = silo_stack::build::build(false).unwrap();
        let (old, silo) = (
            Setup::default().start().await.unwrap(),
            Setup::default().accounts(DATABASE).start().await.unwrap(),
        );
        let migration = Self {
            programs,
            old,
            silo,
            folder: tempfile::tempdir().unwrap(),
        };
        migration.write("atlas", &with_database(&migration.old.uri()));
        migration.write("silo", &with_database(&migration.silo.uri()));
        migration
    }

    fn write(&self, name: &str, text: &str) {
        write_private(&self.folder.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(self.programs.join("silo-migrate"))
            .args(arguments)
            .args(["--json", "--quiet"])
            .env_clear()
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.spawn(arguments)).await
    }

    /// The real silo-db-api, which expects AC's services.
    async fn db_api(&self) -> Service {
        let clients =
            SERVICES.map(|name| format!("[[clients]]\nname = \"{name}\"\napp_name = \"{name}\"\n"));
        self.write("silo.toml", &clients.join("\n"));
        let mut command = Command::new(self.programs.join("silo-db-api"));
        command
            .env_clear()
            .env("MONGODB_CONNECTION_STRING", self.silo.reader_uri())
            .env("MONGODB_NAME", DATABASE)
            .env("SILO_CONFIG", self.path("silo.toml"));
        Service::start("silo-db-api", command).await
    }
}

impl Migration {
    /// The real silo-backup with a backup that was drilled.
    async fn backup(&self) -> (Storage, Service) {
        let s3 = Storage::new().await.unwrap();
        let endpoint = Endpoint {
            url: s3.url(),
            region: "us-east-1".into(),
            key: Secret::new(&s3.account.key),
            secret: Secret::new(&s3.account.secret),
            addressing: Addressing::Path,
        };
        let spaces = Spaces::new(&endpoint, Limits::default()).unwrap();
        spaces.create_bucket("backups").await.unwrap();
        let mut command = Command::new(self.programs.join("silo-backup"));
        command
            .env_clear()
            .env("MONGODB_CONNECTION_STRING", self.silo.backup_uri())
            .env("DRILL_CONNECTION_STRING", self.silo.drill_uri())
            .env("MONGODB_NAME", DATABASE)
            .env("SPACES_ENDPOINT", s3.url())
            .env("SPACES_KEY", &s3.account.key)
            .env("SPACES_SECRET", &s3.account.secret)
            .env("BACKUP_BUCKET", "backups")
            .env("BACKUP_EXPECTED", "none")
            .env("BACKUP_FOLDER", self.folder.path());
        let service = Service::start("silo-backup", command).await;
        let drilled = |reply: &Reply| reply.json_or_null()["data"]["lastDrill"]["good"] == true;
        service
            .until(TIME_LIMIT, "/api/backup/status", drilled)
            .await;
        (s3, service)
    }
}

/// A connection string with the database.
fn with_database(uri: &str) -> String {
    uri.replacen("/?", &format!("/{DATABASE}?"), 1)
}

/// A client of a service, with the connection string of its `.env` file.
async fn connect(env: &str, name: &str) -> Client {
    let text = fs::read_to_string(env).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("MONGODB_CONNECTION_STRING="))
        .unwrap();
    let uri = line.split_once('=').unwrap().1.trim_matches(['"', '\'']);
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.app_name = Some(name.to_owned());
    let client = Client::with_options(options).unwrap();
    moods(&client).find_one(doc! {}).await.unwrap();
    client
}

fn moods(client: &Client) -> mongodb::Collection<Document> {
    client.database(DATABASE).collection("moods")
}

/// Inserts, changes and deletes.
async fn change(old: &Database, when: &str) {
    let moods = old.collection::<Document>("moods");
    for at in 0..50 {
        let mood = doc! { "_id": format!("{at} {when}"), "mood": "moving" };
        moods.insert_one(mood).await.unwrap();
    }
    let changed = doc! { "$set": { "mood": when } };
    moods.update_one(doc! {}, changed).await.unwrap();
    let users = old.collection::<Document>("users");
    let changed = doc! { "$set": { "seen": when } };
    users.update_many(doc! {}, changed).await.unwrap();
    moods
        .delete_one(doc! { "_id": { "$type": "objectId" } })
        .await
        .unwrap();
}

async fn database(server: &MongoServer) -> Database {
    server.client().await.unwrap().database(DATABASE)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_migration_leaves_the_old_cluster_and_can_go_back() {
    let migration = Migration::start().await;
    let old = database(&migration.old).await;
    Demo::new(1, 0.01, Timestamp::now())
        .load(&old, |_, _, _| {})
        .await
        .unwrap();

    // Export as JSON and import while the old cluster changes, and follow it afterwards.
    let (atlas, silo) = (migration.path("atlas"), migration.path("silo"));
    migration.run(&["begin", &atlas, &silo]).await.good();
    migration
        .run(&["begin", &atlas, &silo])
        .await
        .ends_with(silo_cli::exit::EXIT_REFUSED);
    let backup = migration.folder.path().join("backup");
    let uri = migration.old.uri();
    let exported = node::export(&uri, DATABASE, &backup, Form::Canonical);
    let (exported, ()) = tokio::join!(exported, change(&old, "during the export"));
    exported.unwrap();
    let importing = migration.spawn(&["import", &migration.path("backup"), "--to-file", &silo]);
    change(&old, "during the import").await;
    ended(importing).await.good();
    let following = migration.spawn(&["copy", &atlas, &silo, "--rate", "1000", "--follow"]);
    change(&old, "while it is followed").await;
    let equal = wait_for(TIME_LIMIT, || async {
        let compared = migration.run(&["compare", &atlas, &silo]).await;
        (compared.code == Some(0)).then_some(())
    });
    equal.await.unwrap();

    // Cut over.
    let envs = SERVICES.map(|name| {
        let folder = migration.folder.path().join("services").join(name);
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(".env");
        let uri = with_database(&migration.old.uri());
        fs::write(
            &file,
            format!("NAME={name}\nMONGODB_CONNECTION_STRING=\"{uri}\"\n"),
        )
        .unwrap();
        file.display().to_string()
    });
    let before = envs.clone().map(|env| fs::read(env).unwrap());
    let services = migration.path("services");
    migration.write("client", &with_database(&migration.silo.client_uri()));
    let client = migration.path("client");
    let address = migration.old.address();
    let (host, port) = address.split_once(':').unwrap();
    assert!(!port.is_empty());
    let lists = migration
        .run(&["cutover", &services, "--old-host", host])
        .await
        .good();
    assert_eq!(lists["found"].as_array().unwrap().len(), 3, "{lists}");
    let api = migration.db_api().await;
    let verify = [
        "verify-cutover",
        "--db-api",
        &api.address,
        "--old",
        &atlas,
        "--wait",
        "0",
    ];
    let early = migration.run(&verify).await;
    let early = early.ends_with(silo_cli::exit::EXIT_DIFFERENT).value();
    assert_eq!(early["missing"].as_array().unwrap().len(), 3, "{early}");
    migration
        .run(&[
            "cutover",
            &services,
            "--old-host",
            host,
            "--to-file",
            &client,
            "--apply",
        ])
        .await
        .good();

    // The last one is written in JavaScript, as all of AC's are.
    let mut connected = Vec::new();
    for (env, name) in envs.iter().zip(&SERVICES[..2]) {
        connected.push(connect(env, name).await);
    }
    let lith = NodeService::start(Path::new(&envs[2]), SERVICES[2], DATABASE, "moods").unwrap();
    let lith = lith.insert("from the npm driver").await;
    terminated(following).await.good();
    let verify = ["verify-cutover", "--db-api", &api.address, "--wait", "60"];
    migration.run(&verify).await.good();
    // Every service works on Silo.
    for (client, name) in connected.iter().zip(SERVICES) {
        moods(client)
            .insert_one(doc! { "_id": format!("from {name}") })
            .await
            .unwrap();
    }
    let lith = lith.insert("from lith").await;
    drop(lith);

    // The old cluster can be given up when nobody is connected to it any more.
    let (_storage, backup) = migration.backup().await;
    let check = [
        "decommission-check",
        &atlas,
        &silo,
        "--db-api",
        &api.address,
        "--backup-api",
        &backup.address,
        "--nights",
        "1",
    ];
    let early = migration.run(&check).await;
    let early = early.ends_with(silo_cli::exit::EXIT_DIFFERENT).value();
    assert_eq!(early["conditions"][0]["holds"], false, "{early}");
    old.client().clone().shutdown().await;
    let done = wait_for(CLOSED_WITHIN, || async {
        let checked = migration.run(&check).await;
        (checked.code == Some(0)).then_some(checked.value())
    });
    let Some(done) = done.await else {
        panic!("{:#?}", migration.run(&check).await);
    };
    assert_eq!(done["conditions"].as_array().unwrap().len(), 5, "{done}");
    let two = [&check[..check.len() - 1], &["2"]].concat();
    migration
        .run(&two)
        .await
        .ends_with(silo_cli::exit::EXIT_DIFFERENT);
    let late = database(&migration.old).await;
    late.collection("moods")
        .insert_one(doc! { "_id": "too late" })
        .await
        .unwrap();
    late.client().clone().shutdown().await;
    let written = migration
        .run(&check)
        .await
        .ends_with(silo_cli::exit::EXIT_DIFFERENT)
        .value();
    for (place, holds) in [(1, true), (2, true), (3, false), (4, false)] {
        assert_eq!(written["conditions"][place]["holds"], holds, "{written}");
    }

    // Back to the last byte.
    migration
        .run(&["cutover", &services, "--undo"])
        .await
        .good();
    assert_eq!(envs.map(|env| fs::read(env).unwrap()), before);
}
