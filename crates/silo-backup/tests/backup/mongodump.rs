//! The real tool as the engine, where it is.

use silo_testkit::say;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_mongodump_fails_cleanly_and_a_real_one_makes_a_backup() {
    let mut stage = Stage::filled().await;
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
