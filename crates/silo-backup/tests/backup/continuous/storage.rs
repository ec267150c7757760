//! Slices in storage: faults, encryption, the second destination, merging.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use age::secrecy::ExposeSecret;
use serde_json::Value;
use silo_backup::continuous::slice::Slice;
use silo_backup::error::{EXIT_INCONCLUSIVE, EXIT_REFUSED};
use silo_testkit::proxy::{Fault, Proxy};

use super::{END, chains, continuous, end, insert, only_chain, restored, running, slices};
use crate::copies::with_copy_on;
use crate::service::serve;
use crate::stage::{BUCKET, spaces};

#[tokio::test(flavor = "multi_thread")]
async fn slices_that_are_not_read_back_as_written_are_stored_again() {
    let mut stage = continuous().await;
    let faults = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&faults);
    let storage = stage.s3.url();
    let proxy = Proxy::start(&storage, move |_, line| {
        if !line.contains("/oplog/") || line.contains("list-type") {
            return Fault::None;
        }
        match seen.fetch_add(1, Ordering::SeqCst) {
            // The first PUT is done, and its GET has other content; then neither.
            1 => Fault::answer("200 OK", "ETag: \"x\"\r\n", "other content"),
            2 => Fault::error_with_200(),
            4 => Fault::Truncate,
            6 => Fault::LoseAnswer,
            _ => Fault::None,
        }
    });
    let proxy = proxy.await.unwrap();
    stage.set("SPACES_ENDPOINT", proxy.url());
    let mut service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "one").await;
    service.process.stop(END).await.unwrap();
    let log = service.log();
    assert!(log.contains("returns different content"), "{log}");
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "two").await;
    end(service).await;
    let service = serve(&stage).await;
    running(&service).await;
    end(service).await;
    assert!(faults.load(Ordering::SeqCst) > 6);
    let row = only_chain(&stage).await;
    assert_eq!(row["entries"], 1 + 2, "{row}");
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_slices_are_in_both_destinations_and_need_their_key() {
    let (mut stage, other) = with_copy_on(continuous().await).await;
    let identity = age::x25519::Identity::generate();
    stage.set("BACKUP_AGE_RECIPIENT", identity.to_public().to_string());
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "one").await;
    stage.backup().await;
    end(service).await;
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "two").await;
    end(service).await;
    assert!(
        slices(&stage)
            .await
            .iter()
            .all(|key| key.ends_with(".bson.gz.age"))
    );
    // The private key is elsewhere: proven with the copies of this machine.
    let proved = stage.json(&["prove"]).await;
    assert_eq!(
        (&proved["result"], &proved["operations"]),
        (&"equal".into(), &2.into()),
        "{proved}"
    );
    let refused = stage.run(&["chain", "--verify"]).await;
    assert_eq!(refused.code, Some(i32::from(EXIT_REFUSED)), "{refused:?}");
    // What this machine has and the second destination has not cannot be restored from there: it is not proven.
    let copied = spaces(&other.account, &other.url());
    let key = slices(&stage).await.remove(0);
    let bytes = stage.read(&key).await;
    copied.delete(BUCKET, &key).await.unwrap();
    let unproven = stage.run(&["prove", "--json", "--quiet"]).await;
    unproven.ends_with(EXIT_INCONCLUSIVE);
    assert!(
        unproven.stdout.contains("copy does not have all changes"),
        "{unproven:?}"
    );
    copied.put(BUCKET, &key, bytes.into()).await.unwrap();
    stage.set("BACKUP_AGE_IDENTITY", identity.to_string().expose_secret());
    let found = chains(&stage).await;
    let rows: Vec<_> = found
        .iter()
        .map(|row| (row["destination"].as_str().unwrap(), &row["entries"]))
        .collect();
    let three = Value::from(3);
    assert_eq!(rows, [("primary", &three), ("copy", &three)]);
    let (_, notes) = restored(&stage, &["--at", "latest", "--copy"], "latest").await;
    assert_eq!(notes, ["one", "two"]);
    other.switch_off();
    let chain = stage.run(&["chain", "--json", "--quiet"]).await;
    let chain = chain.ends_with(1).value();
    assert_eq!(chain.as_array().unwrap().len(), 1, "{chain}");
    assert_eq!(chain[0]["destination"], "primary", "{chain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_slices_are_merged_and_restore_the_same() {
    let mut stage = continuous().await;
    let (is_put, is_faulty) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
    let fault = Arc::clone(&is_faulty);
    let storage = stage.s3.url();
    let proxy = Proxy::start(&storage, move |_, line| {
        if !line.contains("/oplog/") || line.contains("list-type") {
            return Fault::None;
        }
        let was_put = is_put.swap(line.starts_with("PUT "), Ordering::SeqCst);
        let is_read_back = line.starts_with("GET ") && was_put;
        match is_read_back && fault.load(Ordering::SeqCst) {
            true => Fault::answer("200 OK", "ETag: \"x\"\r\n", "other content"),
            false => Fault::None,
        }
    });
    let proxy = proxy.await.unwrap();
    stage.set("SPACES_ENDPOINT", proxy.url());
    for number in 0..4 {
        let service = serve(&stage).await;
        running(&service).await;
        insert(&stage, &format!("{number}")).await;
        end(service).await;
    }
    let before = chains(&stage).await;
    let keys = slices(&stage).await;
    assert!(keys.len() >= 4, "{keys:?}");
    // The newest ones are not merged. As if an hour had passed:
    let stored = stage.read(keys.last().unwrap()).await;
    let last = Slice::read(&stored[..], None).unwrap();
    let mut header = last.header.clone();
    (header.after, header.previous) = (header.through, Some(last.link.clone()));
    header.through.seconds += 2 * 3600;
    let later = Slice::new(header, Vec::new()).unwrap();
    let mut bytes = Vec::new();
    later.write(&mut bytes).unwrap();
    let folder = keys[0].rsplit_once('/').unwrap().0;
    let key = format!("{folder}/{}", later.header.span().file_name());
    stage.write(&key, bytes).await;
    // One that is not read back as it was written replaces nothing.
    is_faulty.store(true, Ordering::SeqCst);
    stage.json(&["prune"]).await;
    assert_eq!(slices(&stage).await.len(), keys.len() + 1);
    is_faulty.store(false, Ordering::SeqCst);
    stage.json(&["prune"]).await;
    let merged = slices(&stage).await;
    assert_eq!(
        merged.len(),
        keys.len() + 2,
        "the small ones stay for seven days"
    );
    let row = only_chain(&stage).await;
    assert_eq!(
        (&row["slices"], &row["entries"]),
        (&2.into(), &before[0]["entries"]),
        "{row}"
    );
    // Without the small ones.
    for key in &keys {
        stage.spaces.delete(BUCKET, key).await.unwrap();
    }
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["0", "1", "2", "3"]);
    stage.json(&["prune"]).await;
    assert_eq!(slices(&stage).await.len(), 2, "nothing is merged twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_destination_that_fails_does_not_stop_the_first() {
    let (mut stage, other) = with_copy_on(continuous().await).await;
    stage.set("BACKUP_COPY_SECRET", "another one");
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "one").await;
    end(service).await;
    assert!(!slices(&stage).await.is_empty());
    stage.set("BACKUP_COPY_SECRET", &other.account.secret);
    // The copy's first backup creates its repository.
    stage.backup().await;
    let service = serve(&stage).await;
    running(&service).await;
    end(service).await;
    let found = chains(&stage).await;
    let rows: Vec<_> = found
        .iter()
        .map(|row| (row["destination"].as_str().unwrap(), &row["entries"]))
        .collect();
    let two = Value::from(2);
    assert_eq!(rows, [("primary", &two), ("copy", &two)]);
}
