//! Documents of the largest size: backed up, drilled and restored within the memory limit of the container.

use std::time::Duration;

use silo_mongo::mongodb::bson::{Document, doc};

use silo_testkit::mongo::Setup;

use crate::stage::{Stage, ended};

/// Three quarters of the memory limit of silo-backup in docker-compose.yml, in KiB: pages of the program's file need the rest.
const LIMIT_KIB: u64 = 96 * 1024;
/// Number of documents.
const DOCUMENTS: i32 = 50;
/// The largest text that fits into a document of 16 MiB beside its other fields.
const TEXT: usize = 16 * 1024 * 1024 - 1024;

/// Runs a command that must succeed. Returns its largest anonymous memory in KiB; the kernel can take back what it has of files.
async fn peak_of(stage: &Stage, arguments: &[&str]) -> u64 {
    let child = stage.spawn(&[arguments, &["--json", "--quiet"]].concat());
    let status = format!("/proc/{}/status", child.id().unwrap());
    let watching = tokio::spawn(async move {
        let mut peak: u64 = 0;
        // The file ends with the process.
        while let Ok(text) = tokio::fs::read_to_string(&status).await {
            let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
            let Some(line) = line else { break };
            peak = peak.max(line.trim().trim_end_matches(" kB").parse().unwrap_or(0));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        peak
    });
    ended(child).await.ends_with(0);
    watching.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_documents_of_16_mib_fit_into_the_containers_memory() {
    let server = ["--wiredTigerCacheSizeGB", "1", "--oplogSize", "2000"];
    let stage = Stage::with(Setup::default().arguments(&server)).await;
    let large = stage.database().collection::<Document>("large");
    for at in 0..DOCUMENTS {
        let letter = char::from(b'a' + u8::try_from(at % 26).unwrap());
        let text: String = std::iter::repeat_n(letter, TEXT).collect();
        // The server's small cache has room for a few at a time.
        let inserted = silo_testkit::wait::wait_for(Duration::from_secs(60), || async {
            let document = doc! { "_id": at, "text": &text };
            large.insert_one(document).await.ok()
        });
        inserted.await.unwrap();
    }
    let to = stage.uri_file(&stage.mongo.uri());
    let restore = ["restore", "latest", "--to-file", &to, "--database", "again"];
    for command in [&["run"][..], &["drill"], &restore] {
        let peak = peak_of(&stage, command).await;
        assert!(
            (1..LIMIT_KIB).contains(&peak),
            "{command:?}: {} MiB",
            peak / 1024
        );
        silo_testkit::say::done(&format!(
            "{} with documents of 16 MiB: {} MiB",
            command[0],
            peak / 1024
        ));
    }
}
