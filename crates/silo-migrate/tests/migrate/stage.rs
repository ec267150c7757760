//! Two servers, a folder, and the built binary.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use silo_mongo::mongodb::bson::{Bson, Document, doc};
use silo_mongo::mongodb::{Client, Collection, Database};
use silo_testkit::mongo::{MongoServer, Setup};
use silo_testkit::node::{self, Form};
use silo_testkit::program::TIME_LIMIT;
use silo_testkit::program::write_private;
pub(crate) use silo_testkit::program::{Ended, ended, terminated};
use silo_testkit::wait::wait_for;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Database on both servers.
pub(crate) const DATABASE: &str = "aesthetic";

/// A server with its file of a connection string.
pub(crate) struct Side {
    pub(crate) mongo: MongoServer,
    pub(crate) client: Client,
    pub(crate) file: String,
}

impl Side {
    async fn start(folder: &Path, name: &str) -> Self {
        let mongo = Setup::default().start().await.unwrap();
        let file = folder.join(name);
        write_private(&file, &uri(&mongo.uri(), DATABASE)).unwrap();
        Self {
            client: mongo.client().await.unwrap(),
            mongo,
            file: file.display().to_string(),
        }
    }

    pub(crate) fn database(&self) -> Database {
        self.client.database(DATABASE)
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.database().collection(name)
    }

    pub(crate) async fn insert(&self, name: &str, documents: impl IntoIterator<Item = Document>) {
        let inserted = self.collection(name).insert_many(documents).await;
        inserted.unwrap();
    }

    /// The first document of a collection.
    pub(crate) async fn one(&self, name: &str) -> Document {
        let found = self.collection(name).find_one(doc! {}).await;
        found.unwrap().unwrap()
    }

    pub(crate) async fn count(&self, name: &str) -> u64 {
        self.collection(name)
            .count_documents(doc! {})
            .await
            .unwrap()
    }

    /// Names of the collections, sorted.
    pub(crate) async fn names(&self) -> Vec<String> {
        let mut names = self.database().list_collection_names().await.unwrap();
        names.sort();
        names
    }
}

/// A connection string with the name of a database.
pub(crate) fn uri(uri: &str, database: &str) -> String {
    let (server, options) = uri
        .split_once("/?")
        .unwrap_or((uri.trim_end_matches('/'), ""));
    format!("{server}/{database}?{options}")
}

/// Two servers and a folder.
pub(crate) struct Stage {
    pub(crate) a: Side,
    pub(crate) b: Side,
    pub(crate) folder: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = tokio::join!(
            Side::start(folder.path(), "a"),
            Side::start(folder.path(), "b")
        );
        Self { a, b, folder }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_silo-migrate"));
        command
            .args(arguments)
            .args(["--json", "--quiet"])
            .env_clear()
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.spawn(arguments)).await
    }

    /// Compares both databases.
    pub(crate) async fn compare(&self) -> Ended {
        self.run(&["compare", &self.a.file, &self.b.file]).await
    }

    /// Waits until both databases are equal, which a follower of `a` makes them.
    pub(crate) async fn until_equal(&self) {
        let equal = wait_for(TIME_LIMIT, || async {
            let compared = self.compare().await;
            (compared.code == Some(0)).then_some(())
        });
        equal.await.unwrap();
    }

    /// Imports a folder into `b`.
    pub(crate) async fn import(&self, folder: &str, more: &[&str]) -> Ended {
        self.run(&[&["import", folder, "--to-file", &self.b.file], more].concat())
            .await
    }

    /// Exports `a` as JSON; returns the folder.
    pub(crate) async fn export(&self, name: &str, form: Form) -> String {
        let folder = self.folder.path().join(name);
        let exported = node::export(&self.a.mongo.uri(), DATABASE, &folder, form).await;
        exported.unwrap();
        folder.display().to_string()
    }

    /// Writes a backup of these collections, as lines; returns its folder.
    pub(crate) fn backup(&self, name: &str, collections: &[(&str, u64, &str)]) -> String {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let entries: Vec<Value> = collections
            .iter()
            .map(|(name, count, text)| {
                std::fs::write(folder.join(format!("{name}.json")), text).unwrap();
                serde_json::json!({ "name": name, "count": count })
            })
            .collect();
        let manifest = serde_json::json!({ "collections": entries });
        std::fs::write(folder.join("_manifest.json"), manifest.to_string()).unwrap();
        folder.display().to_string()
    }
}

/// Documents as lines of canonical Extended JSON.
pub(crate) fn lines(documents: impl IntoIterator<Item = Document>) -> String {
    let line = |document| format!("{}\n", Bson::Document(document).into_canonical_extjson());
    documents.into_iter().map(line).collect()
}
