//! State shared by handlers: status of services, overview, AT-protocol facts, and connected clients.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use log::warn;
use silo_web::internal_client::InternalClient;
use silo_web::snapshot::{Snapshot, Source};
use silo_web::stream::Streams;

use crate::alarms::AlarmKeeper;
use crate::atproto_network::Network;
use crate::gateway::connectivity::Connectivity;
use crate::gateway::fetch::Fetcher;
use crate::history::History;
use crate::overview::{self, Gatherer, Overview};
use crate::probe::{Kind, Probe};
use crate::prober::Prober;
use crate::settings::Settings;
use crate::status_page;
use crate::status_store::StatusStore;

/// Most clients of the event stream.
const LISTENERS: usize = 50;
/// Interval of heartbeats on the event stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// For so long after the start, a part that is missing is asked for again each second: silo-storage-api's first scan takes a moment.
const STARTING: Duration = Duration::from_secs(60);

/// A service that flaps lets the overview be gathered out of turn no more often than this.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// The subjects of this service.
#[derive(Clone)]
pub struct State {
    /// Status of all services.
    pub store: Arc<StatusStore>,
    /// Overview of all services.
    pub overview: Arc<Snapshot<Overview>>,
    /// Alarms.
    pub alarms: Arc<AlarmKeeper>,
    /// AT-protocol facts of each server.
    pub networks: Vec<Network>,
    /// Clients of the event stream.
    pub streams: Streams,
    probes: Vec<Probe>,
    gatherer: Arc<Gatherer>,
    fetcher: Fetcher,
    connectivity: Connectivity,
    db_api: InternalClient,
    status: Option<PathBuf>,
}

impl State {
    /// Subjects as the last process left them.
    ///
    /// # Errors
    /// When TLS cannot be set up, or the folder for results cannot be used.
    pub fn new(settings: &Settings) -> std::io::Result<Self> {
        let history = History::open(&settings.folder).map_err(|error| {
            let folder = settings.folder.display();
            std::io::Error::new(
                error.kind(),
                format!("PROBE_FOLDER {folder} cannot be used: {error}"),
            )
        })?;
        let probes = settings.probes.clone();
        let store = Arc::new(StatusStore::new(&probes, history));
        let db_api = InternalClient::new("silo-db-api", &settings.db_api, overview::LIMIT)?;
        let gatherer = Gatherer {
            db_api: db_api.clone(),
            storage_api: InternalClient::new(
                "silo-storage-api",
                &settings.storage_api,
                overview::LIMIT,
            )?,
            backup_api: InternalClient::new("silo-backup", &settings.backup_api, overview::LIMIT)?,
            services: Arc::clone(&store.services),
            last: Mutex::default(),
        };
        let overview = Arc::new(Snapshot::new("overview", overview::REFRESH));
        let receivers = settings.alarms.clone();
        let alarms = AlarmKeeper::new(receivers, Arc::clone(&store), Arc::clone(&overview));
        let of_atproto = probes.iter().filter(|probe| probe.kind == Kind::Atproto);
        Ok(Self {
            networks: of_atproto.map(|probe| Network::new(&probe.name)).collect(),
            store,
            overview,
            alarms: Arc::new(alarms),
            streams: Streams::new(LISTENERS, HEARTBEAT),
            probes,
            gatherer: Arc::new(gatherer),
            fetcher: Fetcher::new()?,
            connectivity: Connectivity::new(settings.connectivity.clone()),
            db_api,
            status: settings.status.clone(),
        })
    }

    /// Starts probing and gathering, until the runtime ends.
    pub fn start(&self) {
        let prober = Prober {
            probes: self.probes.clone(),
            store: Arc::clone(&self.store),
            fetcher: self.fetcher.clone(),
            connectivity: self.connectivity.clone(),
        };
        tokio::spawn(prober.run());
        let alarms = Arc::clone(&self.alarms);
        tokio::spawn(async move { alarms.run().await });
        for network in &self.networks {
            if let Some(probe) = self.probes.iter().find(|probe| probe.name == network.name) {
                network.start(probe.clone(), self.fetcher.clone(), self.db_api.clone());
            }
        }
        let (overview, gatherer) = (Arc::clone(&self.overview), Arc::clone(&self.gatherer));
        let (status, soon) = (self.status.clone(), Arc::clone(&self.overview));
        tokio::spawn(async move {
            let started = Instant::now();
            let gather = || async {
                let gathered = gatherer.gather().await;
                if started.elapsed() < STARTING
                    && gathered
                        .as_ref()
                        .is_ok_and(|it| !it.value.missing.is_empty())
                {
                    let overview = Arc::clone(&soon);
                    tokio::spawn(async move {
                        tokio::time::sleep(AT_MOST_EVERY).await;
                        overview.measure_now();
                    });
                }
                if let (Some(file), Ok(gathered)) = (&status, &gathered)
                    && let Err(error) = status_page::write(file, &gathered.value, Timestamp::now())
                {
                    warn!("STATUS_FILE cannot be written: {error}");
                }
                gathered
            };
            overview.keep_measuring(gather).await;
        });
        let (overview, mut counts) = (Arc::clone(&self.overview), self.store.counts());
        tokio::spawn(async move {
            while counts.changed().await.is_ok() {
                overview.invalidate();
                tokio::time::sleep(AT_MOST_EVERY).await;
            }
        });
    }

    /// All subjects, for metrics.
    #[must_use]
    pub fn sources(&self) -> Vec<Arc<dyn Source>> {
        vec![
            self.store.services.clone(),
            self.overview.clone(),
            self.alarms.view.clone(),
        ]
    }
}
