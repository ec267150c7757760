//! When a chain goes on, and when it ends and another begins.

use serde_json::Value;
use silo_backup::error::EXIT_REFUSED;
use silo_backup::oplog::server::ServerOplog;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::ac::{Role, Simulator};
use silo_testkit::mongo::{Setup, faketime};
use silo_testkit::service::{Reply, Service};
use silo_testkit::wait::wait_for;

use super::{
    PATH, alarmed, chain_of, chains, continuous, continuous_with, end, insert, only_chain,
    restored, running, slices, text,
};
use crate::service::{LIMIT, data, serve};
use crate::stage::DATABASE;

/// Waits for another chain than this one.
pub(super) async fn another_chain(service: &Service, before: &str) -> String {
    let reply = service
        .until(LIMIT, PATH, |reply| {
            let status = data(reply);
            let chain = status["chain"].as_str();
            status["state"] == "running" && chain.is_some_and(|chain| chain != before)
        })
        .await;
    data(&reply)["chain"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_goes_on_after_an_end_a_kill_and_storage_that_is_down() {
    let stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "one").await;
    end(service).await;
    insert(&stage, "two").await;
    // Killed before it cuts anything: read again by the next one.
    let mut service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "three").await;
    service.process.kill().await.unwrap();
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "four").await;
    let before = slices(&stage).await;
    stage.s3.switch_off();
    end(service).await;
    insert(&stage, "five").await;
    stage.s3.switch_on().await.unwrap();
    assert_eq!(slices(&stage).await, before, "while storage was down");
    let service = serve(&stage).await;
    running(&service).await;
    end(service).await;
    let row = only_chain(&stage).await;
    assert_eq!(row["entries"], 1 + 5, "each once: {row}");
    assert_eq!(
        stage.manifests().await.len(),
        1,
        "no other backup was needed"
    );
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["five", "four", "one", "three", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oplog_that_was_cut_off_ends_the_chain_and_a_backup_begins_another() {
    // Entries are removed only when a checkpoint no longer needs them.
    let small = Setup::default().arguments(&["--oplogSize", "16", "--syncdelay", "1"]);
    let mut stage = continuous_with(small).await;
    let webhook = Simulator::start(Role::Http).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", webhook.url());
    let service = serve(&stage).await;
    let first = chain_of(&service).await;
    let before = insert(&stage, "before").await;
    end(service).await;
    let lost = insert(&stage, "lost").await;
    stage.fill_incompressible(100).await;
    stage
        .database()
        .collection::<Document>("blobs")
        .drop()
        .await
        .unwrap();
    let oplog = ServerOplog::new(&stage.client, DATABASE);
    let cut_off = || async {
        let oldest = oplog.oldest().await.unwrap();
        oldest
            .is_some_and(|oldest| oldest > lost.into())
            .then_some(())
    };
    wait_for(LIMIT, cut_off).await.unwrap();
    let service = serve(&stage).await;
    another_chain(&service, &first).await;
    let log = service.log();
    assert!(log.contains("what is between is lost"), "{log}");
    alarmed(&webhook, "oplog_chain_ended").await;
    insert(&stage, "after").await;
    end(service).await;
    assert_eq!(
        stage.manifests().await.len(),
        2,
        "a backup was made at once"
    );
    assert_eq!(chains(&stage).await.len(), 2);
    let (_, notes) = restored(&stage, &["--at", &text(before)], "before").await;
    assert_eq!(notes, ["before"]);
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["after", "before", "lost"]);
    // In between nothing is known.
    let to = stage.uri_file(&stage.mongo.uri());
    let at = text(lost);
    let restore = [
        "restore",
        "--at",
        &at,
        "--trust-bucket",
        "--to-file",
        &to,
        "--database",
        "no",
    ];
    let refused = stage.run(&restore).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_set_back_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    std::fs::create_dir(&data).unwrap();
    let mut stage = continuous_with(Setup::default().folder(&data)).await;
    let service = serve(&stage).await;
    let first = chain_of(&service).await;
    insert(&stage, "kept").await;
    stage.mongo.stop().await.unwrap();
    let copied = |from: &std::path::Path, to: &std::path::Path| {
        let done = std::process::Command::new("cp")
            .arg("-a")
            .arg(from)
            .arg(to)
            .status();
        assert!(done.unwrap().success());
    };
    copied(&data, &copy);
    stage.mongo.start_again().await.unwrap();
    let undone = insert(&stage, "undone").await;
    // Read before the server is set back.
    end(service).await;
    stage.mongo.stop().await.unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copied(&copy, &data);
    stage.mongo.start_again().await.unwrap();
    let service = serve(&stage).await;
    insert(&stage, "other").await;
    another_chain(&service, &first).await;
    let log = service.log();
    assert!(log.contains("it was set back or made anew"), "{log}");
    insert(&stage, "last").await;
    end(service).await;
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["kept", "last", "other"]);
    // The server no longer has it, and storage has.
    let (at, to) = (text(undone), stage.uri_file(&stage.mongo.uri()));
    let restore = ["restore", "--at", &at, "--to-file", &to, "--database", "no"];
    let refused = stage.run(&restore).await;
    assert_eq!(refused.code, Some(i32::from(EXIT_REFUSED)), "{refused:?}");
    let (_, notes) = restored(&stage, &["--at", &at], "undone").await;
    assert_eq!(notes, ["kept", "undone"]);
}

/// A restored database is put in the place of the one that is tailed, and a drill is made: the chain goes on. A change of the feature compatibility
/// version ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_goes_on_over_a_swap_and_a_drill_and_ends_with_another_version() {
    let stage = continuous().await;
    let service = serve(&stage).await;
    let first = chain_of(&service).await;
    insert(&stage, "one").await;
    let to = stage.uri_file(&stage.mongo.uri());
    stage.restore("back").await;
    let swap = [
        "swap",
        "--database",
        DATABASE,
        "--restored",
        "back",
        "--to-file",
        &to,
        "--confirm",
        DATABASE,
        "--incomplete",
    ];
    stage.json(&swap).await;
    insert(&stage, "two").await;
    stage.json(&["drill"]).await;
    stage.backup().await;
    let is_stored = |reply: &Reply| data(reply)["destinations"][0]["through"] != Value::Null;
    service.until(LIMIT, PATH, is_stored).await;
    // Waits until the slice with the backup's position is cut.
    let proved = stage.json(&["prove"]).await;
    assert_eq!(proved["result"], "equal", "{proved}");
    assert_eq!(chain_of(&service).await, first);
    let admin = stage.client.database("admin");
    admin
        .run_command(doc! { "setFeatureCompatibilityVersion": "5.0" })
        .await
        .unwrap();
    let second = another_chain(&service, &first).await;
    assert_ne!(first, second);
    insert(&stage, "three").await;
    end(service).await;
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(
        notes,
        ["three", "two"],
        "the backup that was swapped in has no `one`"
    );
}

/// `BACKUP_FOLDER` is a small file system that only this service sees, and something else fills it.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_reported_and_the_chain_goes_on_when_there_is_room() {
    if !rustix::process::geteuid().is_root() {
        silo_testkit::say::skipped("a full disk", "only root can mount a file system");
        return;
    }
    let mut stage = continuous().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    stage.set("BACKUP_FOLDER", &path);
    let script =
        "mount -t tmpfs -o size=12m,mode=700 tmpfs \"$BACKUP_FOLDER\" && exec \"$0\" serve";
    let mut command = tokio::process::Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(env!("CARGO_BIN_EXE_silo-backup"))
        .env_clear()
        .envs(&stage.environment)
        .env("PATH", std::env::var("PATH").unwrap());
    let service = Service::start("silo-backup", command).await;
    let chain = chain_of(&service).await;
    let seen_by_it = format!("/proc/{}/root{path}", service.process.id().unwrap());
    let filler = format!("{seen_by_it}/filler");
    let full = std::fs::write(&filler, vec![1; 16 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    // Enough for a slice at once.
    stage.fill_incompressible(5).await;
    insert(&stage, "while the disk is full").await;
    let failing = |reply: &Reply| data(reply)["state"] == "failing";
    let status = data(&service.until(LIMIT, PATH, failing).await);
    let detail = status["detail"].as_str().unwrap();
    assert!(detail.contains("No space left on device"), "{status}");
    assert_eq!(status["chain"], chain.as_str(), "{status}");
    std::fs::remove_file(&filler).unwrap();
    running(&service).await;
    insert(&stage, "after it").await;
    end(service).await;
    let row = only_chain(&stage).await;
    assert_eq!(row["entries"], 1 + 5 + 1 + 2, "{row}");
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["after it", "while the disk is full"]);
}

/// The clock of mongod is set ahead by weeks, back by hours, and right again. Positions only go on, by one each while the clock is behind them.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_keeps_the_order_and_is_reported() {
    if !faketime().exists() {
        silo_testkit::say::skipped("a clock that is set", "libfaketime is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let mut stage = continuous_with(Setup::default().clock(&clock)).await;
    let webhook = Simulator::start(Role::Http).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", webhook.url());
    let service = serve(&stage).await;
    let chain = chain_of(&service).await;
    let mut notes = vec![insert(&stage, "1").await];
    for (number, moved) in [(2, "+42d"), (3, "-195m"), (4, "+0")] {
        std::fs::write(&clock, moved).unwrap();
        notes.push(insert(&stage, &number.to_string()).await);
        notes.push(insert(&stage, &format!("{number} again")).await);
    }
    assert!(notes.is_sorted(), "{notes:?}");
    let weeks = 41 * 24 * 3600;
    let alarm = alarmed(&webhook, "oplog_clock").await;
    assert!(alarm.contains("was set back"), "{alarm}");
    let status = service.data(PATH).await;
    assert!(
        status["clockBehindSeconds"].as_u64() > Some(weeks),
        "{status}"
    );
    end(service).await;
    let row = only_chain(&stage).await;
    assert_eq!(
        (&row["chain"], &row["entries"]),
        (&chain.into(), &(1 + 7).into()),
        "{row}"
    );
    for (number, at) in notes.iter().enumerate() {
        let name = format!("at_{number}");
        let (_, restored) = restored(&stage, &["--at", &text(*at)], &name).await;
        assert_eq!(restored.len(), number + 1, "{restored:?}");
    }
}
