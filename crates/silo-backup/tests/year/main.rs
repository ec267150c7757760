//! A year of nights with random faults in database, storage and process, with two destinations and a clock that the test moves.
//!
//! At every moment the backups that retention promises exist in both destinations, and what is there can be restored; a night without a good backup is
//! reported within the allowed hours; nothing outside the prefix changes.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]
#![expect(dead_code, reason = "the stage has more than this needs")]

mod faults;
#[path = "../backup/stage.rs"]
mod stage;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use silo_backup::catalog::Catalog;
use silo_backup::clock::Clock;
use silo_backup::context::Context;
use silo_backup::error::Error;
use silo_backup::operations::{accept, acknowledge};
use silo_backup::retention::{self, Backup, Policy, prune};
use silo_backup::run;
use silo_backup::schedule::watchdog::{Facts, Watchdog};
use silo_backup::settings::Settings;
use silo_backup::status;
use silo_backup::verification::drill::{self, Choice};
use silo_backup::verification::{recheck, verify};
use silo_cli::progress::Reporter;
use silo_core::settings::SettingsReader;
use silo_mongo::mongodb::bson::{Document, doc};
use silo_testkit::ac::{Role, Simulator};
use silo_testkit::mongo::Setup;
use silo_testkit::s3::Storage;

use faults::{Gate, Night, REFUSES, WELL};
use stage::{BUCKET, PREFIX, Stage, spaces};

/// Nights of the simulation.
const NIGHTS: i64 = 365;
/// Largest allowed age of the newest good backup, and the interval of checks in this test, in hours.
const ALLOWED_HOURS: i64 = 26;
/// Hours of a day at which the watchdog looks, after the run at 4.
const LOOKS: [i64; 2] = [7, 16];

struct Year {
    stage: Stage,
    gates: [Gate; 2],
    webhook: Simulator,
    context: Context,
    clock: Clock,
    /// Every good backup of each destination that was published, by retention's facts.
    promised: [Vec<Backup>; 2],
    watchdog: Watchdog,
    /// Alarms and when they were sent.
    alarms: Vec<(Timestamp, String)>,
    last_good: Option<Timestamp>,
    /// `true` if a backup is held or a problem is reported.
    needs_operator: bool,
}

impl Year {
    async fn new() -> Self {
        let mut stage = Stage::with(Setup::default().fail_points()).await;
        stage.fill("users", 30).await;
        let other = Storage::new().await.unwrap();
        spaces(&other.account, &other.url())
            .create_bucket(BUCKET)
            .await
            .unwrap();
        let gates = [
            Gate::new(&stage.s3.url()).await,
            Gate::new(&other.url()).await,
        ];
        let webhook = Simulator::start(Role::Http).await.unwrap();
        for (name, value) in [
            ("SPACES_ENDPOINT", gates[0].proxy.url()),
            ("BACKUP_COPY_ENDPOINT", gates[1].proxy.url()),
            ("BACKUP_COPY_BUCKET", BUCKET.into()),
            ("BACKUP_COPY_KEY", other.account.key.clone()),
            ("BACKUP_COPY_SECRET", other.account.secret.clone()),
            ("ALERT_WEBHOOK_URL", webhook.url()),
        ] {
            stage.set(name, value);
        }
        let clock = Clock::default();
        let context = Self::process(&stage, &clock).await;
        let oldest = SignedDuration::from_hours(ALLOWED_HOURS);
        let watchdog = Watchdog::new(clock.now(), oldest);
        Self {
            stage,
            gates,
            webhook,
            context,
            clock,
            promised: [Vec::new(), Vec::new()],
            watchdog,
            alarms: Vec::new(),
            last_good: None,
            needs_operator: false,
        }
    }

    /// A new process with the same clock.
    async fn process(stage: &Stage, clock: &Clock) -> Context {
        let settings = Settings::read(SettingsReader::from_map(&stage.environment)).unwrap();
        let mut context = Context::new(settings).await.unwrap();
        context.clock = clock.clone();
        context
    }

    /// Runs one attempt. A killed process leaves its lease behind, which the next process finds to be of a dead one.
    async fn attempt(&mut self, killed_in: Option<i64>) -> bool {
        let report = Reporter::default();
        if let Some(requests) = killed_in {
            self.gates[0].kill_in.store(requests, Ordering::SeqCst);
        }
        let ended = tokio::select! {
            ended = run::run(&self.context, &report) => Some(ended),
            () = self.gates[0].killed.notified(), if killed_in.is_some() => None,
        };
        self.gates[0].kill_in.store(i64::MAX, Ordering::SeqCst);
        let Some(ended) = ended else {
            let silo = self.stage.client.database("silo");
            let leases = silo.collection::<Document>("leases");
            let freed = doc! { "$set": { "holder": "" } };
            leases.update_one(doc! {}, freed).await.unwrap();
            self.context = Self::process(&self.stage, &self.clock).await;
            return false;
        };
        match ended {
            Ok(outcome) if outcome.good => {
                prune(&self.context, &report).await;
                drop(recheck::run(&self.context, &report).await);
                true
            }
            // A held backup is not made again in the same night.
            Ok(_) => true,
            Err(error) => {
                assert!(!matches!(error, Error::Busy(_)), "{error}");
                false
            }
        }
    }

    async fn night(&mut self, night: Night, random: &mut SmallRng) {
        match night {
            Night::Primary(state) => self.gates[0].state.store(state, Ordering::SeqCst),
            Night::Copy(state) => self.gates[1].state.store(state, Ordering::SeqCst),
            Night::Both => {
                for gate in &self.gates {
                    gate.state.store(REFUSES, Ordering::SeqCst);
                }
            }
            Night::Database => {
                let full = doc! { "errorCode": 14_031, "namespace": "silo.backups" };
                self.stage
                    .mongo
                    .fail_commands(&["update"], 8, full)
                    .await
                    .unwrap();
            }
            Night::Snapshot => {
                let gone = doc! { "errorCode": 246, "namespace": "silo.canaries" };
                self.stage
                    .mongo
                    .fail_commands(&["find"], 8, gone)
                    .await
                    .unwrap();
            }
            Night::Loss => {
                let users = self.stage.database().collection::<Document>("users");
                let count = users.count_documents(doc! {}).await.unwrap();
                for _ in 0..count / 3 {
                    users.delete_one(doc! {}).await.unwrap();
                }
            }
            Night::Damage => self.damage(random).await,
            Night::Calm | Night::Killed(_) => {}
        }
        // A process that is killed or fails tries again later in the night.
        for (attempt, minutes) in [(0, 5), (1, 30), (2, 120), (3, 0)] {
            let killed_in = match night {
                Night::Killed(requests) if attempt < 2 => Some(requests),
                _ => None,
            };
            if self.attempt(killed_in).await {
                break;
            }
            self.clock.advance(SignedDuration::from_mins(minutes));
        }
        if matches!(night, Night::Database | Night::Snapshot) {
            self.stage.mongo.stop_failing().await.unwrap();
        }
        for gate in &self.gates {
            gate.state.store(WELL, Ordering::SeqCst);
        }
    }

    /// Flips a byte of a random archive of the second copy.
    async fn damage(&self, random: &mut SmallRng) {
        let catalog = Catalog::read(&self.context, &self.context.client).await;
        let Ok(destination) = catalog.destination("copy") else {
            return;
        };
        let entries = &destination.contents.entries;
        if entries.len() < 10 {
            return;
        }
        let key = &entries[random.random_range(0..entries.len())]
            .manifest
            .archive
            .key;
        let copy = spaces_of_copy(&self.stage);
        let key = format!("{PREFIX}{key}");
        let mut bytes = read_all(&copy, &key).await;
        let at = random.random_range(0..bytes.len());
        bytes[at] ^= 1;
        copy.put(BUCKET, &key, bytes.into()).await.unwrap();
    }

    /// The day: the watchdog looks, the operator reacts to what was reported, and a drill is made once a week.
    async fn day(&mut self, number: i64, random: &mut SmallRng) {
        if number % 7 == 3 {
            drop(drill::run(&self.context, &Choice::Scheduled, &Reporter::default()).await);
        }
        let mut hour = 4;
        for look in LOOKS {
            self.clock.advance(SignedDuration::from_hours(look - hour));
            hour = look;
            self.look().await;
        }
        if self.needs_operator {
            self.operator().await;
        }
        // Every few weeks the service is restarted by a deployment.
        if random.random_range(0..20) == 0 {
            self.context = Self::process(&self.stage, &self.clock).await;
        }
    }

    async fn look(&mut self) {
        let now = self.clock.now();
        let measured = status::measure(&self.context).await.unwrap();
        let facts = Facts::of(&measured.value);
        self.last_good = facts.last_good;
        let held = measured
            .value
            .backups
            .iter()
            .any(|backup| backup.state == "held");
        self.needs_operator = held || !measured.value.problems.is_empty();
        let findings = self.watchdog.check(&facts, now);
        self.context.alerts.update(findings, now).await;
        let received = self.webhook.received();
        for request in &received[self.alarms.len()..] {
            self.alarms.push((now, request.body.clone()));
        }
        // A good backup that is too old was reported since it became too old.
        let allowed = SignedDuration::from_hours(ALLOWED_HOURS);
        if let Some(late) = self
            .last_good
            .map(|last| last + allowed)
            .filter(|late| *late < now)
        {
            let reported = self
                .alarms
                .iter()
                .any(|(at, text)| *at >= late && text.contains("overdue"));
            assert!(
                reported,
                "at {now} the last good backup is too old since {late}"
            );
        }
    }

    /// Accepts held backups and acknowledges damaged ones.
    async fn operator(&self) {
        let report = Reporter::default();
        let catalog = Catalog::read(&self.context, &self.context.client).await;
        for entry in catalog.entries() {
            let id = &entry.manifest.id;
            if !entry.manifest.held.is_empty() && entry.accepted.is_none() {
                accept::accept(&self.context, id, "intended", &report)
                    .await
                    .unwrap();
            }
            let damaged = entry.check.as_ref().is_some_and(|check| !check.good);
            if damaged
                && catalog
                    .problems()
                    .iter()
                    .any(|problem| problem.contains(id))
            {
                acknowledge::acknowledge(&self.context, id, "seen", &report)
                    .await
                    .unwrap();
            }
        }
    }

    /// Compares what is stored with what retention promises, and reads a random backup of each destination.
    async fn check(&mut self, random: &mut SmallRng) {
        let catalog = Catalog::read(&self.context, &self.context.client).await;
        assert_eq!(catalog.failed.len(), 0);
        let now = self.clock.now();
        for (promised, destination) in self.promised.iter_mut().zip(&catalog.destinations) {
            let stored = prune::backups(&destination.contents);
            for backup in &stored {
                match promised.iter_mut().find(|known| known.id == backup.id) {
                    Some(known) => (known.good, known.drilled) = (backup.good, backup.drilled),
                    None => promised.push(backup.clone()),
                }
            }
            let clock = retention::Clock { now, ahead: None };
            let plan = retention::plan(promised, Policy::default(), clock, None);
            promised.retain(|backup| {
                let mut decisions = plan.iter();
                decisions.any(|decision| decision.id == backup.id && decision.keep)
            });
            for backup in promised.iter().filter(|backup| backup.good) {
                assert!(
                    stored.iter().any(|stored| stored.id == backup.id),
                    "{} is promised and gone from {}",
                    backup.id,
                    destination.repository.name
                );
            }
            let report = Reporter::default();
            let good: Vec<_> = destination
                .contents
                .entries
                .iter()
                .filter(|entry| entry.is_good())
                .collect();
            if let Some(entry) = good.get(random.random_range(0..good.len().max(1))) {
                let read = verify(
                    &self.context,
                    &destination.repository,
                    &entry.manifest,
                    &report,
                );
                let damaged = read.await.is_err();
                // Only the second copy is damaged on purpose, and a night may pass before it is read again.
                assert!(
                    !damaged || destination.repository.name == "copy",
                    "{}",
                    entry.manifest.id
                );
            }
        }
    }
}

/// Prunes like the scheduler; without one of the destinations nothing is deleted.
async fn prune(context: &Context, report: &Reporter) {
    drop(prune::run(context, false, report).await);
}

fn spaces_of_copy(stage: &Stage) -> silo_spaces::Spaces {
    let account = silo_testkit::s3::Account {
        key: stage.environment["BACKUP_COPY_KEY"].clone(),
        secret: stage.environment["BACKUP_COPY_SECRET"].clone(),
    };
    spaces(&account, &stage.s3.url())
}

async fn read_all(spaces: &silo_spaces::Spaces, key: &str) -> Vec<u8> {
    use futures_util::TryStreamExt;
    let pieces: Vec<bytes::Bytes> = spaces
        .get(BUCKET, key, None)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    pieces.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_nights_keeps_what_it_promises() {
    let seed = 20_261_126;
    let mut random = SmallRng::seed_from_u64(seed);
    let mut year = Year::new().await;
    year.stage.write("theirs/file", b"theirs".to_vec()).await;
    let (mut nights, mut good) = (BTreeMap::<String, usize>::new(), 0);
    for number in 0..NIGHTS {
        let night = if number == 0 {
            Night::Calm
        } else {
            Night::random(&mut random)
        };
        let name = format!("{night:?}");
        let name = name.split('(').next().unwrap().to_owned();
        *nights.entry(name).or_default() += 1;
        let begun = year.clock.now();
        year.stage.fill("users", 1).await;
        year.night(night, &mut random).await;
        year.day(number, &mut random).await;
        year.check(&mut random).await;
        good += usize::from(year.last_good.is_some_and(|last| last >= begun));
        // The next night begins a day after this one did.
        let spent = year.clock.now().duration_since(begun);
        year.clock.advance(SignedDuration::from_hours(24) - spent);
    }
    let left = year.stage.read("theirs/file").await;
    assert_eq!(left, b"theirs", "nothing outside the prefix was touched");
    let catalog = Catalog::read(&year.context, &year.context.client).await;
    let newest = catalog.newest_good().unwrap();
    assert!(newest.is_good());
    drill::run(&year.context, &Choice::Scheduled, &Reporter::default())
        .await
        .unwrap();
    assert!(good > 300, "{good} good nights of {nights:?}");
    silo_testkit::say::done(&format!(
        "{good} good nights of {nights:?}, {} alarms",
        year.alarms.len()
    ));
}
