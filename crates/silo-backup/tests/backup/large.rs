//! Documents of the largest size: backed up, drilled and restored within the memory limit of the container.

use std::time::Duration;

use silo_mongo::mongodb::bson::{Document, doc};

use silo_testkit::mongo::Setup;

use crate::continuous::{all_stored, chains, end, running};
use crate::service::serve;
use crate::stage::{Stage, ended};

/// Three quarters of the memory limit of silo-backup in docker-compose.yml, in KiB: pages of the program's file need the rest.
const LIMIT_KIB: u64 = 96 * 1024;
/// Number of documents.
const DOCUMENTS: i32 = 50;
/// Number of documents that are inserted and changed after a backup.
const CHANGES: i32 = 10;
/// The largest text that fits into a document of 16 MiB beside its other fields.
const TEXT: usize = 16 * 1024 * 1024 - 1024;

/// Runs a command that must succeed. Returns its largest anonymous memory in KiB; the kernel can take back what it has of files.
async fn peak_of(stage: &Stage, arguments: &[&str]) -> u64 {
    let child = stage.spawn(&[arguments, &["--json", "--quiet"]].concat());
    let watching = watch(child.id().unwrap());
    ended(child).await.ends_with(0);
    watching.await.unwrap()
}

/// Watches the anonymous memory of a process until its end: the largest, in KiB.
fn watch(id: u32) -> tokio::task::JoinHandle<u64> {
    let status = format!("/proc/{id}/status");
    tokio::spawn(async move {
        let mut peak: u64 = 0;
        // The file ends with the process.
        while let Ok(text) = tokio::fs::read_to_string(&status).await {
            let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
            let Some(line) = line else { break };
            peak = peak.max(line.trim().trim_end_matches(" kB").parse().unwrap_or(0));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        peak
    })
}

/// Asserts that a command fits, and prints how much it takes.
async fn fits(stage: &Stage, arguments: &[&str]) {
    let peak = peak_of(stage, arguments).await;
    assert!(
        (1..LIMIT_KIB).contains(&peak),
        "{arguments:?}: {} MiB",
        peak / 1024
    );
    let command = arguments[0];
    silo_testkit::say::done(&format!(
        "{command} with documents of 16 MiB: {} MiB",
        peak / 1024
    ));
}

async fn fill(stage: &Stage, count: i32) {
    let large = stage.database().collection::<Document>("large");
    for at in 0..count {
        let letter = char::from(b'a' + u8::try_from(at % 26).unwrap());
        let text: String = std::iter::repeat_n(letter, TEXT).collect();
        // The server's small cache has room for a few at a time.
        let inserted = silo_testkit::wait::wait_for(Duration::from_secs(60), || async {
            let document = doc! { "_id": at, "text": &text };
            large.insert_one(document).await.ok()
        });
        inserted.await.unwrap();
    }
}

async fn stage() -> Stage {
    let server = ["--wiredTigerCacheSizeGB", "1", "--oplogSize", "2000"];
    Stage::with(Setup::default().arguments(&server)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_documents_of_16_mib_fit_into_the_containers_memory() {
    let stage = stage().await;
    fill(&stage, DOCUMENTS).await;
    let to = stage.uri_file(&stage.mongo.uri());
    let restore = ["restore", "latest", "--to-file", &to, "--database", "again"];
    for command in [&["run"][..], &["drill"], &restore] {
        fits(&stage, command).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_16_mib_fit_into_the_containers_memory() {
    let stage = stage().await;
    fill(&stage, 3).await;
    stage.backup().await;
    stage.database().drop().await.unwrap();
    fill(&stage, CHANGES).await;
    let change = doc! { "update": "large", "updates": [{ "q": {}, "u": { "$set": { "n": 1 } }, "multi": true }] };
    stage.database().run_command(change).await.unwrap();
    let file = stage.folder.path().join("moment.gz").display().to_string();
    fits(&stage, &["export", "--at", "latest", &file]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn continuous_backup_of_changes_of_16_mib_fits_into_the_containers_memory() {
    let mut stage = stage().await;
    stage.set("BACKUP_PITR_DAYS", "14");
    stage.set("BACKUP_DRILL_SCHEDULE", "none");
    stage.fill("users", 3).await;
    let service = serve(&stage).await;
    running(&service).await;
    let watching = watch(service.process.id().unwrap());
    fill(&stage, CHANGES).await;
    end(service).await;
    let peak = watching.await.unwrap();
    assert!((1..LIMIT_KIB).contains(&peak), "{} MiB", peak / 1024);
    silo_testkit::say::done(&format!(
        "continuous backup with documents of 16 MiB: {} MiB",
        peak / 1024
    ));
    // Each of them: the next process stores what this one had no time for.
    let service = serve(&stage).await;
    all_stored(&service).await;
    end(service).await;
    let found = chains(&stage).await;
    let entries: u64 = found
        .iter()
        .map(|row| row["entries"].as_u64().unwrap())
        .sum();
    assert!(entries > u64::try_from(CHANGES).unwrap(), "{found:?}");
}
