//! Context of every command: settings, database, destinations, alerts.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use silo_mongo::connect::{Patience, connect};
use silo_mongo::mongodb::Client;
use silo_spaces::endpoint::Limits;
use silo_spaces::{Spaces, Traffic};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerts::{Alerts, Receivers};
use crate::clock::Clock;
use crate::dump::DumpRequest;
use crate::error::Error;
use crate::repository::Repository;
use crate::run::lease::{Lease, Purpose};
use crate::settings::{Destination, Settings};
use silo_cli::progress::Reporter;

/// Time limit for an interrupted action to clean up.
const CLEAN_UP: Duration = Duration::from_secs(6);

/// Shared state of one process. Clones are cheap and refer to the same state.
#[derive(Clone)]
pub struct Context {
    /// Settings.
    pub settings: Arc<Settings>,
    /// Client of the database's server for runs, drills and restores, which wait for a new primary.
    pub client: Client,
    /// Client of the same server for the status, which fails within seconds.
    pub status_client: Client,
    /// Clock.
    pub clock: Clock,
    /// The first destination.
    pub primary: Repository,
    /// The second copy, if one is configured.
    pub copy: Option<Repository>,
    /// Request counters of each destination.
    pub traffic: Vec<Arc<Traffic>>,
    /// Receivers of alerts.
    pub alerts: Alerts,
    /// Cancelled when this process is to end.
    pub stop: CancellationToken,
    /// Uploads, which clean up after themselves when they are broken off.
    pub uploads: TaskTracker,
}

impl Context {
    /// Sets up clients, without connecting.
    ///
    /// # Errors
    /// When a connection string, TLS or the folder cannot be used.
    pub async fn new(settings: Settings) -> io::Result<Self> {
        let open = async |patience| {
            connect(&settings.mongo, crate::settings::NAME, patience)
                .await
                .map_err(|error| io::Error::other(format!("MONGODB_CONNECTION_STRING {error}")))
        };
        let client = open(Patience::LongRunning).await?;
        let status_client = open(Patience::Interactive).await?;
        std::fs::create_dir_all(&settings.folder).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "BACKUP_FOLDER {} cannot be used: {error}",
                    settings.folder.display()
                ),
            )
        })?;
        let mut traffic = Vec::new();
        let mut repository = |name, destination: &Destination| {
            let spaces = Spaces::new(&destination.endpoint, limits()).map_err(io::Error::other)?;
            traffic.push(spaces.traffic());
            Ok::<_, io::Error>(Repository::new(
                name,
                spaces,
                &destination.bucket,
                &settings.prefix,
            ))
        };
        let primary = repository("primary", &settings.primary)?;
        let copy = settings
            .copy
            .as_ref()
            .map(|copy| repository("copy", copy))
            .transpose()?;
        let receivers = Receivers {
            ping: settings.ping.clone(),
            drill_ping: settings.drill_ping.clone(),
            webhook: settings.webhook.clone(),
        };
        let alerts = Alerts::new(receivers, settings.repeat);
        Ok(Self {
            client,
            status_client,
            clock: Clock::default(),
            primary,
            copy,
            traffic,
            alerts,
            settings: Arc::new(settings),
            stop: CancellationToken::new(),
            uploads: TaskTracker::new(),
        })
    }

    /// The destinations: the primary, then the second copy.
    pub fn repositories(&self) -> impl Iterator<Item = &Repository> {
        std::iter::once(&self.primary).chain(&self.copy)
    }

    /// Request to dump the database.
    #[must_use]
    pub fn dump_request(&self, report: &Reporter) -> DumpRequest {
        let settings = &self.settings;
        DumpRequest {
            client: self.client.clone(),
            database: settings.database.clone(),
            encoding: settings.encoding.clone(),
            version: settings.process.build.version.to_owned(),
            report: report.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Runs an action while holding the lease, until the action ends, the lease is lost, or the process is stopped.
    ///
    /// # Errors
    /// The error of the action, [`Error::Busy`], or [`Error::Interrupted`].
    pub async fn leased<T>(
        &self,
        report: &Reporter,
        work: impl AsyncFnOnce(&Lease) -> Result<T, Error>,
    ) -> Result<T, Error> {
        report.begin("waiting", None, "documents");
        let lease = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Error::Interrupted),
            lease = Lease::acquire(&self.client, Purpose::Backup) => lease?,
        };
        let outcome = tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Error::Interrupted),
            () = lease.lost.cancelled() => Err(Error::Busy("the lease was lost to another run".into())),
            done = work(&lease) => done,
        };
        self.wait_for_cleanup().await;
        lease.release().await;
        outcome
    }

    /// Waits until cancelled uploads have deleted their parts, for a limited time.
    async fn wait_for_cleanup(&self) {
        self.uploads.close();
        drop(tokio::time::timeout(CLEAN_UP, self.uploads.wait()).await);
        self.uploads.reopen();
    }
}

fn limits() -> Limits {
    Limits {
        requests_per_second: NonZeroU32::new(500).unwrap_or(NonZeroU32::MIN),
        ..Limits::default()
    }
}
