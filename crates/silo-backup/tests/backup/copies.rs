//! Two destinations, encryption, and what is held.

use std::process::Stdio;

use silo_backup::error::{EXIT_HELD, EXIT_REFUSED};
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::s3::{KEY, Kind, S3Server, SECRET};

use crate::stage::{BUCKET, DATABASE, Stage, spaces};

async fn with_copy() -> (Stage, S3Server) {
    let mut stage = Stage::filled().await;
    let other = S3Server::start(Kind::Files).await.unwrap();
    spaces(&other.url()).create_bucket(BUCKET).await.unwrap();
    for (name, value) in [
        ("ENDPOINT", other.url()),
        ("BUCKET", BUCKET.into()),
        ("KEY", KEY.into()),
        ("SECRET", SECRET.into()),
    ] {
        stage.set(&format!("BACKUP_COPY_{name}"), value);
    }
    (stage, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_destination_that_fails_does_not_spoil_the_other() {
    let (stage, mut other) = with_copy().await;
    stage.backup().await;
    stage.json(&["verify", "--copy"]).await;
    let list = stage.json(&["list"]).await;
    assert_eq!(
        list[0]["destinations"],
        serde_json::json!(["primary", "copy"])
    );
    other.stop().await.unwrap();
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
    let (mut stage, _other) = with_copy().await;
    stage.s3.stop().await.unwrap();
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
    let owner = stage.mongo.uri();
    stage
        .json(&[
            "restore",
            "latest",
            "--copy",
            "--to",
            &owner,
            "--database",
            "back",
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_backup_needs_no_private_key_to_be_made_and_one_to_be_restored() {
    use age::secrecy::ExposeSecret;
    let mut stage = Stage::filled().await;
    let identity = age::x25519::Identity::generate();
    stage.set("BACKUP_AGE_RECIPIENT", identity.to_public().to_string());
    stage.set("BACKUP_COMPRESSION", "zstd");
    let id = stage.backup().await;
    assert_eq!(stage.json(&["verify"]).await["how"], "bytes");
    let owner = stage.mongo.uri();
    stage
        .run(&["restore", &id, "--to", &owner, "--database", "back"])
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
        .json(&["restore", &id, "--to", &owner, "--database", "back"])
        .await;

    // With stock tools it is decrypted and decompressed to what begins as mongodump's archives do.
    let tools = ["age", "zstd"].map(|tool| {
        std::process::Command::new(tool)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok()
    });
    if tools != [true, true] {
        silo_testkit::say::skipped(
            "decrypting with stock tools",
            "age or zstd is not installed",
        );
        return;
    }
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
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_expected_is_held_until_somebody_accepts_it() {
    let mut stage = Stage::filled().await;
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
            .contains("moods has 600 documents, and 1200"),
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
        empty["held"].to_string().contains("not one document"),
        "{empty}"
    );
}
