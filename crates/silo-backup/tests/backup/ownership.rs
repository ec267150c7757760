//! A repository belongs to one database on one server, and nothing in it is destroyed by mistake.

use jiff::{SignedDuration, Timestamp};
use silo_backup::clock::Clock;
use silo_backup::context::Context;
use silo_backup::error::{EXIT_HELD, EXIT_REFUSED};
use silo_backup::repository::manifest::{Manifest, new_id};
use silo_backup::retention::prune;
use silo_backup::run;
use silo_backup::settings::Settings;
use silo_cli::progress::Reporter;
use silo_core::settings::SettingsReader;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::proxy::{Fault, Proxy};

use crate::stage::{BUCKET, PREFIX, Stage};

/// State of a process in this test, with a clock of its own.
async fn context(stage: &Stage) -> (Context, Clock) {
    let settings = Settings::read(SettingsReader::from_map(&stage.environment)).unwrap();
    let context = Context::new(settings).await.unwrap();
    let clock = context.clock.clone();
    (context, clock)
}

async fn delete_below(stage: &Stage, folder: &str) {
    for key in stage.keys().await {
        if key.starts_with(&format!("{PREFIX}{folder}")) {
            stage.spaces.delete(BUCKET, &key).await.unwrap();
        }
    }
}

async fn archives(stage: &Stage) -> usize {
    let keys = stage.keys().await;
    keys.iter().filter(|key| key.contains("/data/")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_repository_is_a_problem_until_it_is_adopted() {
    let stage = Stage::with_demo_data().await;
    stage.backup().await;
    delete_below(&stage, "").await;
    let status = stage.run(&["status", "--json"]).await.ends_with(1).value();
    assert!(
        status["problems"]
            .to_string()
            .contains("the repository is gone"),
        "{status}"
    );
    let refused = stage.run(&["run", "--json", "--quiet"]).await;
    let refused = refused.ends_with(EXIT_REFUSED).value();
    assert_eq!(refused["error"]["code"], "repository_changed", "{refused}");
    stage.run(&["list"]).await.ends_with(0);
    stage.run(&["init"]).await.ends_with(EXIT_REFUSED);
    let would = stage.json(&["init", "--adopt", "--dry-run"]).await;
    assert_eq!(would[0]["action"], "adopted", "{would}");
    assert_eq!(
        stage.keys().await,
        Vec::<String>::new(),
        "nothing was written"
    );
    stage.json(&["init", "--adopt"]).await;
    stage.backup().await;
    stage.run(&["status"]).await.ends_with(0);
    let audit = stage.json(&["audit"]).await.to_string();
    assert!(
        audit.contains("init --adopt") && audit.contains("\"run "),
        "{audit}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_do_not_share_a_repository() {
    let first = Stage::with_demo_data().await;
    let id = first.backup().await;
    let mut second = Stage::with_demo_data().await;
    for name in ["SPACES_ENDPOINT", "SPACES_KEY", "SPACES_SECRET"] {
        let value = first.environment[name].clone();
        second.set(name, value);
    }
    let before = first.keys().await;
    second
        .run(&["run", "--quiet"])
        .await
        .ends_with(EXIT_REFUSED);
    second.run(&["prune", "--quiet"]).await.ends_with(0);
    assert_eq!(
        first.keys().await,
        before,
        "the second server changes nothing"
    );
    // The first droplet is lost, and the second one takes over.
    let adopted = second.json(&["init", "--adopt"]).await;
    assert_eq!(adopted[0]["backups"], 1, "{adopted}");
    second.backup().await;
    let list = second.json(&["list"]).await;
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    let to = second.uri_file(&second.mongo.uri());
    let restore = ["restore", &id, "--to-file", &to, "--database", "back"];
    let restored = second.json(&restore).await;
    assert!(
        restored["erasuresUnknown"].is_string(),
        "the new server does not know who was deleted on the old one: {restored}"
    );
    // It was not lost after all: it notices the new owner.
    first.run(&["run", "--quiet"]).await.ends_with(EXIT_REFUSED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_of_another_database_is_never_adopted() {
    let mut stage = Stage::with_demo_data().await;
    stage.backup().await;
    let before = stage.keys().await;
    stage.set("MONGODB_NAME", "staging");
    stage.set("MONGODB_CONNECTION_STRING", stage.mongo.uri());
    stage
        .client
        .database("staging")
        .collection::<Document>("x")
        .insert_one(doc! {})
        .await
        .unwrap();
    for arguments in [&["run"][..], &["init"], &["init", "--adopt"]] {
        let refused = stage.run(&[arguments, &["--quiet"]].concat()).await;
        assert!(
            refused
                .ends_with(EXIT_REFUSED)
                .stderr
                .contains("BACKUP_PREFIX"),
            "{refused:#?}"
        );
    }
    assert_eq!(stage.keys().await, before);
}

/// Manifests vanish while archives stay: nothing is deleted, however much time passes, until they are rebuilt or acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn archives_whose_manifests_vanished_are_kept_rebuilt_or_acknowledged() {
    let stage = Stage::with_demo_data().await;
    let (first, second) = (stage.backup().await, stage.backup().await);
    let orphan = format!("data/{}.archive.gz", new_id(Timestamp::now()));
    stage
        .write(&format!("{PREFIX}{orphan}"), b"x".to_vec())
        .await;
    delete_below(&stage, "manifests/").await;
    let (context, clock) = context(&stage).await;
    for _ in 0..3 {
        clock.advance(SignedDuration::from_hours(24 * 30));
        let made = run::run(&context, &Reporter::default()).await.unwrap();
        assert_eq!(made.problems.len(), 2, "{:?}", made.problems);
        prune::run(&context, false, &Reporter::default())
            .await
            .unwrap();
    }
    assert_eq!(archives(&stage).await, 2 + 1 + 3, "nothing was deleted");

    let rebuilt = stage
        .json(&["adopt", &format!("data/{first}.archive.gz")])
        .await;
    assert_eq!(
        (&rebuilt["remembered"], &rebuilt["documents"]),
        (&true.into(), &1550.into()),
        "{rebuilt}"
    );
    stage.json(&["verify", &first]).await;
    stage.json(&["acknowledge", &second, "--why", "seen"]).await;
    // The clock of the process is months ahead of this command's.
    let status = stage.run(&["status", "--json"]).await.value();
    assert_eq!(status["problems"], serde_json::json!([]), "{status}");
    // Now the orphan is marked, and deleted seven days later; the acknowledged archive is kept.
    for days in [1, 6, 1] {
        assert!(
            stage.keys().await.contains(&format!("{PREFIX}{orphan}")),
            "{days}"
        );
        run::run(&context, &Reporter::default()).await.unwrap();
        clock.advance(SignedDuration::from_hours(24 * days));
    }
    run::run(&context, &Reporter::default()).await.unwrap();
    let keys = stage.keys().await;
    assert!(!keys.contains(&format!("{PREFIX}{orphan}")), "{keys:?}");
    assert!(
        keys.contains(&format!("{PREFIX}data/{second}.archive.gz")),
        "{keys:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_manifest_of_an_unknown_archive_is_held() {
    let stage = Stage::with_demo_data().await;
    let id = stage.backup().await;
    delete_below(&stage, "manifests/").await;
    let backups = stage
        .client
        .database("silo")
        .collection::<Document>("backups");
    backups.drop().await.unwrap();
    let dry = stage.json(&["adopt", &id, "--dry-run"]).await;
    assert_eq!(dry["remembered"], false, "{dry}");
    assert_eq!(stage.manifests().await, Vec::<String>::new());
    stage.json(&["adopt", &id]).await;
    let list = stage.json(&["list"]).await;
    assert_eq!(
        (&list[0]["state"], &list[0]["good"]),
        (&"held".into(), &false.into()),
        "{list}"
    );
    stage.json(&["accept", &id, "--why", "compared"]).await;
    stage.json(&["drill"]).await;
    stage.run(&["adopt", &id, "--quiet"]).await.ends_with(64);
    stage
        .run(&["adopt", "data/x", "--quiet"])
        .await
        .ends_with(64);
}

/// Whoever can write the bucket can write a manifest; the database does not know it.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_the_database_does_not_know_is_not_trusted() {
    let stage = Stage::with_demo_data().await;
    let id = stage.backup().await;
    let file = stage.read(&format!("{PREFIX}manifests/{id}.json")).await;
    let mut forged = Manifest::from_file(&file).unwrap();
    forged.id = new_id(Timestamp::now() + SignedDuration::from_secs(5));
    (forged.as_of, forged.previous) = (forged.as_of + SignedDuration::from_secs(5), None);
    let key = format!("{PREFIX}manifests/{}.json", forged.id);
    stage.write(&key, forged.to_file().unwrap()).await;
    let status = stage.run(&["status", "--json"]).await.ends_with(1).value();
    assert_eq!(status["lastGood"]["id"], id.as_str(), "{status}");
    assert!(
        status["problems"]
            .to_string()
            .contains("was not written by this database"),
        "{status}"
    );
    let to = stage.uri_file(&stage.mongo.uri());
    let restore = |more: &[&'static str]| {
        let forged = forged.id.clone();
        let arguments: Vec<String> = [
            "restore",
            &forged,
            "--to-file",
            &to,
            "--database",
            "back",
            "--quiet",
        ]
        .iter()
        .chain(more)
        .map(|text| (*text).to_owned())
        .collect();
        arguments
    };
    let refused = restore(&[]);
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    let refused = stage.run(&refused).await;
    assert!(
        refused
            .ends_with(EXIT_REFUSED)
            .stderr
            .contains("--trust-bucket"),
        "{refused:#?}"
    );
    let trusted = restore(&["--trust-bucket"]);
    let trusted: Vec<&str> = trusted.iter().map(String::as_str).collect();
    stage.run(&trusted).await.ends_with(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn housekeeping_that_fails_is_a_note_on_a_good_backup() {
    let mut stage = Stage::with_demo_data().await;
    let proxy = Proxy::start(&stage.s3.url(), |_, line| {
        if line.starts_with("GET ") && line.contains("uploads") {
            Fault::answer(
                "403 Forbidden",
                "Content-Type: application/xml\r\n",
                "<Error><Code>AccessDenied</Code></Error>",
            )
        } else {
            Fault::None
        }
    })
    .await
    .unwrap();
    stage.set("SPACES_ENDPOINT", proxy.url());
    let made = stage.json(&["run"]).await;
    assert_eq!(made["good"], true, "{made}");
    assert!(
        made["notes"]
            .to_string()
            .contains("orphans were not removed"),
        "{made}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_backup_is_never_pruned() {
    let stage = Stage::with_demo_data().await;
    let id = stage.backup().await;
    stage
        .json(&["pin", &id, "--why", "before the migration"])
        .await;
    let (context, clock) = context(&stage).await;
    for _ in 0..14 {
        clock.advance(SignedDuration::from_hours(24 * 40));
        run::run(&context, &Reporter::default()).await.unwrap();
    }
    let reason = async || {
        let plans = prune::run(&context, true, &Reporter::default())
            .await
            .unwrap();
        let decision = plans[0]
            .decisions
            .iter()
            .find(|decision| decision.id == id)
            .unwrap();
        (decision.keep, decision.reasons.join("; "))
    };
    assert_eq!(
        reason().await,
        (true, "pinned: before the migration".into())
    );
    stage.json(&["unpin", &id]).await;
    assert!(!reason().await.0);
    stage.run(&["unpin", &id]).await.ends_with(EXIT_REFUSED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_lost_all_documents_holds_the_backup() {
    let stage = Stage::with_demo_data().await;
    stage.fill("secrets", 3).await;
    stage.backup().await;
    let secrets = stage.database().collection::<Document>("secrets");
    secrets.delete_many(doc! {}).await.unwrap();
    let held = stage.run(&["run", "--json", "--quiet"]).await;
    let held = held.ends_with(EXIT_HELD).value();
    assert!(
        held["held"]
            .to_string()
            .contains("secrets is empty, and had 3"),
        "{held}"
    );
}
