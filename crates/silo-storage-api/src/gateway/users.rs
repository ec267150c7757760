//! Handles of users, requested from silo-db-api and cached.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use silo_web::internal_client::InternalClient;
use silo_web::snapshot::SourceError;

use crate::scan::TapeOwners;

/// Name of silo-db-api in errors.
const SOURCE: &str = "silo-db-api";
/// Time limit for an answer of silo-db-api; a handler has 4 s.
const ANSWER: Duration = Duration::from_millis(2500);
/// Lifetime of a cached handle.
const CACHE_LIFETIME: Duration = Duration::from_secs(300);
/// Most cached handles; the cache is cleared when it is full.
const MAX_CACHED_HANDLES: usize = 10_000;
/// Most ids in one request.
const AT_ONCE: usize = 400;

/// One person.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The sub.
    pub sub: String,
    /// The handle, without `@`.
    pub handle: Option<String>,
    /// The user code.
    pub code: Option<String>,
}

/// Client of silo-db-api. Clones share the cache.
#[derive(Clone)]
pub struct UserDirectory {
    db_api: InternalClient,
    handles: Arc<Mutex<HashMap<String, Remembered>>>,
}

struct Remembered {
    handle: Option<String>,
    since: Instant,
}

#[derive(Deserialize)]
struct Handles {
    handles: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct Tapes {
    tapes: BTreeMap<String, Tape>,
}

#[derive(Deserialize)]
struct Tape {
    sub: Option<String>,
}

impl UserDirectory {
    /// The way to a silo-db-api at this address.
    ///
    /// # Errors
    /// When an HTTP client cannot be set up on this machine.
    pub fn new(address: &str) -> std::io::Result<Self> {
        Ok(Self {
            db_api: InternalClient::new(SOURCE, address, ANSWER)?,
            handles: Arc::default(),
        })
    }

    /// Finds the user of a sub, `@handle` or user code; `None` if there is no such user.
    ///
    /// # Errors
    /// The error of the request to silo-db-api.
    pub async fn find(&self, id: &str) -> Result<Option<User>, SourceError> {
        let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
        let path = format!("/api/db/users/{id}");
        let found: Option<User> = self.db_api.find(&path, "unknown_user").await?;
        if let Some(person) = &found {
            self.remember([(person.sub.clone(), person.handle.clone())]);
        }
        Ok(found)
    }

    /// The handles of some subs, as far as they are known; and why not all are.
    pub async fn handles(&self, subs: &[&str]) -> (HashMap<String, String>, Option<SourceError>) {
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        for sub in subs {
            match self.remembered(sub) {
                Some(Some(handle)) => drop(found.insert((*sub).to_owned(), handle)),
                Some(None) => {}
                None => missing.push(*sub),
            }
        }
        for batch in missing.chunks(AT_ONCE) {
            let ids = utf8_percent_encode(&batch.join(","), NON_ALPHANUMERIC).to_string();
            match self
                .db_api
                .get::<Handles>(&format!("/api/db/handles?ids={ids}"))
                .await
            {
                Ok(Handles { handles }) => {
                    let known = handles
                        .iter()
                        .filter_map(|(sub, handle)| Some((sub.clone(), handle.clone()?)));
                    found.extend(known);
                    self.remember(handles);
                }
                Err(error) => return (found, Some(error)),
            }
        }
        (found, None)
    }

    fn remembered(&self, sub: &str) -> Option<Option<String>> {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let known = handles
            .get(sub)
            .filter(|known| known.since.elapsed() < CACHE_LIFETIME)?;
        Some(known.handle.clone())
    }

    fn remember(&self, handles: impl IntoIterator<Item = (String, Option<String>)>) {
        let mut known = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > MAX_CACHED_HANDLES {
            known.clear();
        }
        let since = Instant::now();
        known.extend(
            handles
                .into_iter()
                .map(|(sub, handle)| (sub, Remembered { handle, since })),
        );
    }
}

impl TapeOwners for UserDirectory {
    async fn owners(&self, codes: Vec<String>) -> Result<BTreeMap<String, String>, SourceError> {
        let codes = utf8_percent_encode(&codes.join(","), NON_ALPHANUMERIC).to_string();
        let answer: Tapes = self
            .db_api
            .get(&format!("/api/db/tapes?codes={codes}"))
            .await?;
        let owned = answer
            .tapes
            .into_iter()
            .filter_map(|(code, tape)| Some((code, tape.sub?)));
        Ok(owned.collect())
    }
}
