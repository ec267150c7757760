//! Imports and copies that are killed and run again end as if they had not been.

use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::program::write_private;
use silo_testkit::wire::Wire;

use crate::stage::{DATABASE, Stage, ended, lines, uri};

/// Points of a command at which it is killed.
const POINTS: u64 = 50;

fn documents(name: &str, count: i32) -> Vec<Document> {
    (0..count)
        .map(|at| doc! { "_id": format!("{name}-{at}"), "at": at, "text": "x".repeat(150) })
        .collect()
}

/// Runs a command that writes to `b` through a wire: once undisturbed, and then killed at every point and repeated. `b` must be equal to `a` each time.
async fn killed_at_every_point(stage: &Stage, command: &[&str], wire: &Wire) {
    let forget = async || {
        stage.b.database().drop().await.unwrap();
        stage.b.client.database("silo").drop().await.unwrap();
    };
    wire.restore();
    stage.run(command).await.ends_with(0);
    let bytes = wire.bytes();
    stage.compare().await.ends_with(0);
    let mut killed = 0;
    for point in 1..=POINTS {
        forget().await;
        wire.restore();
        wire.cut_at((bytes * point / (POINTS + 1)).max(1));
        let mut child = stage.spawn(command);
        tokio::select! {
            () = wire.cut() => child.kill().await.unwrap(),
            _ = child.wait() => {}
        }
        killed += usize::from(ended(child).await.code != Some(0));
        wire.restore();
        stage.run(command).await.ends_with(0);
        let compared = stage.compare().await;
        assert_eq!(compared.code, Some(0), "point {point}: {compared:?}");
        let names = stage.b.names().await;
        assert!(
            names.iter().all(|name| !name.ends_with(".importing")),
            "point {point}: {names:?}"
        );
    }
    assert!(killed > 40, "{killed} of {POINTS} were killed");
}

/// The file of `b`'s connection string, through a wire.
async fn wired(stage: &Stage) -> (Wire, String) {
    let address = stage.b.mongo.address();
    let wire = Wire::start(address.parse().unwrap()).await.unwrap();
    let through = stage
        .b
        .mongo
        .uri()
        .replace(&address, &wire.address().to_string());
    // The members of the replica set have other addresses.
    let (server, _) = through.split_once("/?").unwrap_or((&through, ""));
    let file = stage.folder.path().join("wired");
    write_private(
        &file,
        &uri(&format!("{server}/?directConnection=true"), DATABASE),
    )
    .unwrap();
    (wire, file.display().to_string())
}

const COLLECTIONS: [(&str, i32); 3] = [("moods", 4000), ("users", 300), ("things", 2000)];

#[tokio::test(flavor = "multi_thread")]
async fn an_import_killed_at_50_points_ends_equal() {
    let stage = Stage::new().await;
    let texts = COLLECTIONS.map(|(name, count)| (name, count, lines(documents(name, count))));
    let backup: Vec<(&str, u64, &str)> = texts
        .iter()
        .map(|(name, count, text)| (*name, u64::try_from(*count).unwrap(), text.as_str()))
        .collect();
    let folder = stage.backup("backup", &backup);
    for (name, count) in COLLECTIONS {
        stage.a.insert(name, documents(name, count)).await;
    }
    let (wire, file) = wired(&stage).await;
    killed_at_every_point(&stage, &["import", &folder, "--to-file", &file], &wire).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_killed_at_50_points_ends_equal() {
    let stage = Stage::new().await;
    for (name, count) in COLLECTIONS {
        stage.a.insert(name, documents(name, count)).await;
    }
    let capped = doc! { "create": "capped", "capped": true, "size": 1_000_000 };
    stage.a.database().run_command(capped).await.unwrap();
    stage.a.insert("capped", documents("capped", 100)).await;
    let (wire, file) = wired(&stage).await;
    let command = ["copy", &stage.a.file, &file, "--rate", "1000"];
    killed_at_every_point(&stage, &command, &wire).await;
}
