//! Slow facts of the AT-protocol network, refreshed less often than checks: number of accounts, and share of AC's content in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use silo_web::internal_client::InternalClient;
use silo_web::snapshot::{Measured, RefreshPolicy, Snapshot, SourceError};
use utoipa::ToSchema;

use crate::gateway::fetch::{Fetched, Fetcher, Reply};
use crate::kinds::atproto::{ACCOUNTS, read_accounts};
use crate::probe::{Expect, Probe};

/// Interval between counts of accounts, also after a failure: a count takes one page per thousand accounts.
const COUNT_EVERY: Duration = Duration::from_secs(3600);
const COUNT_AGAIN: Duration = Duration::from_secs(300);
/// The most pages, and the accounts on each.
const PAGES: u64 = 100;
const PAGE: u64 = 1000;
/// Interval of requests to silo-db-api for the synced share; silo-db-api counts every five minutes.
const SYNC_EVERY: Duration = Duration::from_secs(60);

/// The accounts of an AT-protocol server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accounts {
    /// Number of accounts.
    pub total: u64,
    /// Accounts that are not deactivated or taken down.
    pub active: u64,
    /// When they were counted.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
}

/// Share of AC's content in the AT-protocol network, from silo-db-api.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    /// When it was counted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub as_of: Option<Timestamp>,
    /// Each synced collection.
    pub collections: Vec<Synced>,
}

/// One collection of AC's that is synced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    /// The collection.
    pub name: String,
    /// Number of documents.
    pub documents: Option<u64>,
    /// Documents to be synced that have a record key.
    pub with_rkey: Option<u64>,
    /// Documents to be synced that have none.
    pub without_rkey: Option<u64>,
    /// Share of documents to be synced that have a record key: `withRkey / (withRkey + withoutRkey)`, in percent.
    pub percent: Option<f64>,
}

/// Answer of silo-db-api, as far as it is used.
#[derive(Deserialize)]
struct SyncedCollections {
    collections: Vec<Synced>,
}

/// Both subjects of one AT-protocol server.
#[derive(Clone)]
pub struct Network {
    /// Name of the service.
    pub name: String,
    /// Number of accounts.
    pub accounts: Arc<Snapshot<Accounts>>,
    /// Synced share of AC's content.
    pub sync: Arc<Snapshot<Sync>>,
}

impl Network {
    /// A network without any measurement.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let pace = |every, deadline| RefreshPolicy {
            interval: every,
            timeout: Duration::from_secs(deadline),
            initial_wait: Duration::ZERO,
        };
        Self {
            name: name.to_owned(),
            accounts: Arc::new(Snapshot::new("accounts", pace(COUNT_EVERY, 120))),
            sync: Arc::new(Snapshot::new("sync", pace(SYNC_EVERY, 5))),
        }
    }

    /// Finds out both, until the runtime ends.
    pub fn start(&self, probe: Probe, fetcher: Fetcher, db_api: InternalClient) {
        let accounts = Arc::clone(&self.accounts);
        tokio::spawn(async move {
            loop {
                let started = Instant::now();
                let counted = count(&probe, &fetcher).await;
                let pause = if counted.is_ok() {
                    COUNT_EVERY
                } else {
                    COUNT_AGAIN
                };
                accounts.publish(counted.map(Measured::from), started.elapsed());
                tokio::time::sleep(pause).await;
            }
        });
        let sync = Arc::clone(&self.sync);
        tokio::spawn(async move {
            let look = || async {
                let answer = db_api
                    .get_envelope::<SyncedCollections>("/api/db/atproto")
                    .await?;
                Ok(Measured {
                    value: Sync {
                        as_of: answer.meta.as_of,
                        collections: answer.data.collections,
                    },
                    errors: answer.meta.errors,
                })
            };
            sync.keep_measuring(look).await;
        });
    }
}

/// Counts accounts, page by page.
async fn count(probe: &Probe, fetcher: &Fetcher) -> Result<Accounts, SourceError> {
    let source = format!("{} accounts", probe.name);
    let failed = |code: &str, detail: String| SourceError::new(source.clone(), code, detail);
    let mut accounts = Accounts {
        total: 0,
        active: 0,
        as_of: Timestamp::now(),
    };
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES {
        let mut url = probe.at(ACCOUNTS);
        url.query_pairs_mut()
            .append_pair("limit", &PAGE.to_string());
        if let Some(cursor) = &cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        let Fetched { answer, .. } = fetcher.get(&url, &Expect::default(), probe.timeout).await;
        let body = match answer {
            Ok(Reply {
                status: 200,
                body: Some(body),
            }) => body,
            Ok(Reply { status, .. }) => {
                return Err(failed(
                    "status",
                    format!("the list of accounts cannot be read (status {status})"),
                ));
            }
            Err(failure) => {
                return Err(failed(
                    failure.code(),
                    format!("the list of accounts: {failure}"),
                ));
            }
        };
        let page = serde_json::from_slice(&body)
            .ok()
            .and_then(|value| read_accounts(&value));
        let Some(page) = page else {
            return Err(failed(
                "body",
                "the list of accounts has an unexpected format".into(),
            ));
        };
        accounts.total += page.accounts;
        accounts.active += page.active;
        // A server that gives the same place again would be asked for ever.
        match page.cursor {
            Some(next) if page.accounts > 0 && Some(&next) != cursor.as_ref() => {
                cursor = Some(next)
            }
            _ => return Ok(accounts),
        }
    }
    Err(failed(
        "too_many",
        format!("there are more than {} accounts", PAGES * PAGE),
    ))
}
