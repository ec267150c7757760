//! Slices that are damaged, or cannot be read.

use serde_json::Value;
use silo_backup::continuous::slice::{Slice, Span};
use silo_backup::error::{EXIT_CORRUPT, EXIT_INCONCLUSIVE};
use silo_backup::oplog::Position;
use silo_mongo::mongodb::bson::Timestamp;
use silo_testkit::ac::{Role, Simulator};
use silo_testkit::proxy::{Fault, Proxy};

use super::proofs::{with_two_backups, write_slice};
use super::{alarmed, continuous, end, insert, restored, running, slices, text};
use crate::service::serve;
use crate::stage::Stage;

/// Changes one bit of a slice.
async fn damage(stage: &Stage, key: &str) {
    let mut bytes = stage.read(key).await;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    stage.write(key, bytes).await;
}

/// Key of the slice that has this change.
async fn slice_at(stage: &Stage, at: Timestamp) -> String {
    let at = Position::from(at);
    let has = |key: &&String| {
        let name = key.rsplit_once('/').unwrap().1;
        let span = Span::of_file_name(name).unwrap();
        span.after < at && at <= span.through
    };
    let keys = slices(stage).await;
    keys.iter().find(has).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_slice_before_the_backup_or_after_the_moment_prevents_no_restore() {
    let stage = continuous().await;
    let mut notes = Vec::new();
    let mut backup = String::new();
    for name in ["one", "two", "three"] {
        let service = serve(&stage).await;
        running(&service).await;
        if name == "two" {
            backup = stage.backup().await;
        }
        notes.push(insert(&stage, name).await);
        end(service).await;
    }
    for at in [notes[0], notes[2]] {
        damage(&stage, &slice_at(&stage, at).await).await;
    }
    let two = text(notes[1]);
    let (result, found) = restored(&stage, &["--at", &two], "second").await;
    assert_eq!(found, ["one", "two"]);
    let plan = &result["plan"];
    assert_eq!(plan["backup"], backup.as_str(), "{plan}");
    assert_eq!(plan["lastTaken"]["position"], two, "{plan}");
    assert_eq!(plan["firstLeftOut"], Value::Null, "{plan}");
    // The moments of a damaged slice itself are lost, and one of another chain is not taken.
    let key = slice_at(&stage, notes[1]).await;
    let mut slice = Slice::read(&stage.read(&key).await[..], None).unwrap();
    slice.header.chain = "another".into();
    let entries: Vec<Vec<u8>> = slice.entries().map(<[u8]>::to_vec).collect();
    write_slice(&stage, &key, &slice, &entries).await;
    for at in notes {
        let file = stage.folder.path().join(text(at)).display().to_string();
        let at = text(at);
        let export = ["export", "--at", &at, "--from-storage", "--trust-bucket"];
        let export = stage.run(&[&export[..], &[&file]].concat()).await;
        export.ends_with(EXIT_CORRUPT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_that_is_not_restored_or_not_read_fails_the_drill() {
    let (mut stage, _) = with_two_backups().await;
    let webhook = Simulator::start(Role::Http).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", webhook.url());
    let storage = stage.s3.url();
    let proxy = Proxy::start(&storage, |_, line| {
        match line.contains("/oplog/") && !line.contains("list-type") {
            true => Fault::answer(
                "403 Forbidden",
                "",
                "<Error><Code>AccessDenied</Code></Error>",
            ),
            false => Fault::None,
        }
    });
    let proxy = proxy.await.unwrap();
    stage.set("SPACES_ENDPOINT", proxy.url());
    let drill = ["drill", "--json", "--quiet"];
    let drilled = stage.run(&drill).await.ends_with(EXIT_INCONCLUSIVE).value();
    let result = (&drilled["good"], &drilled["moment"]);
    assert_eq!(result, (&true.into(), &Value::Null), "{drilled}");
    alarmed(&webhook, "moment_not_drilled").await;

    stage.set("SPACES_ENDPOINT", storage);
    for key in slices(&stage).await {
        damage(&stage, &key).await;
    }
    let drilled = stage.run(&drill).await.ends_with(EXIT_CORRUPT).value();
    let result = (&drilled["good"], &drilled["moment"]["good"]);
    assert_eq!(result, (&true.into(), &false.into()), "{drilled}");
    alarmed(&webhook, "moment_drill_failed").await;
    let again = stage.run(&drill).await.ends_with(EXIT_CORRUPT).value();
    assert_eq!(
        again["moment"]["moment"], drilled["moment"]["moment"],
        "the same one, not another that may be good"
    );
}
