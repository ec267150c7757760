//! A database, a bucket, and the built binary that backs one up into the other.

use std::collections::BTreeMap;
use std::process::Stdio;

use bytes::Bytes;
use futures_util::TryStreamExt;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use serde_json::Value;
use silo_core::secret::Secret;
use silo_mongo::mongodb::bson::spec::BinarySubtype;
use silo_mongo::mongodb::bson::{Binary, Document, doc};
use silo_mongo::mongodb::{Client, Database};
use silo_spaces::Spaces;
use silo_spaces::endpoint::{Addressing, Endpoint, Limits};
use silo_testkit::mongo::{MongoServer, Setup};
use silo_testkit::program::write_private;
pub(crate) use silo_testkit::program::{Ended, ended};
use silo_testkit::s3::{Account, Storage};
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub(crate) const DATABASE: &str = "aesthetic";
pub(crate) const BUCKET: &str = "backups";
pub(crate) const PREFIX: &str = "backups/mongo/";
pub(crate) struct Stage {
    pub(crate) mongo: MongoServer,
    pub(crate) s3: Storage,
    pub(crate) spaces: Spaces,
    pub(crate) client: Client,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) folder: TempDir,
}

impl Stage {
    /// An empty database and an empty bucket, with sign-in to both.
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    /// A stage whose mongod is started with `setup`.
    pub(crate) async fn with(setup: Setup) -> Self {
        let mongo = setup.accounts(DATABASE).start().await.unwrap();
        let s3 = Storage::with_switch().await.unwrap();
        let spaces = spaces(&s3.account, &s3.url());
        spaces.create_bucket(BUCKET).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pairs = [
            ("MONGODB_CONNECTION_STRING", mongo.backup_uri()),
            ("DRILL_CONNECTION_STRING", mongo.drill_uri()),
            ("MONGODB_NAME", DATABASE.into()),
            ("SPACES_ENDPOINT", s3.url()),
            ("SPACES_KEY", s3.account.key.clone()),
            ("SPACES_SECRET", s3.account.secret.clone()),
            ("BACKUP_BUCKET", BUCKET.into()),
            ("BACKUP_EXPECTED", "none".into()),
            ("BACKUP_FOLDER", folder.path().display().to_string()),
        ];
        let environment = pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Self {
            client: mongo.client().await.unwrap(),
            mongo,
            s3,
            spaces,
            environment,
            folder,
        }
    }

    /// A stage with `users` (with a unique index), `moods` and `paintings`.
    pub(crate) async fn with_demo_data() -> Self {
        let stage = Self::new().await;
        stage.fill("users", 300).await;
        stage.fill("moods", 1200).await;
        stage.fill("paintings", 50).await;
        let unique = doc! { "createIndexes": "users", "indexes": [{ "key": { "code": 1 }, "name": "code_1", "unique": true }] };
        stage.database().run_command(unique).await.unwrap();
        stage
    }

    pub(crate) fn database(&self) -> Database {
        self.client.database(DATABASE)
    }

    pub(crate) async fn fill(&self, name: &str, count: i32) {
        let documents = (0..count)
            .map(|at| doc! { "code": format!("{name}-{at}"), "at": at, "text": "x".repeat(200) });
        self.database()
            .collection::<Document>(name)
            .insert_many(documents)
            .await
            .unwrap();
    }

    /// Inserts incompressible documents of 1 MB each.
    pub(crate) async fn fill_incompressible(&self, megabytes: i32) {
        let mut random = SmallRng::seed_from_u64(1);
        let blobs = self.database().collection::<Document>("blobs");
        for at in 0..megabytes {
            let mut bytes = vec![0; 1_000_000];
            random.fill_bytes(&mut bytes);
            let blob = Binary {
                subtype: BinarySubtype::Generic,
                bytes,
            };
            blobs
                .insert_one(doc! { "_id": at, "blob": blob })
                .await
                .unwrap();
        }
    }

    /// A file with a connection string, for `--to-file`.
    pub(crate) fn uri_file(&self, uri: &str) -> String {
        let path = self
            .folder
            .path()
            .join(format!("uri-{:x}", rand::random::<u64>()));
        write_private(&path, uri).unwrap();
        path.display().to_string()
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    /// A command of the built binary.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_silo-backup"));
        command
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.spawn(arguments)).await
    }

    /// The result of a command that must succeed.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--json", "--quiet"]].concat())
            .await
            .good()
    }

    /// Makes a backup that must be good, and gives its id.
    pub(crate) async fn backup(&self) -> String {
        let made = self.json(&["run"]).await;
        assert_eq!(made["good"], true, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    /// Restores the newest backup into `database` of the same server, which must succeed.
    pub(crate) async fn restore(&self, database: &str) -> Value {
        let to = self.uri_file(&self.mongo.uri());
        self.json(&[
            "restore",
            "latest",
            "--to-file",
            &to,
            "--database",
            database,
        ])
        .await
    }

    /// Keys in the bucket.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let page = self.spaces.page(BUCKET, None).await.unwrap();
        assert!(!page.truncated);
        page.objects().map(|object| object.key.to_owned()).collect()
    }

    pub(crate) async fn manifests(&self) -> Vec<String> {
        let keys = self.keys().await;
        keys.into_iter()
            .filter(|key| key.contains("/manifests/"))
            .collect()
    }

    pub(crate) async fn read(&self, key: &str) -> Vec<u8> {
        let pieces: Vec<Bytes> = self
            .spaces
            .get(BUCKET, key, None)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        pieces.concat()
    }

    pub(crate) async fn write(&self, key: &str, bytes: Vec<u8>) {
        self.spaces.put(BUCKET, key, bytes.into()).await.unwrap();
    }
}

pub(crate) fn spaces(account: &Account, url: &str) -> Spaces {
    let (key, secret) = (Secret::new(&account.key), Secret::new(&account.secret));
    let endpoint = Endpoint {
        url: url.to_owned(),
        region: "us-east-1".into(),
        key,
        secret,
        addressing: Addressing::Path,
    };
    let limits = Limits {
        requests_per_second: 1000.try_into().unwrap(),
        ..Limits::default()
    };
    Spaces::new(&endpoint, limits).unwrap()
}
