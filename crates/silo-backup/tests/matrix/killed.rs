//! A run killed at any point publishes nothing and is reported, and the next run removes its leftovers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use silo_backup::error::EXIT_BUSY;
use silo_backup::repository::Repository;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::ac::{Role, Simulator};
use silo_testkit::wire::Wire;

use crate::stage::{BUCKET, PREFIX, Stage, ended};
use crate::{AT_ONCE, ONE_AFTER_THE_OTHER};

/// Exit code of a run that found another one: the killed one, until its lease has expired.
const BUSY: i32 = EXIT_BUSY as i32;

/// Process to kill.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Us,
    Database,
    Storage,
}

/// A stage on wires that can be cut, with more data than one part of an upload.
struct Wired {
    stage: Stage,
    database: Wire,
    storage: Wire,
    webhook: Simulator,
}

impl Wired {
    async fn new() -> Self {
        let mut stage = Stage::with_demo_data().await;
        stage.fill_incompressible(10).await;
        let uri = stage.environment["MONGODB_CONNECTION_STRING"].clone();
        let (before, after) = uri.split_once('@').unwrap();
        let (address, rest) = after.split_once('/').unwrap();
        let database = Wire::start(address.parse().unwrap()).await.unwrap();
        stage.set(
            "MONGODB_CONNECTION_STRING",
            format!("{before}@{}/{rest}", database.address()),
        );
        let address: SocketAddr = stage
            .s3
            .url()
            .trim_start_matches("http://")
            .parse()
            .unwrap();
        let storage = Wire::start(address).await.unwrap();
        stage.set("SPACES_ENDPOINT", format!("http://{}", storage.address()));
        let webhook = Simulator::start(Role::Http).await.unwrap();
        stage.set("ALERT_WEBHOOK_URL", webhook.url());
        Self {
            stage,
            database,
            storage,
            webhook,
        }
    }

    /// Kills one at a point from 0 to 1 of a run of which so many bytes go over the wires.
    async fn kill(&self, victim: Victim, point: f64, (database, storage): (u64, u64)) {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a point in a few million bytes"
        )]
        let at = |bytes: u64| ((bytes as f64 * point) as u64).max(1);
        let wire = match victim {
            Victim::Storage => &self.storage,
            _ => &self.database,
        };
        wire.cut_at(if victim == Victim::Storage {
            at(storage)
        } else {
            at(database)
        });
        let before = self.stage.manifests().await;
        let alerts = self.webhook.received().len();
        let mut child = self.stage.spawn(&["run", "--json", "--quiet"]);
        if victim == Victim::Us {
            tokio::select! {
                () = self.database.cut() => child.kill().await.unwrap(),
                _ = child.wait() => {}
            }
        }
        let ended = ended(child).await;
        self.database.restore();
        self.storage.restore();
        // A killed process reports nothing; the run after it does.
        if victim != Victim::Us && !matches!(ended.code, Some(0 | BUSY)) {
            assert!(
                self.webhook.received().len() > alerts,
                "{victim:?} at {point} sent no alert: {ended:#?}"
            );
        }
        let new: Vec<String> = self
            .stage
            .manifests()
            .await
            .into_iter()
            .filter(|key| !before.contains(key))
            .collect();
        match ended.code {
            // Only the release of the lease and the webhook come after publishing.
            Some(0) => assert_eq!(new.len(), 1, "{victim:?} at {point}: {ended:#?}"),
            // Published, and killed before it could report that.
            _ if new.len() == 1 && point > 0.9 => {
                let id = new[0].rsplit('/').next().unwrap().trim_end_matches(".json");
                self.stage
                    .run(&["verify", id, "--quiet"])
                    .await
                    .ends_with(0);
            }
            _ => assert!(
                new.is_empty(),
                "{victim:?} at {point} published {new:?}: {ended:#?}"
            ),
        }
    }

    /// `true` if the last run did not record its end.
    async fn unfinished(&self) -> bool {
        let silo = self.stage.client.database("silo");
        let attempts = silo.collection::<Document>("backup_attempts");
        let last = attempts.find_one(doc! { "_id": "run" }).await.unwrap();
        last.is_some_and(|last| {
            last.get_str("outcome")
                .is_ok_and(|outcome| outcome == "unfinished")
        })
    }

    /// A run that nothing breaks; how many bytes go over the wires.
    ///
    /// It reports the run before it, if that did not end.
    async fn whole(&self) -> (u64, u64) {
        let unfinished = self.unfinished().await;
        let alerts = self.webhook.received().len();
        self.database.restore();
        self.storage.restore();
        self.stage.backup().await;
        let alerts = self.webhook.received().split_off(alerts);
        let killed = alerts.iter().any(|alert| alert.body.contains("killed"));
        assert_eq!(killed, unfinished, "{alerts:?}");
        (self.database.bytes(), self.storage.bytes())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_200_points_nothing_is_published_and_the_next_run_clears_up() {
    let _alone = ONE_AFTER_THE_OTHER.lock().await;
    // Cutting the wire to storage takes longest, because storage is asked again: a part of the points.
    let cases: Vec<(Victim, f64)> = (0..200)
        .map(|at| {
            (
                if at % 10 == 9 {
                    Victim::Storage
                } else if at % 2 == 0 {
                    Victim::Us
                } else {
                    Victim::Database
                },
                f64::from(at) / 200.0,
            )
        })
        .collect();
    let (cases, next) = (Arc::new(cases), Arc::new(AtomicUsize::new(0)));
    let workers = (0..AT_ONCE).map(|_| {
        let (cases, next) = (Arc::clone(&cases), Arc::clone(&next));
        tokio::spawn(async move {
            let wired = Wired::new().await;
            let bytes = wired.whole().await;
            while let Some((victim, point)) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                wired.kill(*victim, *point, bytes).await;
            }
            cleared(&wired).await;
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

/// The next run removes unfinished uploads at once and marks orphans, which are deleted seven days later; published backups are kept.
async fn cleared(wired: &Wired) {
    wired.whole().await;
    let spaces = &wired.stage.spaces;
    assert_eq!(spaces.unfinished(BUCKET, None).await.unwrap(), []);
    spaces
        .put(BUCKET, "data/not-ours.txt", "theirs".into())
        .await
        .unwrap();
    let repository = Repository::new("primary", spaces.clone(), BUCKET, PREFIX);
    let remove = async |days: i64| {
        let contents = repository.contents().await.unwrap();
        let now = Timestamp::now() + SignedDuration::from_hours(24 * days);
        repository
            .remove_orphans(&contents, &[], "", now)
            .await
            .unwrap()
    };
    let contents = repository.contents().await.unwrap();
    let orphans = contents.archives.len() - contents.entries.len();
    assert_eq!(remove(0).await, (0, 0), "they are marked only");
    assert_eq!(remove(6).await, (0, 0));
    assert_eq!(remove(8).await, (0, orphans));
    let after = repository.contents().await.unwrap();
    assert_eq!(
        (after.archives.len(), after.entries.len()),
        (contents.entries.len(), contents.entries.len())
    );
    assert!(
        wired
            .stage
            .keys()
            .await
            .contains(&"data/not-ours.txt".to_owned())
    );
}
