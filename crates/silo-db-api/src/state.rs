//! State shared by handlers: the last measurement of each subject, and the tasks that refresh it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use silo_mongo::catalogue::Catalogue;
use silo_web::snapshot::{RefreshPolicy, Snapshot, Source};
use silo_web::stream::Streams;
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::atproto::Atproto;
use crate::clients::Clients;
use crate::collections::Collections;
use crate::compare::{Compared, Comparison};
use crate::details::DetailsCache;
use crate::disk::Disk;
use crate::events::EventLog;
use crate::gateway::Gateway;
use crate::history::{History, Sampler};
use crate::keeps::Keeps;
use crate::operations::Operations;
use crate::server::Server;
use crate::settings::Settings;
use crate::tapes::Tapes;
use crate::users::Users;
use crate::{
    access, atproto, clients, collections, disk, events, keeps, operations, server, tapes, users,
};

/// Most clients of the event stream.
const LISTENERS: usize = 50;
/// Requests that read documents at once.
const BROWSING: usize = 2;
/// Longest pause between two events of it.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The subjects of this service.
#[derive(Clone)]
pub struct State {
    /// State of mongod.
    pub server: Arc<Snapshot<Server>>,
    /// Collections of the database.
    pub collections: Arc<Snapshot<Collections>>,
    /// Details of single collections.
    pub details: Arc<DetailsCache>,
    /// Users and handles.
    pub users: Arc<Snapshot<Users>>,
    /// Connected clients.
    pub clients: Arc<Snapshot<Clients>>,
    /// Use of the database.
    pub access: Arc<Snapshot<Access>>,
    /// Free disk of the server.
    pub disk: Arc<Snapshot<Disk>>,
    /// Operations that run for long.
    pub operations: Arc<Snapshot<Operations>>,
    /// AT-protocol sync.
    pub atproto: Arc<Snapshot<Atproto>>,
    /// KidLisp keeps.
    pub keeps: Arc<Snapshot<Keeps>>,
    /// Owners of tapes.
    pub tapes: Arc<Snapshot<Tapes>>,
    /// State of the comparison with the old cluster.
    pub compared: Arc<Snapshot<Compared>>,
    /// The comparison itself.
    pub comparison: Comparison,
    /// Samples of the last 90 days.
    pub history: Arc<History>,
    /// Changes of the database in the last day.
    pub events: Arc<EventLog>,
    /// Clients of their stream.
    pub streams: Streams,
    /// Catalogue of the collections.
    pub catalogue: Arc<Catalogue>,
    gateway: Gateway,
    /// Limits requests that read documents.
    browsing: Arc<Semaphore>,
    /// For the state of the server only.
    server_gateway: Gateway,
}

impl State {
    /// State without any measurement. `server_gateway` is for the state of the server only.
    ///
    /// # Errors
    /// When the folder of the history cannot be used.
    pub fn new(gateway: Gateway, server_gateway: Gateway, settings: &Settings) -> io::Result<Self> {
        let policies = settings.policies;
        let catalogue = Arc::new(settings.catalogue.clone());
        let unusable = |error| {
            let folder = settings.folder.display();
            io::Error::other(format!("DB_FOLDER {folder} cannot be used: {error}"))
        };
        let history = History::open(&settings.folder).map_err(unusable)?;
        let events = EventLog::open(&settings.folder.join("events")).map_err(unusable)?;
        Ok(Self {
            server: subject("server", policies.server),
            collections: subject("collections", policies.minute),
            details: Arc::new(DetailsCache::new(
                gateway.clone(),
                Arc::clone(&catalogue),
                policies.details,
            )),
            users: subject("users", policies.minute),
            clients: subject("clients", policies.minute),
            access: subject("access", policies.minute),
            disk: subject("disk", policies.minute),
            operations: subject("operations", policies.operations),
            atproto: subject("atproto", policies.slow),
            keeps: subject("keeps", policies.slow),
            tapes: subject("tapes", policies.minute),
            compared: subject("comparison", policies.comparison),
            comparison: Comparison::default(),
            history: Arc::new(history),
            events: Arc::new(events),
            streams: Streams::new(LISTENERS, HEARTBEAT),
            catalogue,
            gateway,
            browsing: Arc::new(Semaphore::new(BROWSING)),
            server_gateway,
        })
    }

    /// Starts measuring: one task for each subject, until the runtime ends.
    pub fn start(&self, settings: &Settings) {
        let gateway = &self.gateway;
        let server = server::Watcher::new(
            self.server_gateway.clone(),
            settings.policies.server.interval,
        );
        let clients = clients::Watcher::new(gateway.clone(), settings.clients.clone());
        let (users, collections) = (Arc::clone(&self.users), Arc::clone(&self.collections));
        keep_measuring(&self.server, move || server.clone().measure());
        let count_every = settings.policies.slow.interval;
        let watcher =
            collections::Watcher::new(gateway.clone(), Arc::clone(&self.catalogue), count_every);
        keep_measuring(&self.collections, move || watcher.clone().measure());
        keep_measuring(&self.users, {
            let gateway = gateway.clone();
            move || users::measure(gateway.clone())
        });
        keep_measuring(&self.clients, move || clients.clone().measure());
        let access = access::Watcher::new(gateway.clone(), collections);
        keep_measuring(&self.access, move || access.clone().measure());
        let disk = disk::Watcher::new(gateway.clone(), Arc::clone(&self.history));
        keep_measuring(&self.disk, move || disk.clone().measure());
        keep_measuring(&self.operations, {
            let gateway = gateway.clone();
            move || operations::measure(gateway.clone())
        });
        keep_measuring(&self.atproto, {
            let gateway = gateway.clone();
            move || atproto::measure(gateway.clone())
        });
        keep_measuring(&self.tapes, {
            let gateway = gateway.clone();
            move || tapes::measure(gateway.clone())
        });
        keep_measuring(&self.compared, {
            let comparison = self.comparison.clone();
            move || std::future::ready(Ok(comparison.measure()))
        });
        keep_measuring(&self.keeps, {
            let gateway = gateway.clone();
            move || keeps::measure(gateway.clone(), Arc::clone(&users))
        });
        let sampler = Sampler {
            history: Arc::clone(&self.history),
            collections: Arc::clone(&self.collections),
            users: Arc::clone(&self.users),
            server: Arc::clone(&self.server),
            access: Arc::clone(&self.access),
            disk: Arc::clone(&self.disk),
        };
        tokio::spawn(sampler.run());
        let watcher = events::Watcher {
            log: Arc::clone(&self.events),
            gateway: gateway.clone(),
            catalogue: Arc::clone(&self.catalogue),
            users: Arc::clone(&self.users),
        };
        tokio::spawn(watcher.run());
    }

    /// Reads documents, for at most two requests at once.
    pub async fn browse<'a, Fut: Future>(
        &'a self,
        read: impl FnOnce(&'a Gateway) -> Fut,
    ) -> Fut::Output {
        // The semaphore is never closed.
        let _slot = self.browsing.acquire().await;
        read(&self.gateway).await
    }

    /// All subjects, for metrics.
    #[must_use]
    pub fn sources(&self) -> Vec<Arc<dyn Source>> {
        vec![
            self.server.clone(),
            self.collections.clone(),
            self.users.clone(),
            self.clients.clone(),
            self.access.clone(),
            self.disk.clone(),
            self.operations.clone(),
            self.atproto.clone(),
            self.keeps.clone(),
            self.tapes.clone(),
            self.compared.clone(),
        ]
    }
}

fn subject<T: serde::Serialize + Send + Sync + 'static>(
    name: &'static str,
    policy: RefreshPolicy,
) -> Arc<Snapshot<T>> {
    Arc::new(Snapshot::new(name, policy))
}

fn keep_measuring<T, F, Fut>(snapshot: &Arc<Snapshot<T>>, measure: F)
where
    T: serde::Serialize + Send + Sync + 'static,
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<silo_web::snapshot::Measured<T>, silo_web::snapshot::SourceError>>
        + Send,
{
    let snapshot = Arc::clone(snapshot);
    tokio::spawn(async move { snapshot.keep_measuring(measure).await });
}
