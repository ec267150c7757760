//! The real tool as the engine, where it is.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use silo_testkit::say;

use crate::stage::{PREFIX, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_mongodump_fails_cleanly_and_an_installed_one_makes_a_backup() {
    let mut stage = Stage::with_demo_data().await;
    stage.set("BACKUP_ENGINE", "mongodump");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).find(|folder| folder.join("mongodump").is_file());
    let Some(folder) = there else {
        let failed = stage
            .run(&["run", "--json", "--quiet"])
            .await
            .ends_with(1)
            .value();
        assert!(
            failed["error"]["detail"]
                .as_str()
                .unwrap()
                .contains("mongodump cannot be started"),
            "{failed}"
        );
        assert_eq!(stage.manifests().await.len(), 0);
        say::skipped(
            "a backup by mongodump, and the cross-check by mongorestore",
            "they are not installed",
        );
        return;
    };
    stage.set("MONGO_TOOLS", folder.display().to_string());
    stage.backup().await;
    stage.json(&["drill"]).await;
}

/// The real mongodump cannot be made to end at a given byte, so a script copies an archive and ends like it.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_or_incomplete_mongodump_publishes_nothing() {
    let mut stage = Stage::with_demo_data().await;
    let id = stage.backup().await;
    let stored = stage.read(&format!("{PREFIX}data/{id}.archive.gz")).await;
    let mut archive = Vec::new();
    flate2::read::MultiGzDecoder::new(&stored[..])
        .read_to_end(&mut archive)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let program = folder.path().join("mongodump");
    std::fs::write(
        &program,
        format!("#!/bin/sh\nhead -c \"$(cat {at}/bytes)\" {at}/archive\n. {at}/ending\n"),
    )
    .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(folder.path().join("archive"), &archive).unwrap();
    stage.set("BACKUP_ENGINE", "mongodump");
    stage.set("MONGO_TOOLS", at.to_string());
    let play = |bytes: usize, ending: &str| {
        std::fs::write(folder.path().join("bytes"), bytes.to_string()).unwrap();
        std::fs::write(folder.path().join("ending"), ending).unwrap();
    };
    let before = stage.manifests().await;
    for tenth in 0..=10 {
        let bytes = archive.len() * tenth / 10;
        for ending in ["kill -9 $$", "exit 0", "echo no space left >&2; exit 1"] {
            if tenth == 10 && ending == "exit 0" {
                continue;
            }
            play(bytes, ending);
            let failed = stage.run(&["run", "--json", "--quiet"]).await;
            let failed = failed.ends_with(1).value();
            assert_eq!(
                failed["error"]["code"], "engine_failed",
                "{bytes} bytes, {ending}: {failed}"
            );
            assert_eq!(stage.manifests().await, before, "{bytes} bytes, {ending}");
        }
    }
    // A complete archive and exit status 0 make a backup: the simulated mongodump is accepted in principle.
    play(archive.len(), "exit 0");
    stage.backup().await;
    assert_eq!(stage.manifests().await.len(), before.len() + 1);
}
