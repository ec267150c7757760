//! Two destinations, encryption, and held backups.

use silo_backup::error::{EXIT_HELD, EXIT_REFUSED};
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::ac::{Role, Simulator};
use silo_testkit::mongo::Setup;
use silo_testkit::s3::Storage;
use silo_testkit::tools::stock_tool;

use crate::stage::{BUCKET, DATABASE, Stage, spaces};

async fn with_copy() -> (Stage, Storage) {
    with_copy_on(Stage::with_demo_data().await).await
}

pub(crate) async fn with_copy_on(mut stage: Stage) -> (Stage, Storage) {
    let other = Storage::with_switch().await.unwrap();
    spaces(&other.account, &other.url())
        .create_bucket(BUCKET)
        .await
        .unwrap();
    for (name, value) in [
        ("ENDPOINT", other.url()),
        ("BUCKET", BUCKET.into()),
        ("KEY", other.account.key.clone()),
        ("SECRET", other.account.secret.clone()),
    ] {
        stage.set(&format!("BACKUP_COPY_{name}"), value);
    }
    (stage, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_destination_does_not_affect_the_other() {
    let (stage, other) = with_copy().await;
    stage.backup().await;
    stage.json(&["verify", "--copy"]).await;
    let list = stage.json(&["list"]).await;
    assert_eq!(
        list[0]["destinations"],
        serde_json::json!(["primary", "copy"])
    );
    other.switch_off();
    let made = stage
        .run(&["run", "--json", "--quiet"])
        .await
        .ends_with(1)
        .value();
    assert_eq!(
        (
            &made["good"],
            made["destinations"].as_array().unwrap().len()
        ),
        (&true.into(), 2),
        "{made}"
    );
    let of = |name: &str| {
        made["destinations"]
            .as_array()
            .unwrap()
            .iter()
            .find(|at| at["name"] == name)
            .unwrap()["error"]
            .clone()
    };
    assert!(of("primary").is_null() && of("copy").is_string(), "{made}");
    stage.json(&["verify"]).await;
    let status = stage.run(&["status", "--json"]).await.ends_with(1).value();
    assert_eq!(status["destinations"][0]["backups"], 2, "{status}");
    assert!(
        status["destinations"][1]["backups"].is_null(),
        "not known is not nothing: {status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_alone_is_enough_to_restore() {
    let (stage, _other) = with_copy().await;
    stage.s3.switch_off();
    let made = stage
        .run(&["run", "--json", "--quiet"])
        .await
        .ends_with(1)
        .value();
    let errors = made["destinations"].as_array().unwrap();
    assert!(
        errors
            .iter()
            .any(|at| at["name"] == "copy" && at["error"].is_null()),
        "{made}"
    );
    let listed = stage.run(&["list", "--json"]).await;
    let list = listed.ends_with(1).value();
    assert_eq!(list[0]["destinations"], serde_json::json!(["copy"]));
    let warning = "primary is not in the list";
    assert!(listed.stderr.contains(warning), "{listed:?}");
    let owner = stage.uri_file(&stage.mongo.uri());
    stage
        .json(&[
            "restore",
            "latest",
            "--copy",
            "--to-file",
            &owner,
            "--database",
            "back",
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_backup_needs_the_private_key_only_to_be_restored() {
    use age::secrecy::ExposeSecret;
    let mut stage = Stage::with_demo_data().await;
    let identity = age::x25519::Identity::generate();
    stage.set("BACKUP_AGE_RECIPIENT", identity.to_public().to_string());
    stage.set("BACKUP_COMPRESSION", "zstd");
    let id = stage.backup().await;
    assert_eq!(stage.json(&["verify"]).await["how"], "bytes");
    let owner = stage.uri_file(&stage.mongo.uri());
    stage
        .run(&["restore", &id, "--to-file", &owner, "--database", "back"])
        .await
        .ends_with(EXIT_REFUSED);
    stage
        .run(&["drill", "--quiet"])
        .await
        .ends_with(EXIT_REFUSED);
    let secret = identity.to_string().expose_secret().to_owned();
    stage.set("BACKUP_AGE_IDENTITY", &secret);
    let verdict = stage.json(&["verify"]).await;
    assert_eq!(
        (&verdict["how"], &verdict["documents"]),
        (&"decoded".into(), &1550.into())
    );
    stage.json(&["drill"]).await;
    stage
        .json(&["restore", &id, "--to-file", &owner, "--database", "back"])
        .await;

    // With stock tools it is decrypted and decompressed to what begins as mongodump's archives do.
    let stored = stage
        .read(&format!("backups/mongo/data/{id}.archive.zst.age"))
        .await;
    std::fs::write(stage.folder.path().join("stored"), stored).unwrap();
    std::fs::write(stage.folder.path().join("key"), secret).unwrap();
    let shell = "age --decrypt --identity key stored | zstd --decompress --stdout";
    let plain = std::process::Command::new("sh")
        .args(["-c", shell])
        .current_dir(stage.folder.path())
        .output()
        .unwrap();
    assert_eq!(
        plain.stdout[..4],
        silo_backup::archive::MAGIC,
        "{}",
        String::from_utf8_lossy(&plain.stderr)
    );
    let Some(mongorestore) = stock_tool("mongorestore") else {
        silo_testkit::say::skipped("restoring with mongorestore", "it is not installed");
        return;
    };
    std::fs::write(stage.folder.path().join("plain"), plain.stdout).unwrap();
    let restored = std::process::Command::new(mongorestore)
        .args(["--archive=plain", "--stopOnError", "--nsFrom=aesthetic.*"])
        .arg("--nsTo=stock.*")
        .arg(format!("--uri={}", stage.mongo.uri()))
        .current_dir(stage.folder.path())
        .output()
        .unwrap();
    let output_text = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{output_text}");
    for (name, documents) in [("users", 300), ("moods", 1200), ("paintings", 50)] {
        let stock = stage.client.database("stock").collection::<Document>(name);
        let count = stock.count_documents(doc! {}).await.unwrap();
        assert_eq!(count, documents, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unexpected_backup_is_held_until_it_is_accepted() {
    let mut stage = Stage::with_demo_data().await;
    let good = stage.backup().await;
    stage
        .database()
        .collection::<Document>("moods")
        .delete_many(doc! { "at": { "$gte": 600 } })
        .await
        .unwrap();
    let held = stage
        .run(&["run", "--json", "--quiet"])
        .await
        .ends_with(EXIT_HELD)
        .value();
    assert!(
        held["held"]
            .to_string()
            .contains("moods has 600 documents, down from 1200"),
        "{held}"
    );
    let status = stage.run(&["status", "--json"]).await.value();
    assert_eq!(
        status["lastGood"]["id"],
        good.as_str(),
        "a held backup does not count"
    );
    let plan = stage.json(&["prune", "--dry-run"]).await;
    assert!(
        plan.to_string().contains("the newest backup"),
        "pruning is frozen: {plan}"
    );
    let id = held["id"].as_str().unwrap();
    stage.json(&["accept", id, "--why", "I deleted them"]).await;
    stage.backup().await;
    stage.set("BACKUP_EXPECTED", "users,secrets");
    let missing = stage
        .run(&["run", "--json", "--quiet"])
        .await
        .ends_with(EXIT_HELD)
        .value();
    assert!(
        missing["held"].to_string().contains("secrets is missing"),
        "{missing}"
    );
    stage.client.database(DATABASE).drop().await.unwrap();
    let empty = stage
        .run(&["run", "--json", "--quiet"])
        .await
        .ends_with(EXIT_HELD)
        .value();
    assert!(
        empty["held"].to_string().contains("the backup is empty"),
        "{empty}"
    );
}

/// A run without a manifest in any destination has failed, even if archives were stored: it is recorded as failed, and nothing is pruned.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_publishes_nowhere_has_failed() {
    let (mut stage, _other) = with_copy_on(Stage::with(Setup::default().fail_points()).await).await;
    stage.fill("moods", 100).await;
    let webhook = Simulator::start(Role::Http).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", webhook.url());
    // The database does not take the record that comes before each manifest (disk full: OutOfDiskSpace).
    let full = doc! { "errorCode": 14031, "namespace": "silo.backups" };
    stage
        .mongo
        .fail_commands(&["update"], 2, full)
        .await
        .unwrap();
    let failed = stage.run(&["run", "--json", "--quiet"]).await;
    assert_eq!(stage.mongo.stop_failing().await.unwrap(), 2);
    let failed = failed.ends_with(1).value();
    assert!(
        failed["error"]["detail"]
            .as_str()
            .unwrap()
            .contains("remembering a backup"),
        "{failed}"
    );
    assert_eq!(stage.manifests().await, Vec::<String>::new());
    let status = stage.run(&["status", "--json"]).await.ends_with(1).value();
    assert_eq!(
        (
            &status["lastAttempt"]["outcome"],
            &status["lastAttempt"]["failures"]
        ),
        (&"failed".into(), &1.into()),
        "{status}"
    );
    assert_eq!(webhook.received().len(), 1);
    // The next one is good, in both.
    let made = stage.json(&["run"]).await;
    assert_eq!(made["good"], true, "{made}");
    let list = stage.json(&["list"]).await;
    assert_eq!(
        list[0]["destinations"],
        serde_json::json!(["primary", "copy"])
    );
}

/// Scheduled drills take the destinations in turn, and every archive is read again in turn; a damaged copy does not count any more, the other does.
#[tokio::test(flavor = "multi_thread")]
async fn destinations_are_drilled_and_read_again_in_turn() {
    use silo_backup::context::Context;
    use silo_backup::verification::drill::{self, Choice};
    use silo_backup::verification::recheck;
    use silo_cli::progress::Reporter;
    let (stage, other) = with_copy().await;
    let (first, second) = (stage.backup().await, stage.backup().await);
    let settings = silo_core::settings::SettingsReader::from_map(&stage.environment);
    let settings = silo_backup::settings::Settings::read(settings).unwrap();
    let context = Context::new(settings).await.unwrap();
    let report = Reporter::default();
    let mut drilled = Vec::new();
    for _ in 0..3 {
        let outcome = drill::run(&context, &Choice::Scheduled, &report)
            .await
            .unwrap();
        assert!(outcome.good, "{outcome:?}");
        drilled.push(outcome.destination);
    }
    assert_eq!(drilled, ["primary", "copy", "primary"]);
    // One archive of each destination a night: first the older one, which no drill has read.
    let copy = spaces(&other.account, &other.url());
    let key = format!("backups/mongo/data/{first}.archive.gz");
    copy.put(BUCKET, &key, bytes::Bytes::from_static(b"damaged"))
        .await
        .unwrap();
    let results = recheck::run(&context, &report).await.unwrap();
    let results: Vec<_> = results
        .iter()
        .map(|result| {
            (
                result.destination,
                result.id.as_str(),
                result.problem.is_some(),
            )
        })
        .collect();
    // The archive of another size is not even read: the listing shows it.
    assert_eq!(
        results,
        [
            ("primary", first.as_str(), false),
            ("copy", second.as_str(), false)
        ]
    );
    let mut bytes = stage.read(&key).await;
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    copy.put(BUCKET, &key, bytes.into()).await.unwrap();
    let mut damaged = Vec::new();
    for _ in 0..3 {
        let results = recheck::run(&context, &report).await.unwrap().into_iter();
        damaged.extend(results.filter(|result| result.problem.is_some()));
    }
    let damaged: Vec<_> = damaged
        .iter()
        .map(|result| (result.destination, result.id.as_str()))
        .collect();
    assert_eq!(
        damaged,
        [("copy", first.as_str())],
        "found once, and then known"
    );
    let status = stage.run(&["status", "--json"]).await.ends_with(1).value();
    assert!(
        status["problems"]
            .to_string()
            .contains(&format!("copy: {first} is damaged")),
        "{status}"
    );
    let plan = stage.json(&["prune", "--dry-run"]).await;
    assert!(
        plan.to_string().contains("while a problem is open"),
        "{plan}"
    );
    // The primary's copy of the same backup is intact.
    let list = stage.json(&["list"]).await;
    assert_eq!(
        (&list[1]["id"], &list[1]["good"]),
        (&first.as_str().into(), &true.into()),
        "{list}"
    );
}

/// Both destinations fail: the run fails with the reason of the first, and nothing counts as made.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_any_destination_fails_with_the_reason() {
    let (stage, other) = with_copy().await;
    stage.backup().await;
    stage.s3.switch_off();
    other.switch_off();
    let failed = stage.run(&["run", "--json", "--quiet"]).await;
    let failed = failed.ends_with(1).value();
    assert_eq!(failed["error"]["code"], "unreachable", "{failed}");
    let list = stage.run(&["list", "--json", "--quiet"]).await;
    let list = list.ends_with(1).value();
    assert_eq!(list["error"]["code"], "unreachable", "not empty: {list}");
}
