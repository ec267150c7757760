//! mongod fails in the middle of a run: there is a good backup or none, with the reason, and the next run is good.

use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::mongo::Setup;

use crate::stage::Stage;

/// A stage whose mongod has fail points.
async fn stage() -> Stage {
    let stage = Stage::with(Setup::default().fail_points()).await;
    stage.fill("users", 300).await;
    // More than one batch.
    stage.fill("moods", 12_000).await;
    stage
}

/// Runs a backup during which commands fail once; nothing is published, and the next run is good.
async fn fails_with(commands: &[&str], error: Document, code: &str) {
    let stage = stage().await;
    let context = format!("{commands:?} {error}");
    stage.mongo.fail_commands(commands, 1, error).await.unwrap();
    let failed = stage.run(&["run", "--json", "--quiet"]).await;
    let hit = stage.mongo.stop_failing().await.unwrap();
    assert_eq!(hit, 1, "{context}: the fault was never met: {failed:#?}");
    let failed = failed.ends_with(1).value();
    assert_eq!(failed["error"]["code"], code, "{context}: {failed}");
    assert_eq!(stage.manifests().await, Vec::<String>::new(), "{context}");
    let made = stage.json(&["run"]).await;
    assert_eq!(
        (&made["good"], &made["consistency"], &made["documents"]),
        (&true.into(), &"snapshot".into(), &12_300.into()),
        "{context}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_no_longer_kept_ends_the_run() {
    let unavailable = doc! { "errorCode": 246, "namespace": "aesthetic.users" };
    fails_with(&["find"], unavailable, "snapshot_gone").await;
    // A server that has snapshots is never read without one.
    let unavailable = doc! { "errorCode": 246, "namespace": "silo.canaries" };
    fails_with(&["find"], unavailable, "snapshot_gone").await;
    let too_old = doc! { "errorCode": 239, "namespace": "aesthetic.moods" };
    fails_with(&["getMore"], too_old, "snapshot_gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_mongod_drops_ends_the_run() {
    let dropped = doc! { "closeConnection": true, "namespace": "aesthetic.moods" };
    fails_with(&["getMore"], dropped, "unreachable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_when_the_backup_is_recorded_ends_the_run() {
    let full = doc! { "errorCode": 14_031, "namespace": "silo.backups" };
    fails_with(&["update"], full, "refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_when_the_backup_is_recorded_is_survived() {
    let stage = stage().await;
    let not_primary = doc! { "errorCode": 10107, "errorLabels": ["RetryableWriteError"], "namespace": "silo.backups" };
    stage
        .mongo
        .fail_commands(&["update"], 1, not_primary)
        .await
        .unwrap();
    stage.backup().await;
    assert_eq!(stage.mongo.stop_failing().await.unwrap(), 1);
}

/// Collections that are created, dropped and renamed while the database is read: the run goes on and names them.
#[tokio::test(flavor = "multi_thread")]
async fn collections_that_change_during_the_dump_are_named() {
    let stage = stage().await;
    stage.fill("zeta", 5).await;
    stage.fill("zulu", 5).await;
    // `zeta` and `zulu` come later.
    let run = run_that_reads_moods(&stage).await;
    stage.fill("created", 1).await;
    let database = stage.database();
    database
        .collection::<Document>("zeta")
        .drop()
        .await
        .unwrap();
    let rename = doc! { "renameCollection": "aesthetic.zulu", "to": "aesthetic.zulu2" };
    stage
        .client
        .database("admin")
        .run_command(rename)
        .await
        .unwrap();
    let ended = crate::stage::ended(run).await;
    let made = ended.ends_with(silo_backup::error::EXIT_HELD).value();
    let notes = made["notes"].to_string();
    for note in [
        "created: created during the dump",
        "zeta: dropped during the dump",
        "zulu to zulu2: renamed during the dump",
    ] {
        assert!(notes.contains(note), "{made}");
    }
    assert!(
        made["held"].to_string().contains("zulu to zulu2: renamed"),
        "{made}"
    );
    stage.json(&["verify", made["id"].as_str().unwrap()]).await;
}

/// Reading for more than half of the time that the server keeps a snapshot: the backup is good, and the operator is warned.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_read_is_reported_before_it_becomes_too_slow() {
    let stage = stage().await;
    let admin = stage.client.database("admin");
    for (seconds, warned) in [(300, false), (5, true)] {
        let window = doc! { "setParameter": 1, "minSnapshotHistoryWindowInSeconds": seconds };
        admin.run_command(window).await.unwrap();
        let run = run_that_reads_moods(&stage).await;
        let made = crate::stage::ended(run).await.good();
        let notes = made["notes"].to_string();
        assert_eq!(notes.contains("of the 5 s"), warned, "{made}");
    }
}

/// A collection that is dropped and created again, as `$out` does, cannot be read in the snapshot: the run fails and names it, and the next is complete.
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_replaced_during_the_dump_fails_the_run() {
    let stage = stage().await;
    stage.fill("zeta", 5).await;
    let run = run_that_reads_moods(&stage).await;
    let zeta = stage.database().collection::<Document>("zeta");
    zeta.drop().await.unwrap();
    stage.fill("zeta", 3).await;
    let failed = crate::stage::ended(run).await;
    let failed = failed.ends_with(1).value();
    assert_eq!(failed["error"]["code"], "snapshot_gone", "{failed}");
    let text = failed["error"].to_string();
    assert!(
        text.contains("reading zeta") && text.contains("was replaced"),
        "{failed}"
    );
    assert_eq!(stage.manifests().await, Vec::<String>::new());
    let made = stage.json(&["run"]).await;
    assert_eq!(
        (&made["good"], &made["documents"]),
        (&true.into(), &12_303.into())
    );
}

/// A run that reads `moods`, and is held there for three seconds.
async fn run_that_reads_moods(stage: &Stage) -> tokio::process::Child {
    let block =
        doc! { "blockConnection": true, "blockTimeMS": 3_000, "namespace": "aesthetic.moods" };
    stage
        .mongo
        .fail_commands(&["find"], 1, block)
        .await
        .unwrap();
    let run = stage.spawn(&["run", "--json", "--quiet"]);
    let reading = silo_testkit::wait::wait_for(silo_testkit::program::TIME_LIMIT, || async {
        let admin = stage.client.database("admin");
        let looked = doc! { "currentOp": 1, "command.find": "moods" };
        let found = admin.run_command(looked).await.ok()?;
        (!found.get_array("inprog").ok()?.is_empty()).then_some(())
    });
    reading.await.unwrap();
    run
}

/// A real election while the database is read: reads go on, writes are refused for a second.
#[tokio::test(flavor = "multi_thread")]
async fn an_election_during_a_run_makes_a_good_backup_or_none() {
    let stage = stage().await;
    let run = run_that_reads_moods(&stage).await;
    stage.mongo.step_down().await.unwrap();
    let ended = crate::stage::ended(run).await;
    let published = stage.manifests().await;
    match ended.code {
        Some(0) => {
            assert_eq!(published.len(), 1, "{ended:#?}");
            stage.json(&["verify"]).await;
        }
        _ => assert_eq!(published, Vec::<String>::new(), "{ended:#?}"),
    }
    let made = stage.json(&["run"]).await;
    assert_eq!(made["consistency"], "snapshot", "{made}");
}
