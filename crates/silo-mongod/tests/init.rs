//! `silo-mongod init` against a real server: creates, is idempotent, and applies changes.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::collections::BTreeMap;

use serde_json::Value;
use silo_mongo::mongodb::Client;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::mongo::MongoServer;
use tokio::process::Command;

/// A server with an administrator, and the accounts that are to be there.
struct Stage {
    server: MongoServer,
    accounts: BTreeMap<&'static str, String>,
    address: String,
}

impl Stage {
    async fn new() -> Self {
        let server = MongoServer::start_with_accounts("aesthetic").await.unwrap();
        // `init` is to create the accounts itself.
        let admin = server.client().await.unwrap().database("admin");
        let drop = doc! { "dropAllRolesFromDatabase": 1 };
        admin.run_command(drop).await.unwrap();
        let root = server.uri();
        let address = root
            .split_once('@')
            .unwrap()
            .1
            .split_once('/')
            .unwrap()
            .0
            .to_owned();
        let of = |name: &str, source: &str| {
            format!("mongodb://{name}:{name}-password@{address}/?authSource={source}")
        };
        let accounts = BTreeMap::from([
            ("root", root),
            ("backup", of("keeper", "admin")),
            ("certificate", of("renewer", "admin")),
            ("client", of("lith", "aesthetic")),
            ("reader", of("looker", "admin")),
        ]);
        Self {
            server,
            accounts,
            address,
        }
    }

    /// Exit code, result of each item, and log.
    async fn init(&self, arguments: &[&str]) -> (Option<i32>, BTreeMap<String, Value>, String) {
        let lines: Vec<String> = self
            .accounts
            .iter()
            .map(|(job, uri)| format!("{job} {uri}"))
            .collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_silo-mongod"));
        command
            .args(["init", "--json"])
            .args(arguments)
            .env_clear()
            .env("MONGO_ACCOUNTS", lines.join("\n"))
            .env("MONGO_HOST", &self.address);
        let ended = command.output().await.unwrap();
        let stdout = String::from_utf8(ended.stdout).unwrap();
        let steps = stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let steps = steps.map(|step| {
            (
                step["what"].as_str().unwrap().to_owned(),
                step["done"].clone(),
            )
        });
        (
            ended.status.code(),
            steps.collect(),
            String::from_utf8(ended.stderr).unwrap(),
        )
    }

    async fn client(&self, job: &str) -> Client {
        Client::with_uri_str(format!("{}&directConnection=true", self.accounts[job]))
            .await
            .unwrap()
    }
}

/// Items with this result, without those that existed before.
fn made<'a>(steps: &'a BTreeMap<String, Value>, done: &str) -> Vec<&'a str> {
    let steps = steps.iter().filter(|(_, found)| *found == done);
    steps.map(|(what, _)| &**what).collect()
}

#[tokio::test]
async fn init_is_idempotent_and_applies_changes() {
    let mut stage = Stage::new().await;
    let all = [
        "account keeper in admin",
        "account lith in aesthetic",
        "account looker in admin",
        "account renewer in admin",
        "role siloBackup",
        "role siloCertificate",
        "role siloDrill",
    ];
    let (code, steps, log) = stage.init(&["--dry-run"]).await;
    assert_eq!(
        (code, made(&steps, "created")),
        (Some(0), all.to_vec()),
        "{log}"
    );
    let (code, steps, log) = stage.init(&[]).await;
    assert_eq!(
        (code, made(&steps, "created")),
        (Some(0), all.to_vec()),
        "a dry run made nothing; {log}"
    );
    // Accounts that are not in the configuration are reported, and stay.
    assert!(
        made(&steps, "needs_review").contains(&"account silo_reader in admin"),
        "{steps:?}"
    );
    let (code, steps, log) = stage.init(&[]).await;
    assert_eq!(
        (code, made(&steps, "created"), made(&steps, "changed")),
        (Some(0), vec![], vec![]),
        "{log}"
    );
    // An old mongod is warned of, and used.
    assert!(
        made(&steps, "needs_review").contains(&"mongod 6.0.5"),
        "{steps:?}"
    );
    assert!(log.contains("no security updates"), "{log}");

    let lith = stage.client("client").await;
    let moods = lith.database("aesthetic").collection::<Document>("moods");
    moods.insert_one(doc! { "mood": "well" }).await.unwrap();
    let elsewhere = lith.database("silo").collection::<Document>("journal");
    assert!(elsewhere.insert_one(doc! {}).await.is_err());
    let keeper = stage.client("backup").await;
    assert!(
        keeper
            .database("aesthetic")
            .collection::<Document>("moods")
            .find_one(doc! {})
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        keeper
            .database("aesthetic")
            .collection::<Document>("moods")
            .insert_one(doc! {})
            .await
            .is_err()
    );
    keeper
        .database("silo")
        .collection::<Document>("journal")
        .insert_one(doc! {})
        .await
        .unwrap();

    // A changed password is applied; extra privileges are removed.
    let changed = stage.accounts["client"].replace("lith-password", "another-password");
    stage.accounts.insert("client", changed);
    let admin = stage.server.client().await.unwrap().database("admin");
    let too_much = doc! { "grantRolesToUser": "looker", "roles": [{ "role": "readWriteAnyDatabase", "db": "admin" }] };
    admin.run_command(too_much).await.unwrap();
    let (code, steps, log) = stage.init(&["--dry-run"]).await;
    let differ = ["account lith in aesthetic", "account looker in admin"];
    assert_eq!(
        (code, made(&steps, "changed")),
        (Some(0), differ.to_vec()),
        "{log}"
    );
    let (code, steps, log) = stage.init(&[]).await;
    assert_eq!(
        (code, made(&steps, "changed")),
        (Some(0), differ.to_vec()),
        "{log}"
    );
    let lith = stage.client("client").await;
    lith.database("aesthetic")
        .collection::<Document>("moods")
        .insert_one(doc! {})
        .await
        .unwrap();
    let looker = stage.client("reader").await;
    assert!(
        looker
            .database("silo")
            .collection::<Document>("journal")
            .insert_one(doc! {})
            .await
            .is_err()
    );
    let (_, steps, _) = stage.init(&[]).await;
    assert_eq!(made(&steps, "changed"), Vec::<&str>::new());
}

#[tokio::test]
async fn errors_are_reported_without_passwords() {
    let mut stage = Stage::new().await;
    let root = stage.accounts["root"].clone();
    stage
        .accounts
        .insert("root", root.replace("owner-password", "hunter2"));
    let (code, steps, log) = stage.init(&[]).await;
    assert_eq!((code, steps.len()), (Some(1), 0));
    assert!(
        log.contains("did not accept") && !log.contains("hunter2"),
        "{log}"
    );
    stage.accounts.insert("root", "nonsense hunter2".into());
    let (code, _, log) = stage.init(&[]).await;
    assert_eq!(code, Some(1));
    assert!(
        log.contains("MONGO_ACCOUNTS: ") && !log.contains("hunter2"),
        "{log}"
    );
}
