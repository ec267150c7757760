//! Continuous backup: the built service stores the oplog in slices, and moments are restored from them alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use age::secrecy::ExposeSecret;
use futures_util::TryStreamExt;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::Value;
use silo_backup::continuous::slice::Slice;
use silo_backup::error::{EXIT_CORRUPT, EXIT_HELD, EXIT_REFUSED};
use silo_backup::oplog::server::ServerOplog;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::RawDocumentBuf;
use silo_mongo::mongodb::bson::{Document, Timestamp, doc};
use silo_testkit::ac::{Role, Simulator};
use silo_testkit::mongo::{MongoServer, Setup};
use silo_testkit::proxy::{Fault, Proxy};
use silo_testkit::service::{Reply, Service};
use silo_testkit::tools::stock_tool;
use silo_testkit::wait::wait_for;
use silo_testkit::workloads::workloads;

use crate::copies::with_copy_on;
use crate::service::{LIMIT, data, serve};
use crate::stage::{DATABASE, PREFIX, Stage};

const PATH: &str = "/api/backup/continuous";
/// Time for a clean end, with the last slices.
const END: Duration = Duration::from_secs(15);

/// A stage with continuous backup, and no backup by schedule.
async fn continuous() -> Stage {
    continuous_with(Setup::default()).await
}

async fn continuous_with(setup: Setup) -> Stage {
    let mut stage = Stage::with(setup).await;
    stage.fill("users", 300).await;
    stage.fill("moods", 1200).await;
    stage.set("BACKUP_PITR_DAYS", "14");
    stage.set("BACKUP_SCHEDULE", "0 0 1 1 *");
    stage.set("BACKUP_DRILL_SCHEDULE", "none");
    stage
}

/// Runs a command on the database; the position of its change.
async fn change(stage: &Stage, command: Document) -> Timestamp {
    let done = stage.database().run_command(command).await.unwrap();
    done.get_timestamp("operationTime").unwrap()
}

async fn insert(stage: &Stage, id: &str) -> Timestamp {
    change(
        stage,
        doc! { "insert": "notes", "documents": [{ "_id": id }] },
    )
    .await
}

fn text(at: Timestamp) -> String {
    format!("{}:{}", at.time, at.increment)
}

/// Waits for an alarm with this code: what was sent.
async fn told(webhook: &Simulator, code: &str) -> String {
    let sent = || async {
        let alarms = webhook.received().into_iter();
        let mut alarms = alarms.map(|alarm| format!("{alarm:?}"));
        alarms.find(|alarm| alarm.contains(code))
    };
    wait_for(LIMIT, sent).await.unwrap()
}

/// Waits until the service reads the oplog.
pub(crate) async fn running(service: &Service) -> Value {
    let is_running = |reply: &Reply| data(reply)["state"] == "running";
    data(&service.until(LIMIT, PATH, is_running).await)
}

/// Asks the service to end: it cuts and stores the last slice.
pub(crate) async fn end(mut service: Service) {
    service.process.stop(END).await.unwrap();
}

/// Chains in storage, every slice read.
pub(crate) async fn chains(stage: &Stage) -> Vec<Value> {
    let chains = stage.json(&["chain", "--verify"]).await;
    chains.as_array().unwrap().clone()
}

/// Restores a moment from storage alone: the notes in it.
async fn restored(stage: &Stage, moment: &[&str], name: &str) -> (Value, Vec<String>) {
    let to = stage.uri_file(&stage.mongo.uri());
    let restore = [
        &["restore"],
        moment,
        &[
            "--from-storage",
            "--trust-bucket",
            "--to-file",
            &to,
            "--database",
            name,
        ],
    ];
    let result = stage.json(&restore.concat()).await;
    assert_eq!(
        result["outcome"]["differences"],
        Value::Array(vec![]),
        "{result}"
    );
    let notes = stage.client.database(name).collection::<Document>("notes");
    let notes = notes.distinct("_id", doc! {}).await.unwrap();
    let notes = notes.iter().map(|id| id.as_str().unwrap().to_owned());
    (result, notes.collect())
}

async fn slices(stage: &Stage) -> Vec<String> {
    let keys = stage.keys().await.into_iter();
    let folder = format!("{PREFIX}oplog/");
    keys.filter(|key| key.starts_with(&folder)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_moment_after_a_backup_is_restored_from_storage() {
    let mut stage = continuous().await;
    let webhook = Simulator::start(Role::Http).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", webhook.url());
    let service = serve(&stage).await;
    let status = running(&service).await;
    let chain = status["chain"].as_str().unwrap().to_owned();
    assert_eq!(stage.manifests().await.len(), 1, "the backup it begins at");
    let one = insert(&stage, "one").await;
    let two = insert(&stage, "two").await;
    change(
        &stage,
        doc! { "delete": "moods", "deletes": [{ "q": {}, "limit": 0 }] },
    )
    .await;
    let alarm = told(&webhook, "mass_deletion").await;
    assert!(alarm.contains("moods lost 1200 documents"), "{alarm}");
    // Of another database: not stored.
    let other = stage
        .client
        .database("other")
        .collection::<Document>("notes");
    other
        .insert_one(doc! { "secret": "of another database" })
        .await
        .unwrap();
    end(service).await;

    let found = chains(&stage).await;
    let [row] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(row["chain"], chain.as_str());
    assert_eq!(
        row["entries"],
        1 + 2 + 1200,
        "with the creation of the collection: {row}"
    );
    // An operator who does not say so gets nothing that only the bucket vouches for.
    let to = stage.uri_file(&stage.mongo.uri());
    let at = text(one);
    let refused = [
        "restore",
        "--at",
        &at,
        "--from-storage",
        "--to-file",
        &to,
        "--database",
        "no",
    ];
    let refused = stage.run(&refused).await;
    assert_eq!(refused.code, Some(i32::from(EXIT_REFUSED)), "{refused:?}");

    let (result, notes) = restored(&stage, &["--at", &at], "first").await;
    assert_eq!(notes, ["one"]);
    let plan = &result["plan"];
    assert_eq!(plan["chain"], chain.as_str(), "{plan}");
    assert_eq!(plan["lastTaken"]["position"], at, "{plan}");
    assert_eq!(plan["firstLeftOut"]["position"], text(two), "{plan}");
    let (_, notes) = restored(&stage, &["--until-before", &text(two)], "before").await;
    assert_eq!(notes, ["one"]);
    let (result, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["one", "two"]);
    assert_eq!(result["plan"]["firstLeftOut"], Value::Null);
    let moods = stage
        .client
        .database("latest")
        .collection::<Document>("moods");
    assert_eq!(moods.count_documents(doc! {}).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_goes_on_after_an_end_a_kill_and_storage_that_is_down() {
    let stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "one").await;
    end(service).await;
    insert(&stage, "two").await;
    // Killed before it cuts anything: read again by the next one.
    let mut service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "three").await;
    service.process.kill().await.unwrap();
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "four").await;
    let before = slices(&stage).await;
    stage.s3.switch_off();
    end(service).await;
    insert(&stage, "five").await;
    stage.s3.switch_on().await.unwrap();
    assert_eq!(slices(&stage).await, before, "while storage was down");
    let service = serve(&stage).await;
    running(&service).await;
    end(service).await;
    let found = chains(&stage).await;
    let [row] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(row["entries"], 1 + 5, "each once: {row}");
    assert_eq!(row["problem"], Value::Null);
    assert_eq!(
        stage.manifests().await.len(),
        1,
        "no other backup was needed"
    );
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["five", "four", "one", "three", "two"]);
}

/// Two backups with changes between them, all in slices.
async fn with_two_backups() -> (Stage, String) {
    let stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    for number in 0..20 {
        insert(&stage, &format!("{number:02}")).await;
    }
    let index =
        doc! { "createIndexes": "moods", "indexes": [{ "key": { "at": 1 }, "name": "at_1" }] };
    change(&stage, index).await;
    change(&stage, doc! { "update": "users", "updates": [{ "q": {}, "u": { "$inc": { "at": 1 } }, "multi": true }] }).await;
    let newest = stage.backup().await;
    insert(&stage, "after").await;
    end(service).await;
    (stage, newest)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_target_takes_the_changes_up_to_it_and_no_other() {
    const GROUPS: usize = 4;
    const EACH: usize = 10;
    let stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    let mut notes: Vec<Timestamp> = Vec::new();
    for group in 0..GROUPS {
        for number in 0..EACH {
            notes.push(insert(&stage, &format!("{group} {number}")).await);
        }
        // The next ones have positions of a later second.
        let second = notes.last().unwrap().time;
        let is_over =
            || async { (jiff::Timestamp::now().as_second() > second.into()).then_some(()) };
        wait_for(LIMIT, is_over).await.unwrap();
    }
    end(service).await;
    let mut random = SmallRng::seed_from_u64(1);
    for number in 0..workloads(6) {
        let at = *notes.choose(&mut random).unwrap();
        let (form, target, taken): (_, _, &dyn Fn(&Timestamp) -> bool) = match number % 3 {
            0 => ("--at", text(at), &|note| *note <= at),
            1 => ("--until-before", text(at), &|note| *note < at),
            _ => {
                let second = jiff::Timestamp::from_second(at.time.into()).unwrap();
                ("--at", second.to_string(), &|note| note.time < at.time)
            }
        };
        let file = stage.folder.path().join(format!("{number}.gz"));
        let file = file.display().to_string();
        let export = [
            "export",
            form,
            &target,
            "--from-storage",
            "--trust-bucket",
            &file,
        ];
        let exported = stage.json(&export).await;
        let (within, after): (Vec<Timestamp>, Vec<Timestamp>) =
            notes.iter().partition(|note| taken(note));
        assert_eq!(
            exported["documents"],
            1500 + within.len(),
            "{target}: {exported}"
        );
        // Before the first note there is at most the creation of its collection.
        if let Some(last) = within.last() {
            assert_eq!(
                exported["lastTaken"]["position"],
                text(*last),
                "{target}: {exported}"
            );
        }
        if let Some(first) = after.first().filter(|_| !within.is_empty()) {
            assert_eq!(
                exported["firstLeftOut"]["position"],
                text(*first),
                "{target}: {exported}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_and_a_damaged_backup_end_no_chain_and_the_one_before_is_rolled_forward() {
    let stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "one").await;
    let damaged = stage.backup().await;
    insert(&stage, "two").await;
    let half =
        doc! { "delete": "moods", "deletes": [{ "q": { "at": { "$gte": 600 } }, "limit": 0 }] };
    change(&stage, half).await;
    let held = stage.run(&["run", "--json", "--quiet"]).await;
    held.ends_with(EXIT_HELD);
    let three = text(insert(&stage, "three").await);
    end(service).await;
    let archives = stage.keys().await.into_iter();
    let is_archive = |key: &String| key.contains("/data/") && key.contains(&damaged);
    let archive = archives.clone().find(is_archive).unwrap();
    let mut bytes = stage.read(&archive).await;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    stage.write(&archive, bytes).await;
    stage
        .run(&["verify", &damaged])
        .await
        .ends_with(EXIT_CORRUPT);

    let found = chains(&stage).await;
    let [row] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(row["problem"], Value::Null, "{row}");
    assert_eq!(row["entries"], 1 + 3 + 600, "{row}");
    let (result, notes) = restored(&stage, &["--at", &three], "rolled").await;
    assert_eq!(notes, ["one", "three", "two"]);
    assert_eq!(
        result["plan"]["backup"], row["chain"],
        "from the only backup that is good: {result}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_backup_proves_the_slices_before_it() {
    let (stage, newest) = with_two_backups().await;
    let proved = stage.json(&["prove"]).await;
    assert_eq!(
        (&proved["id"], &proved["result"]),
        (&newest.into(), &"equal".into()),
        "{proved}"
    );
    // 20 documents in a new collection, the beginning and end of an index, 300 users.
    assert_eq!(proved["operations"], 20 + 1 + 2 + 300, "{proved}");
    let status = stage.json(&["status"]).await;
    assert_eq!(status["lastProof"], proved, "{status}");
    let drilled = stage.json(&["drill"]).await;
    let moment = &drilled["moment"];
    assert_eq!(
        (&drilled["good"], &moment["good"]),
        (&true.into(), &true.into()),
        "{drilled}"
    );
}

/// Slices that someone or a fault has changed do not give the next backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_notices_a_change_that_is_missing_doubled_or_another_one() {
    let (stage, _) = with_two_backups().await;
    let keys = slices(&stage).await;
    let mut key = String::new();
    let mut good = None;
    for candidate in &keys {
        let slice = Slice::read(&stage.read(candidate).await[..], None).unwrap();
        if slice.entries().count() > 20 {
            (key, good) = (candidate.clone(), Some(slice));
        }
    }
    let good = good.unwrap();
    let entries: Vec<Vec<u8>> = good.entries().map(<[u8]>::to_vec).collect();
    let prove = async |entries: Vec<Vec<u8>>| {
        let changed = Slice::new(good.header.clone(), entries.concat()).unwrap();
        let mut bytes = Vec::new();
        changed.write(&mut bytes).unwrap();
        stage.write(&key, bytes).await;
        stage.run(&["prove", "--json", "--quiet"]).await
    };
    let mut missing = entries.clone();
    missing.remove(5);
    let ended = prove(missing).await;
    assert_eq!(ended.code, Some(i32::from(EXIT_CORRUPT)), "{ended:?}");
    assert!(ended.stdout.contains("notes has 19 documents"), "{ended:?}");
    // The value of an update.
    let mut other = entries.clone();
    let decoded = |entry: &Vec<u8>| -> Document {
        let entry = RawDocumentBuf::from_bytes(entry.clone()).unwrap();
        entry.try_into().unwrap()
    };
    let is_update = |entry: &&mut Vec<u8>| decoded(entry).get_str("op").unwrap() == "u";
    let update = other.iter_mut().rev().find(is_update).unwrap();
    let mut document = decoded(update);
    document.insert("o", doc! { "$v": 2, "diff": { "u": { "at": 4711 } } });
    *update = document.to_vec().unwrap();
    let ended = prove(other).await;
    assert_eq!(ended.code, Some(i32::from(EXIT_CORRUPT)), "{ended:?}");
    assert!(ended.stdout.contains("documents of users"), "{ended:?}");
    assert_eq!(prove(entries).await.code, Some(0));
}

/// Waits for another chain than this one.
async fn another_chain(service: &Service, before: &str) -> String {
    let reply = service
        .until(LIMIT, PATH, |reply| {
            let status = data(reply);
            let chain = status["chain"].as_str();
            status["state"] == "running" && chain.is_some_and(|chain| chain != before)
        })
        .await;
    data(&reply)["chain"].as_str().unwrap().to_owned()
}

async fn chain_of(service: &Service) -> String {
    running(service).await["chain"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oplog_that_was_cut_off_ends_the_chain_and_a_backup_begins_another() {
    // Entries are removed only when a checkpoint no longer needs them.
    let small = Setup::default().arguments(&["--oplogSize", "16", "--syncdelay", "1"]);
    let mut stage = continuous_with(small).await;
    let webhook = Simulator::start(Role::Http).await.unwrap();
    stage.set("ALERT_WEBHOOK_URL", webhook.url());
    let service = serve(&stage).await;
    let first = chain_of(&service).await;
    let before = insert(&stage, "before").await;
    end(service).await;
    let lost = insert(&stage, "lost").await;
    stage.fill_incompressible(100).await;
    stage
        .database()
        .collection::<Document>("blobs")
        .drop()
        .await
        .unwrap();
    let oplog = ServerOplog::new(&stage.client, DATABASE);
    let cut_off = || async {
        let oldest = oplog.oldest().await.unwrap();
        oldest
            .is_some_and(|oldest| oldest > lost.into())
            .then_some(())
    };
    wait_for(LIMIT, cut_off).await.unwrap();
    let service = serve(&stage).await;
    another_chain(&service, &first).await;
    let log = service.log();
    assert!(log.contains("what is between is lost"), "{log}");
    told(&webhook, "oplog_chain_ended").await;
    insert(&stage, "after").await;
    end(service).await;
    assert_eq!(
        stage.manifests().await.len(),
        2,
        "a backup was made at once"
    );
    assert_eq!(chains(&stage).await.len(), 2);
    let (_, notes) = restored(&stage, &["--at", &text(before)], "before").await;
    assert_eq!(notes, ["before"]);
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["after", "before", "lost"]);
    // In between nothing is known.
    let to = stage.uri_file(&stage.mongo.uri());
    let at = text(lost);
    let restore = [
        "restore",
        "--at",
        &at,
        "--trust-bucket",
        "--to-file",
        &to,
        "--database",
        "no",
    ];
    let refused = stage.run(&restore).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_set_back_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    std::fs::create_dir(&data).unwrap();
    let mut stage = continuous_with(Setup::default().folder(&data)).await;
    let service = serve(&stage).await;
    let first = chain_of(&service).await;
    insert(&stage, "kept").await;
    stage.mongo.stop().await.unwrap();
    let copied = |from: &std::path::Path, to: &std::path::Path| {
        let done = std::process::Command::new("cp")
            .arg("-a")
            .arg(from)
            .arg(to)
            .status();
        assert!(done.unwrap().success());
    };
    copied(&data, &copy);
    stage.mongo.start_again().await.unwrap();
    let undone = insert(&stage, "undone").await;
    // Read before the server is set back.
    end(service).await;
    stage.mongo.stop().await.unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copied(&copy, &data);
    stage.mongo.start_again().await.unwrap();
    let service = serve(&stage).await;
    insert(&stage, "other").await;
    another_chain(&service, &first).await;
    let log = service.log();
    assert!(log.contains("it was set back or made anew"), "{log}");
    insert(&stage, "last").await;
    end(service).await;
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["kept", "last", "other"]);
    // The server no longer has it, and storage has.
    let (at, to) = (text(undone), stage.uri_file(&stage.mongo.uri()));
    let restore = ["restore", "--at", &at, "--to-file", &to, "--database", "no"];
    let refused = stage.run(&restore).await;
    assert_eq!(refused.code, Some(i32::from(EXIT_REFUSED)), "{refused:?}");
    let (_, notes) = restored(&stage, &["--at", &at], "undone").await;
    assert_eq!(notes, ["kept", "undone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_services_reads_and_the_other_takes_over() {
    let mut stage = continuous().await;
    let service = serve(&stage).await;
    let first = chain_of(&service).await;
    insert(&stage, "one").await;
    let other = tempfile::tempdir().unwrap();
    stage.set("BACKUP_FOLDER", other.path().display().to_string());
    let second = serve(&stage).await;
    let is_standby = |reply: &Reply| data(reply)["state"] == "standby";
    second.until(LIMIT, PATH, is_standby).await;
    end(service).await;
    // Its disk has nothing of the first one's chain, so it begins another.
    another_chain(&second, &first).await;
    insert(&stage, "two").await;
    end(second).await;
    assert_eq!(chains(&stage).await.len(), 2);
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["one", "two"]);
}

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
    let found = chains(&stage).await;
    let [row] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(row["entries"], 1 + 2, "{row}");
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_slices_are_in_both_destinations_and_need_their_key() {
    let (mut stage, _other) = with_copy_on(continuous().await).await;
    let identity = age::x25519::Identity::generate();
    stage.set("BACKUP_AGE_RECIPIENT", identity.to_public().to_string());
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "one").await;
    stage.backup().await;
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
    stage.set("BACKUP_AGE_IDENTITY", identity.to_string().expose_secret());
    let found = chains(&stage).await;
    let rows: Vec<_> = found
        .iter()
        .map(|row| (row["destination"].as_str().unwrap(), &row["entries"]))
        .collect();
    let two = Value::from(2);
    assert_eq!(rows, [("primary", &two), ("copy", &two)]);
    let (_, notes) = restored(&stage, &["--at", "latest", "--copy"], "latest").await;
    assert_eq!(notes, ["one"]);
}

/// Documents by `_id`, and indexes, of each collection.
async fn contents(database: &Database) -> BTreeMap<String, (Vec<Document>, Vec<String>)> {
    let mut contents = BTreeMap::new();
    for name in database.list_collection_names().await.unwrap() {
        let collection = database.collection::<Document>(&name);
        let documents = collection.find(doc! {}).sort(doc! { "_id": 1 });
        let documents = documents.await.unwrap().try_collect().await.unwrap();
        let mut indexes = collection.list_index_names().await.unwrap();
        indexes.sort();
        contents.insert(name, (documents, indexes));
    }
    contents
}

/// As the runbook says: without Silo, on an empty server.
#[tokio::test(flavor = "multi_thread")]
async fn mongorestore_restores_a_backup_and_the_slices_after_it() {
    let Some(mongorestore) = stock_tool("mongorestore") else {
        silo_testkit::say::skipped("restoring slices with mongorestore", "it is not installed");
        return;
    };
    let stage = continuous().await;
    let service = serve(&stage).await;
    let chain = chain_of(&service).await;
    for number in 0..50 {
        insert(&stage, &format!("{number}")).await;
    }
    let change_all = |collection: &str, change: Document| {
        doc! { "update": collection, "updates": [{ "q": {}, "u": change, "multi": true }] }
    };
    change(
        &stage,
        change_all(
            "users",
            doc! { "$inc": { "at": 1 }, "$unset": { "code": 1 } },
        ),
    )
    .await;
    change(
        &stage,
        change_all(
            "moods",
            doc! { "$set": { "nested": { "list": [1, 2, 3] } } },
        ),
    )
    .await;
    change(
        &stage,
        change_all(
            "moods",
            doc! { "$push": { "nested.list": { "$each": [4], "$slice": -2 } } },
        ),
    )
    .await;
    let some =
        doc! { "delete": "moods", "deletes": [{ "q": { "at": { "$lt": 100 } }, "limit": 0 }] };
    change(&stage, some).await;
    end(service).await;
    let service = serve(&stage).await;
    running(&service).await;
    let limit = insert(&stage, "left out").await;
    end(service).await;

    let folder = stage.folder.path();
    let archive = folder.join("archive.gz");
    std::fs::write(
        &archive,
        stage
            .read(&format!("{PREFIX}data/{chain}.archive.gz"))
            .await,
    )
    .unwrap();
    let mut all = Vec::new();
    for key in slices(&stage).await {
        let bytes = stage.read(&key).await;
        all.push(Slice::read(&bytes[..], None).unwrap());
        std::fs::write(folder.join(key.rsplit_once('/').unwrap().1), bytes).unwrap();
    }
    // As after a night: its small ones are still there.
    let merged = Slice::merged(&all).unwrap();
    let name = merged.header.span().file_name();
    merged
        .write(std::fs::File::create(folder.join(name)).unwrap())
        .unwrap();
    let oplog = folder.join("oplog.bson.gz");
    let runbook = include_str!("../../../../ops/RUNBOOK.md");
    let join = runbook
        .lines()
        .find(|line| line.starts_with("ls *_*.bson.gz"))
        .unwrap();
    let joined = std::process::Command::new("sh")
        .args(["-c", join])
        .current_dir(folder)
        .status();
    assert!(joined.unwrap().success());
    let empty = folder.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let other = MongoServer::start().await.unwrap();
    let stock = |arguments: &[String]| {
        let mut command = std::process::Command::new(&mongorestore);
        let done = command
            .arg(format!(
                "--uri=mongodb://{}/?directConnection=true",
                other.address()
            ))
            .arg("--gzip")
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    stock(&[format!("--archive={}", archive.display())]);
    stock(&[
        "--oplogReplay".into(),
        format!("--oplogFile={}", oplog.display()),
        format!("--oplogLimit={}", text(limit)),
        empty.display().to_string(),
    ]);
    restored(&stage, &["--until-before", &text(limit)], "rolled").await;
    let by_stock = other.client().await.unwrap().database(DATABASE);
    let (rolled, by_stock) = (
        contents(&stage.client.database("rolled")).await,
        contents(&by_stock).await,
    );
    assert_eq!(rolled, by_stock);
    assert_eq!(rolled["notes"].0.len(), 50);
    assert_eq!(rolled["moods"].0.len(), 1100);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_slices_are_merged_and_restore_the_same() {
    let stage = continuous().await;
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
    stage.json(&["prune"]).await;
    let merged = slices(&stage).await;
    assert_eq!(
        merged.len(),
        keys.len() + 2,
        "the small ones stay for seven days"
    );
    let after = chains(&stage).await;
    let [row] = &after[..] else {
        panic!("{after:?}")
    };
    assert_eq!(
        (&row["slices"], &row["entries"]),
        (&2.into(), &before[0]["entries"]),
        "{row}"
    );
    // Without the small ones.
    for key in &keys {
        stage
            .spaces
            .delete(crate::stage::BUCKET, key)
            .await
            .unwrap();
    }
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, ["0", "1", "2", "3"]);
    stage.json(&["prune"]).await;
    assert_eq!(slices(&stage).await.len(), 2, "nothing is merged twice");
}

/// Killed when a slice arrives at the storage, or when it is read back, again and again: nothing is lost, and nothing is there twice.
#[tokio::test(flavor = "multi_thread")]
async fn kills_while_slices_are_stored_leave_one_chain() {
    let mut stage = continuous().await;
    let (arrived, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let storage = stage.s3.url();
    let proxy = Proxy::start(&storage, move |_, line| {
        let is_slice = line.contains("/oplog/") && !line.contains("list-type");
        if is_slice {
            arrived.send(line.starts_with("PUT ")).unwrap();
        }
        Fault::None
    });
    let proxy = proxy.await.unwrap();
    stage.set("SPACES_ENDPOINT", proxy.url());
    let mut notes = Vec::new();
    for number in 0..6 {
        let mut service = serve(&stage).await;
        running(&service).await;
        let id = format!("{number}");
        insert(&stage, &id).await;
        notes.push(id);
        let wanted_put = number % 2 == 0;
        tokio::select! {
            ended = service.process.stop(END) => panic!("it ended before it was killed: {ended:?}"),
            () = async { while requests.recv().await != Some(wanted_put) {} } => {}
        }
        service.process.kill().await.unwrap();
        while requests.try_recv().is_ok() {}
    }
    let service = serve(&stage).await;
    running(&service).await;
    end(service).await;
    let found = chains(&stage).await;
    let [row] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (&row["entries"], &row["problem"]),
        (&(1 + 6).into(), &Value::Null),
        "{row}"
    );
    let (_, restored) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(restored, notes);
}

/// mongod is killed under writes: no slice has an entry that mongod lost, and every acknowledged write is in one.
#[tokio::test(flavor = "multi_thread")]
async fn kills_of_mongod_under_writes_lose_no_acknowledged_write() {
    let mut stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for number in 0..40 {
            let id = format!("{round} {number:02}");
            let write = doc! { "insert": "notes", "documents": [{ "_id": &id }], "writeConcern": { "w": "majority", "j": true } };
            change(&stage, write).await;
            acknowledged.push(id);
        }
        // Not acknowledged: they may be there or not.
        let database = stage.database();
        let writing = tokio::spawn(async move {
            let many = (0..1000).map(|number| doc! { "_id": format!("{round} later {number}") });
            for document in many {
                let write =
                    doc! { "insert": "later", "documents": [document], "writeConcern": { "w": 0 } };
                drop(database.run_command(write).await);
            }
        });
        stage.mongo.process().unwrap().kill().await.unwrap();
        writing.abort();
        stage.mongo.start_again().await.unwrap();
        running(&service).await;
    }
    let after = |reply: &Reply| data(reply)["state"] == "running";
    service.until(LIMIT, PATH, after).await;
    stage.backup().await;
    end(service).await;
    assert_eq!(chains(&stage).await.len(), 1);
    let proved = stage.json(&["prove"]).await;
    assert_eq!(proved["result"], "equal", "{proved}");
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(notes, acknowledged);
}

/// A restored database is put in the place of the one that is tailed, and a drill is made: the chain goes on. A change of the feature compatibility
/// version ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_goes_on_over_a_swap_and_a_drill_and_ends_with_another_version() {
    let stage = continuous().await;
    let service = serve(&stage).await;
    let first = chain_of(&service).await;
    insert(&stage, "one").await;
    let to = stage.uri_file(&stage.mongo.uri());
    stage.restore("back").await;
    let swap = [
        "swap",
        "--database",
        DATABASE,
        "--restored",
        "back",
        "--to-file",
        &to,
        "--confirm",
        DATABASE,
    ];
    stage.json(&swap).await;
    insert(&stage, "two").await;
    stage.json(&["drill"]).await;
    stage.backup().await;
    let is_stored = |reply: &Reply| data(reply)["destinations"][0]["through"] != Value::Null;
    service.until(LIMIT, PATH, is_stored).await;
    // Waits until the slice with the backup's position is cut.
    let proved = stage.json(&["prove"]).await;
    assert_eq!(proved["result"], "equal", "{proved}");
    assert_eq!(chain_of(&service).await, first);
    let admin = stage.client.database("admin");
    admin
        .run_command(doc! { "setFeatureCompatibilityVersion": "5.0" })
        .await
        .unwrap();
    let second = another_chain(&service, &first).await;
    assert_ne!(first, second);
    insert(&stage, "three").await;
    end(service).await;
    let (_, notes) = restored(&stage, &["--at", "latest"], "latest").await;
    assert_eq!(
        notes,
        ["three", "two"],
        "the backup that was swapped in has no `one`"
    );
}

/// As the runbook says when the droplet is gone: a new server, the bucket, and its keys.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_new_server_everything_that_was_stored_comes_back() {
    let mut stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "one").await;
    end(service).await;
    insert(&stage, "lost with the server").await;

    let other = Setup::default().accounts(DATABASE).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    stage.set("MONGODB_CONNECTION_STRING", other.backup_uri());
    stage.set("DRILL_CONNECTION_STRING", other.drill_uri());
    stage.set("BACKUP_FOLDER", folder.path().display().to_string());
    stage.json(&["init", "--adopt"]).await;
    let to = stage.uri_file(&other.uri());
    let restore = [
        "restore",
        "--at",
        "latest",
        "--trust-bucket",
        "--to-file",
        &to,
        "--database",
        DATABASE,
    ];
    let result = stage.json(&restore).await;
    assert_eq!(
        result["outcome"]["differences"],
        Value::Array(vec![]),
        "{result}"
    );
    let back = other.client().await.unwrap().database(DATABASE);
    let (notes, moods) = (
        back.collection::<Document>("notes"),
        back.collection::<Document>("moods"),
    );
    assert_eq!(
        notes.distinct("_id", doc! {}).await.unwrap(),
        ["one".into()]
    );
    assert_eq!(moods.count_documents(doc! {}).await.unwrap(), 1200);
    // The new server has another history: a chain of its own, from a backup of its own.
    let before = stage.manifests().await.len();
    let service = serve(&stage).await;
    running(&service).await;
    end(service).await;
    assert_eq!(stage.manifests().await.len(), before + 1);
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
