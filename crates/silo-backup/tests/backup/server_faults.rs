//! mongod fails in the middle of a run: there is a good backup or none, with the reason, and the next run is good.

use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::mongo::Setup;

use crate::stage::Stage;

/// A stage whose mongod has fail points.
async fn stage() -> Stage {
    let stage = Stage::with(Setup::default().fail_points()).await;
    stage.fill("users", 300).await;
    stage.fill("moods", 1200).await;
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
        (&true.into(), &"snapshot".into(), &1500.into()),
        "{context}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_no_longer_kept_ends_the_run() {
    let unavailable = doc! { "errorCode": 246, "namespace": "aesthetic.users" };
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
async fn a_server_that_is_not_primary_when_the_backup_is_recorded_ends_the_run() {
    let not_primary = doc! { "errorCode": 10107, "namespace": "silo.backups" };
    fails_with(&["update"], not_primary, "refused").await;
}

/// A real election while the database is read: reads go on, writes are refused for a second.
#[tokio::test(flavor = "multi_thread")]
async fn an_election_during_a_run_makes_a_good_backup_or_none() {
    let stage = stage().await;
    // Holds the run where it reads, until the primary has stepped down.
    let block =
        doc! { "blockConnection": true, "blockTimeMS": 3_000, "namespace": "aesthetic.moods" };
    stage
        .mongo
        .fail_commands(&["find"], 1, block)
        .await
        .unwrap();
    let run = stage.spawn(&["run", "--json", "--quiet"]);
    let reading = silo_testkit::wait::wait_for(crate::stage::TEST_TIMEOUT, || async {
        let admin = stage.client.database("admin");
        let looked = doc! { "currentOp": 1, "command.find": "moods" };
        let found = admin.run_command(looked).await.ok()?;
        (!found.get_array("inprog").ok()?.is_empty()).then_some(())
    });
    reading.await.unwrap();
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
