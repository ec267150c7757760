//! Expired backups are deleted in two steps, and can be restored between them.

use jiff::{SignedDuration, Timestamp};
use silo_backup::repository::manifest::{Manifest, sha256};
use silo_backup::run::published_index::PublishedIndex;

use crate::stage::{BUCKET, PREFIX, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_backup_can_be_pruned_and_restored_without_touching_others() {
    let stage = Stage::with_demo_data().await;
    let id = stage.backup().await;
    stage.write("theirs/data.bin", b"theirs".to_vec()).await;
    let file = stage.read(&format!("{PREFIX}manifests/{id}.json")).await;
    let archive = stage.read(&format!("{PREFIX}data/{id}.archive.gz")).await;
    let mut made = Vec::new();
    // Sixteen of one day long ago: no rule keeps more than the newest of them and the newest seven that count.
    for hour in 0..16 {
        let mut old = Manifest::from_file(&file).unwrap();
        let at = Timestamp::now() - SignedDuration::from_hours(24 * 40)
            + SignedDuration::from_mins(hour);
        (old.started_at, old.as_of) = (at, at);
        old.id = format!(
            "{}-{}",
            at.strftime("%Y%m%dT%H%M%SZ"),
            "abcdefghijklmnop"
                .chars()
                .cycle()
                .skip(usize::try_from(hour).unwrap())
                .take(6)
                .collect::<String>()
        );
        old.archive.key = format!("data/{}.archive.gz", old.id);
        stage
            .write(&format!("{PREFIX}{}", old.archive.key), archive.clone())
            .await;
        let file = old.to_file().unwrap();
        PublishedIndex::new(&stage.client, &old.repository)
            .remember(&old, &sha256(&file), true)
            .await
            .unwrap();
        stage
            .write(&format!("{PREFIX}manifests/{}.json", old.id), file)
            .await;
        made.push(old.id);
    }
    let before = stage.keys().await;
    stage.json(&["prune", "--dry-run"]).await;
    assert_eq!(
        stage.keys().await,
        before,
        "saying what would go deletes nothing"
    );
    // While a published backup is missing, nothing is deleted.
    let missing = format!("{PREFIX}manifests/{}.json", made[9]);
    let file = stage.read(&missing).await;
    stage.spaces.delete(BUCKET, &missing).await.unwrap();
    stage.run(&["prune"]).await;
    assert_eq!(stage.manifests().await.len(), 16);
    stage.write(&missing, file).await;
    stage.json(&["prune"]).await;
    let left = stage.manifests().await;
    assert_eq!(left.len(), 7, "the newest seven that count: {left:?}");
    assert!(left.iter().any(|key| key.contains(&id)));
    let after = stage.keys().await;
    let archives = |keys: &[String]| keys.iter().filter(|key| key.contains("/data/")).count();
    assert_eq!(
        archives(&after),
        archives(&before),
        "archives go seven days later"
    );
    assert!(after.contains(&"theirs/data.bin".to_owned()));

    let gone = &made[0];
    let original = before
        .iter()
        .find(|key| key.ends_with(&format!("manifests/{gone}.json")))
        .unwrap();
    stage.json(&["prune", "--undo", gone]).await;
    assert_eq!(stage.manifests().await.len(), 8);
    assert_eq!(
        Manifest::from_file(&stage.read(original).await).unwrap().id,
        *gone
    );
    stage.json(&["verify", gone]).await;
}
