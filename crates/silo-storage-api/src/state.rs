//! State shared by handlers: the last scan, progress of the running one, and the lookup of users.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use silo_spaces::{Spaces, Traffic};
use silo_web::snapshot::{RefreshPolicy, Snapshot, Source};

use crate::gateway::buckets::Bucket;
use crate::gateway::users::UserDirectory;
use crate::owners::Layout;
use crate::progress::Progress;
use crate::scanner::{Scanner, ScannerConfig};
use crate::settings::Settings;
use crate::storage::Storage;
use crate::store::Store;

/// Duration after which a running scan makes the result overdue.
const LONGEST_SCAN: Duration = Duration::from_secs(3 * 3600);
/// Time that a request waits for the first scan result. A scan takes longer; the answer then reports its progress.
const INITIAL_WAIT: Duration = Duration::from_millis(200);

/// The subjects of this service.
#[derive(Clone)]
pub struct State {
    /// Result of the last scan.
    pub storage: Arc<Snapshot<Storage>>,
    /// Progress of the scan.
    pub progress: Arc<Progress>,
    /// Lookup of users.
    pub users: UserDirectory,
    /// The scanner.
    pub scanner: Arc<Scanner>,
    /// Request counters of each endpoint.
    pub traffic: Vec<Arc<Traffic>>,
}

impl State {
    /// Subjects as the last process left them.
    ///
    /// # Errors
    /// When an HTTP client cannot be set up, or the folder of the scan results cannot be made.
    pub fn new(settings: &Settings) -> io::Result<Self> {
        let pace = RefreshPolicy {
            interval: settings.every,
            timeout: LONGEST_SCAN,
            initial_wait: INITIAL_WAIT,
        };
        let store = Store::open(&settings.folder).map_err(|error| {
            let folder = settings.folder.display();
            io::Error::other(format!("STORAGE_FOLDER {folder} cannot be used: {error}"))
        })?;
        let users = UserDirectory::new(&settings.db_api)?;
        let (storage, progress) = (
            Arc::new(Snapshot::new("storage", pace)),
            Arc::<Progress>::default(),
        );
        let Clients {
            buckets,
            endpoints,
            traffic,
        } = clients(settings)?;
        let scanner = Scanner::new(ScannerConfig {
            buckets,
            endpoints,
            users: users.clone(),
            store,
            progress: Arc::clone(&progress),
            storage: Arc::clone(&storage),
            workers: settings.workers,
            every: settings.every,
        });
        Ok(Self {
            storage,
            progress,
            users,
            scanner: Arc::new(scanner),
            traffic,
        })
    }

    /// Starts scanning, until the runtime ends.
    pub fn start(&self) {
        let scanner = Arc::clone(&self.scanner);
        tokio::spawn(async move { scanner.run().await });
    }

    /// All subjects, for metrics.
    #[must_use]
    pub fn sources(&self) -> Vec<Arc<dyn Source>> {
        vec![self.storage.clone()]
    }
}

/// Client of each bucket, and a bucket and request counters of each endpoint.
struct Clients {
    buckets: Vec<(Bucket, Layout)>,
    endpoints: Vec<Bucket>,
    traffic: Vec<Arc<Traffic>>,
}

/// Buckets of one endpoint and key share connections and limits.
fn clients(settings: &Settings) -> io::Result<Clients> {
    let mut clients = HashMap::<_, Spaces>::new();
    let (mut buckets, mut endpoints) = (Vec::new(), Vec::new());
    for bucket in &settings.buckets {
        let endpoint = &bucket.endpoint;
        let key = endpoint.key.expose().to_owned();
        let same = (
            endpoint.url.clone(),
            endpoint.region.clone(),
            key,
            endpoint.addressing,
        );
        let spaces = match clients.get(&same) {
            Some(spaces) => spaces.clone(),
            None => {
                let spaces = Spaces::new(endpoint, settings.limits).map_err(io::Error::other)?;
                clients.insert(same, spaces.clone());
                endpoints.push(Bucket {
                    name: bucket.name.clone(),
                    spaces: spaces.clone(),
                });
                spaces
            }
        };
        let name = bucket.name.clone();
        buckets.push((Bucket { name, spaces }, bucket.layout));
    }
    let traffic = clients.values().map(Spaces::traffic).collect();
    Ok(Clients {
        buckets,
        endpoints,
        traffic,
    })
}
