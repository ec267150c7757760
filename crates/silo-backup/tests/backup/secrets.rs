//! Secrets do not leak: canaries in settings and data are in no output.

use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::service::Service;

use crate::service::LIMIT;
use crate::stage::{Stage, ended};

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_in_any_output_argument_manifest_or_metric() {
    let mut stage = Stage::with_demo_data().await;
    let storage_secret = stage.s3.account.secret.clone();
    let canaries = [
        "canary-in-a-document",
        "canary-webhook",
        "canary-ping",
        &storage_secret,
        "backup-password",
        "drill-password",
    ];
    let secrets = stage.database().collection::<Document>("secrets");
    let secret = doc! { "_id": "canary-in-a-document", "key": "canary-in-a-document" };
    secrets.insert_one(secret).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", "http://127.0.0.1:9/canary-webhook");
    stage.set("BACKUP_PING_URL", "http://127.0.0.1:9/canary-ping");
    stage.set("BACKUP_PITR_DAYS", "14");
    stage.set("RUST_LOG", "debug,hyper=info,mongodb=info");
    let mut everything = Vec::new();
    let service = Service::start("silo-backup", stage.command(&["serve"])).await;
    let id = service.process.id().unwrap();
    let seen = service
        .until(LIMIT, "/api/backup/status", |reply| {
            reply.json_or_null()["data"]["lastDrill"]["good"] == true
        })
        .await;
    everything.push(("status", seen.text));
    // A change that continuous backup reads and stores.
    let changed = doc! { "$set": { "key": "canary-in-a-document, changed" } };
    secrets.update_one(doc! {}, changed).await.unwrap();
    let stored = service
        .until(LIMIT, "/api/backup/continuous", |reply| {
            !reply.json_or_null()["data"]["destinations"][0]["through"].is_null()
        })
        .await;
    everything.push(("continuous backup", stored.text));
    for path in [
        "/api/backup/backups",
        "/metrics",
        "/version",
        "/readyz",
        "/api/backup/openapi.json",
    ] {
        everything.push((path, service.get(path).await.text));
    }
    everything.push((
        "arguments",
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{id}/cmdline")).unwrap())
            .into_owned(),
    ));
    everything.push(("the service's log", service.log()));
    drop(service);
    for arguments in [
        &["run"][..],
        &["list"],
        &["verify"],
        &["drill"],
        &["status"],
        &["prune", "--dry-run"],
        &["chain", "--verify"],
        &["history"],
        &["run", "--json"],
    ] {
        let ended = ended(stage.spawn(arguments)).await;
        everything.push(("a command", ended.stdout + &ended.stderr));
    }
    stage.set(
        "MONGODB_CONNECTION_STRING",
        stage
            .mongo
            .backup_uri()
            .replace("backup-password", "canary-in-a-document"),
    );
    let refused = stage.run(&["run"]).await;
    everything.push(("a refused sign-in", refused.stdout + &refused.stderr));
    let keys = stage.keys().await;
    everything.push(("names in the bucket", keys.join("\n")));
    for key in keys.iter().filter(|key| !key.contains("/data/")) {
        everything.push((
            "a file in the bucket",
            String::from_utf8_lossy(&stage.read(key).await).into_owned(),
        ));
    }
    for (place, text) in &everything {
        assert!(!text.is_empty(), "{place}");
        for canary in canaries {
            assert!(!text.contains(canary), "{canary} is in {place}:\n{text}");
        }
    }
}
