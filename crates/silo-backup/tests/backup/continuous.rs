//! Continuous backup: the built service stores the oplog in slices, and moments are restored from them alone.

mod chains;
mod damaged;
mod kills;
mod proofs;
mod stock;
mod storage;
mod two_services;

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::Value;
use silo_backup::error::EXIT_REFUSED;
use silo_backup::oplog::Position;
use silo_mongo::mongodb::bson::{Document, Timestamp, doc};
use silo_testkit::ac::{Role, Simulator};
use silo_testkit::mongo::Setup;
use silo_testkit::service::{Reply, Service};
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
async fn alarmed(webhook: &Simulator, code: &str) -> String {
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

/// Waits until every change that mongod has is stored.
pub(crate) async fn all_stored(service: &Service) {
    let is_stored = |reply: &Reply| data(reply)["unsafeSeconds"] == 0;
    service.until(LIMIT, PATH, is_stored).await;
}

/// Id of the chain that the service continues.
async fn chain_of(service: &Service) -> String {
    running(service).await["chain"].as_str().unwrap().to_owned()
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

/// The only chain in storage, every slice read, without a problem.
async fn only_chain(stage: &Stage) -> Value {
    let chains = chains(stage).await;
    assert_eq!(
        (chains.len(), &chains[0]["problem"]),
        (1, &Value::Null),
        "{chains:?}"
    );
    chains[0].clone()
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

/// Keys of the slices in storage, in their order.
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
    let alarm = alarmed(&webhook, "mass_deletion").await;
    assert!(alarm.contains("moods lost 1200 documents"), "{alarm}");
    // It stays on the page.
    let is_open = |reply: &Reply| {
        let alarms = data(reply)["alarms"].take();
        let open = alarms.as_array().into_iter().flatten();
        open.map(|alarm| alarm["code"].clone())
            .any(|code| code == "mass_deletion")
    };
    service.until(LIMIT, "/api/backup/alarms", is_open).await;
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

    let row = only_chain(&stage).await;
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

/// As the runbook says when the droplet is gone: a new server, the bucket, and its keys.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_new_server_everything_that_was_stored_comes_back() {
    let mut stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    let one = insert(&stage, "one").await;
    end(service).await;
    insert(&stage, "lost with the server").await;

    let other = Setup::default().accounts(DATABASE).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    stage.set("MONGODB_CONNECTION_STRING", other.backup_uri());
    stage.set("DRILL_CONNECTION_STRING", other.drill_uri());
    stage.set("BACKUP_FOLDER", folder.path().display().to_string());
    stage.json(&["init", "--adopt"]).await;
    // A mistake shortly before is looked for in storage: the new server's oplog begins later.
    let from = jiff::Timestamp::from_second(i64::from(one.time) - 5).unwrap();
    let from = from.to_string();
    let each = ["history", "--collection", "notes", "--each"];
    for options in [&["--from-storage"][..], &["--from", &from]] {
        let found = stage.json(&[&each[..], options].concat()).await;
        let changes = found["each"].as_array().unwrap();
        let kinds: Vec<&str> = changes
            .iter()
            .map(|it| it["kind"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["create", "insert"], "{found}");
        assert_eq!(changes[1]["position"], text(one));
        assert_eq!(found["destination"], "primary");
    }
    let to = stage.uri_file(&other.uri());
    // A collection that was created after the backup.
    let only = [
        "restore",
        "--at",
        "latest",
        "--trust-bucket",
        "--only",
        "notes",
    ];
    let other_name = ["--to-file", &to, "--database", "notes_then"];
    let result = stage.json(&[&only[..], &other_name].concat()).await;
    assert_eq!(
        (&result["documents"], &result["collections"]),
        (&1.into(), &1.into()),
        "{result}"
    );
    // A moment that has not come.
    let later = format!("{}:1", one.time + 1000);
    let not_stored = ["restore", "--at", &later, "--trust-bucket"];
    let not_stored = stage.run(&[&not_stored[..], &other_name].concat()).await;
    not_stored.ends_with(EXIT_REFUSED);
    assert!(
        not_stored.stderr.contains("storage has changes up to"),
        "{not_stored:?}"
    );
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
    let add = async || {
        let note = doc! { "insert": "notes", "documents": [{ "x": 1 }] };
        let done = back.run_command(note).await.unwrap();
        done.get_timestamp("operationTime").unwrap()
    };
    let three = add().await;
    let later = async || Some(add().await).filter(|at| at.time > three.time);
    wait_for(LIMIT, later).await.unwrap();
    end(service).await;
    assert_eq!(stage.manifests().await.len(), before + 1);
    // The history goes on over both, and names the time between them.
    let chain = stage.json(&["chain"]).await;
    let options = ["--from", &from, "--from-storage"];
    let found = stage.json(&[&each[..], &options].concat()).await;
    let changes = found["each"].as_array().unwrap();
    let kinds: Vec<&str> = changes
        .iter()
        .map(|it| it["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..3], ["create", "insert", "insert"], "{found}");
    assert_eq!(changes[1]["position"], text(one));
    // The time before the first, and the time between them.
    let notes = found["notes"].as_array().unwrap();
    let missing = "primary has no slices of the time from ";
    let of_missing = |note: &&Value| note.as_str().unwrap().starts_with(missing);
    assert_eq!(notes.iter().filter(of_missing).count(), 2, "{found}");
    assert_eq!(notes.len(), 2, "{found}");
    let of_one = ["--chain", chain[0]["chain"].as_str().unwrap()];
    let found = stage.json(&[&each[..], &options, &of_one].concat()).await;
    assert_eq!(found["each"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!(found["notes"].as_array().unwrap().len(), 1, "{found}");
    let nothing_else = [&each[..], &options, &["--chain", "other"]].concat();
    stage.run(&nothing_else).await.ends_with(EXIT_REFUSED);
    // The slice with the changes before is read, too, for transactions that end later.
    let seconds = i64::from(three.time) + 1;
    let later = jiff::Timestamp::from_second(seconds).unwrap().to_string();
    let options = ["--from", &later, "--from-storage"];
    let found = stage.json(&[&each[..], &options].concat()).await;
    let changes = found["each"].as_array().unwrap().iter();
    let mut times = changes.map(|it| it["at"].as_str().unwrap());
    assert!(times.all(|at| at >= later.as_str()), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_has_what_is_stored_in_each_destination() {
    let (mut stage, other) = with_copy_on(continuous().await).await;
    let status = stage.run(&["status", "--json"]).await.ends_with(1).value();
    assert_eq!(status["continuous"][0]["ageSeconds"], Value::Null);
    // All is in the backup, and nothing has changed since.
    let base = stage.backup().await;
    let quiet = stage.json(&["status"]).await["continuous"].take();
    assert_eq!(quiet[0]["newest"], Value::Null, "{quiet}");
    assert!(quiet[0]["ageSeconds"].as_i64() <= Some(60), "{quiet}");
    let service = serve(&stage).await;
    running(&service).await;
    insert(&stage, "one").await;
    end(service).await;
    let stored = stage.json(&["status"]).await["continuous"].take();
    let chain = stage.json(&["chain"]).await;
    for (at, name) in ["primary", "copy"].into_iter().enumerate() {
        assert_eq!(stored[at]["destination"], name);
        assert_eq!(stored[at]["newest"], chain[at], "{stored}");
        assert_eq!(chain[at]["chain"], base.as_str());
    }
    let as_of: jiff::Timestamp = chain[0]["from"].as_str().unwrap().parse().unwrap();
    let after: Position = chain[0]["after"].as_str().unwrap().parse().unwrap();
    assert_eq!(as_of.as_second(), i64::from(after.seconds));
    // One is gone, and then the server: what the other has is known.
    drop(other);
    let shown = stage.run(&["status"]).await;
    let shown = &shown.ends_with(1).stdout;
    let line = |name: &str| {
        let begin = format!("continuous backup in {name}: ");
        let line = shown.lines().find_map(|line| line.strip_prefix(&begin));
        line.unwrap_or_else(|| panic!("{name}: {shown}")).to_owned()
    };
    assert!(line("primary").starts_with("every moment from "), "{shown}");
    assert!(line("copy").starts_with("NOT KNOWN: "), "{shown}");
    stage.mongo.stop().await.unwrap();
    let gone = stage.run(&["status", "--json"]).await.ends_with(1).value();
    assert_eq!(gone["continuous"][0]["newest"], chain[0], "{gone}");
    let errors = gone["errors"].as_array().unwrap();
    let sources: Vec<_> = errors.iter().map(|error| &error["source"]).collect();
    assert_eq!(sources, ["copy", "mongod"], "{gone}");
    let shown = stage.run(&["status"]).await;
    assert!(shown.stdout.contains("last run: not known"), "{shown:?}");
    stage.set("BACKUP_PITR_DAYS", "0");
    let off = stage.run(&["status", "--json"]).await.value();
    assert_eq!(off["continuous"], Value::Null);
}

/// Continuous backup stood still, and backups went on: the last change in storage is not the last state.
#[tokio::test(flavor = "multi_thread")]
async fn latest_is_refused_where_a_backup_is_later_than_all_slices() {
    let stage = continuous().await;
    let service = serve(&stage).await;
    running(&service).await;
    let one = insert(&stage, "one").await;
    end(service).await;
    insert(&stage, "two").await;
    let newest = stage.backup().await;
    let to = stage.uri_file(&stage.mongo.uri());
    let latest = [
        "restore",
        "--at",
        "latest",
        "--from-storage",
        "--trust-bucket",
        "--to-file",
        &to,
        "--database",
        "no",
    ];
    let refused = stage.run(&latest).await;
    refused.ends_with(EXIT_REFUSED);
    assert!(refused.stderr.contains(&newest), "{refused:?}");
    let (_, notes) = restored(&stage, &["--at", &text(one)], "one").await;
    assert_eq!(notes, ["one"]);
}
