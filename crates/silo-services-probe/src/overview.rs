//! Overview: figures of every Silo service in one answer, gathered concurrently, each with its own age. For a service that does not answer, its last
//! figures remain with their date, or `null`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use silo_web::internal_client::InternalClient;
use silo_web::snapshot::{Freshness, Measured, RefreshPolicy, Snapshot, SourceError};
use utoipa::ToSchema;

use crate::services::{Counts, Services};

/// Time limit for each service's answer.
pub const LIMIT: Duration = Duration::from_millis(1500);
/// Refresh interval, time limit of a refresh, and time that a request waits for the first one.
pub const REFRESH: RefreshPolicy = RefreshPolicy {
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(3),
    initial_wait: Duration::from_millis(1650),
};
/// Most errors passed on for one part of the overview.
const MAX_ERRORS_PER_PART: usize = 8;

/// Overview of all services. A part that was never received is `null`.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Overview {
    /// Users, from silo-db-api.
    pub users: Option<Part<Users>>,
    /// Collections, from silo-db-api.
    pub collections: Option<Part<Collections>>,
    /// The database server, from silo-db-api.
    pub database: Option<Part<Database>>,
    /// Disk of the database server, from silo-db-api.
    pub disk: Option<Part<Disk>>,
    /// KidLisp keeps, from silo-db-api.
    pub keeps: Option<Part<Keeps>>,
    /// Storage, from silo-storage-api.
    pub storage: Option<Part<Storage>>,
    /// Backups, from silo-backup.
    pub backup: Option<Part<Backup>>,
    /// Services, from this one.
    pub services: Option<Part<Counts>>,
    /// The parts that are `null`.
    pub missing: Vec<&'static str>,
}

/// One part, and how old it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part<T> {
    /// The figures.
    #[serde(flatten)]
    pub figures: T,
    /// When they were measured.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub as_of: Option<Timestamp>,
    /// Freshness of the part; `stale` if the service did not answer the last request.
    pub state: Freshness,
}

/// Number of users.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Users {
    users: Option<u64>,
    handles: Option<u64>,
    without_handle: Option<u64>,
    new: NewUsers,
}

/// Number of new users.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewUsers {
    last_7_days: Option<u64>,
}

/// Contents of the database.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Collections {
    pub(crate) total: Total,
    disposable: Disposable,
}

/// All collections together.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Total {
    pub(crate) collections: Option<u64>,
    pub(crate) documents: Option<u64>,
    pub(crate) data_bytes: Option<u64>,
}

/// Collections that the seed report lists as ones to drop.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disposable {
    share_of_data_bytes: Option<f64>,
}

/// State of the database server.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    pub(crate) status: String,
    pub(crate) version: Option<String>,
    pub(crate) uptime_seconds: Option<u64>,
}

/// Disk of the database server.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    pub(crate) free_bytes: Option<u64>,
    pub(crate) used_share: Option<f64>,
    pub(crate) days_until_full: Option<f64>,
}

/// Number of kept pieces.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Keeps {
    kept: Option<u64>,
    pending: Option<u64>,
    failed: Option<u64>,
}

/// Contents of object storage.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    pub(crate) bytes: Option<u64>,
    pub(crate) objects: Option<u64>,
    known_bytes: Option<u64>,
    scan: Scan,
}

/// Progress of the scan.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Scan {
    scanning: bool,
    objects: Option<u64>,
}

/// Status of backups.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    pub(crate) last_good: Option<LastGood>,
    pub(crate) overdue: bool,
    /// Number of problems; silo-backup lists them.
    #[serde(deserialize_with = "counted")]
    pub(crate) problems: usize,
}

/// The newest good backup.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastGood {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) as_of: Timestamp,
    age_seconds: u64,
    pub(crate) bytes: u64,
    pub(crate) documents: u64,
}

/// Deserialises a list as its length.
fn counted<'de, D: Deserializer<'de>>(list: D) -> Result<usize, D::Error> {
    Vec::<IgnoredAny>::deserialize(list).map(|list| list.len())
}

/// Gatherer of the overview.
pub struct Gatherer {
    /// Client of silo-db-api.
    pub db_api: InternalClient,
    /// Client of silo-storage-api.
    pub storage_api: InternalClient,
    /// Client of silo-backup.
    pub backup_api: InternalClient,
    /// Status of all services.
    pub services: Arc<Snapshot<Services>>,
    /// Last overview, for parts that fail this time.
    pub last: Mutex<Overview>,
}

impl Gatherer {
    /// Requests the figures of all services concurrently.
    ///
    /// # Errors
    /// When no service has ever answered.
    pub async fn gather(&self) -> Result<Measured<Overview>, SourceError> {
        let db = &self.db_api;
        let (users, collections, database, disk, keeps, storage, backup) = tokio::join!(
            part::<Users>(db, "/api/db/users/count"),
            part::<Collections>(db, "/api/db/collections"),
            part::<Database>(db, "/api/db/health"),
            part::<Disk>(db, "/api/db/disk"),
            part::<Keeps>(db, "/api/kidlisp/stats"),
            part::<Storage>(&self.storage_api, "/api/storage/usage"),
            part::<Backup>(&self.backup_api, "/api/backup/status"),
        );
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notes = PartErrors::default();
        notes.take("users", users, &mut last.users);
        notes.take("collections", collections, &mut last.collections);
        notes.take("database", database, &mut last.database);
        notes.take("disk", disk, &mut last.disk);
        notes.take("keeps", keeps, &mut last.keeps);
        notes.take("storage", storage, &mut last.storage);
        notes.take("backup", backup, &mut last.backup);
        if notes.missing.len() == notes.parts {
            let why = notes.errors.first().map(|error| error.detail.clone());
            let detail = format!(
                "no other service of Silo has answered yet: {}",
                why.unwrap_or_default()
            );
            return Err(SourceError::new("services", "unreachable", detail));
        }
        notes.take("services", self.counts(), &mut last.services);
        last.missing = notes.missing;
        Ok(Measured {
            value: last.clone(),
            errors: notes.errors,
        })
    }

    fn counts(&self) -> PartResult<Counts> {
        let reading = self.services.current()?;
        let part = Part {
            figures: reading.value.counts,
            as_of: Some(reading.as_of),
            state: reading.state,
        };
        Ok((part, reading.errors))
    }
}

/// A part with the errors that its service reported, or the reason why there is none.
type PartResult<T> = Result<(Part<T>, Vec<SourceError>), SourceError>;

async fn part<T: DeserializeOwned>(client: &InternalClient, path: &str) -> PartResult<T> {
    let answer = client.get_envelope::<T>(path).await?;
    let part = Part {
        figures: answer.data,
        as_of: answer.meta.as_of,
        state: answer.meta.state,
    };
    Ok((part, answer.meta.errors))
}

/// Errors of the parts of an overview, and which parts are missing.
#[derive(Default)]
struct PartErrors {
    parts: usize,
    missing: Vec<&'static str>,
    errors: Vec<SourceError>,
}

impl PartErrors {
    /// Sets a part, or keeps the last one marked as stale.
    fn take<T>(&mut self, name: &'static str, result: PartResult<T>, last: &mut Option<Part<T>>) {
        self.parts += 1;
        match result {
            Ok((part, errors)) => {
                *last = Some(part);
                let new = errors
                    .into_iter()
                    .filter(|error| !self.errors.contains(error));
                let new: Vec<_> = new.take(MAX_ERRORS_PER_PART).collect();
                self.errors.extend(new);
            }
            Err(error) => {
                match last {
                    Some(part) => part.state = Freshness::Stale,
                    None => self.missing.push(name),
                }
                let source = match error.source.as_str() {
                    own if own == name => own.to_owned(),
                    service => format!("{name}, from {service}"),
                };
                self.errors.push(SourceError { source, ..error });
            }
        }
    }
}
