//! Comparison with the old cluster during a migration: a job that repeats, with the engine of `silo-migrate compare`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use log::{info, warn};
use serde::Serialize;
use silo_core::units::{now, whole_millis};
use silo_mongo::compare::{self, Class, Request};
use silo_mongo::error::ActionError;
use silo_mongo::mongodb::Database;
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

/// Differences of a collection that are listed.
const LISTED: usize = 20;
/// Pause after a comparison that failed.
const RETRY: Duration = Duration::from_secs(15 * 60);

/// State of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// `false` without `OLD_CONNECTION_STRING`: then nothing is compared.
    pub configured: bool,
    /// The running comparison, if any.
    pub running: Option<RunningComparison>,
    /// The last complete comparison, if any.
    pub last: Option<LastComparison>,
}

/// Progress of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunningComparison {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Collection that is being read.
    pub collection: Option<String>,
    /// Documents read, of both sides.
    pub documents: u64,
}

/// A complete comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastComparison {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// `true` if nothing differs.
    pub equal: bool,
    /// `true` if the old cluster changed meanwhile, so that differences may be none.
    pub source_changed: bool,
    /// Collections of both sides, by name.
    pub collections: Vec<ComparedCollection>,
}

/// Comparison of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComparedCollection {
    /// Name.
    pub name: String,
    /// `true` if nothing differs.
    pub equal: bool,
    /// Documents on the old cluster; `null` of a view, and if it does not exist there.
    pub source_documents: Option<u64>,
    /// Documents here; `null` of a view, and if it does not exist here.
    pub target_documents: Option<u64>,
    /// Documents that differ.
    pub different_documents: u64,
    /// Those of them that are missing here.
    pub missing_documents: u64,
    /// Documents that changed while they were compared, and are equal now.
    pub changed_meanwhile: u64,
    /// Differences of kind, options and indexes.
    pub structure: Vec<String>,
    /// The first 20 of the documents that differ.
    pub differences: Vec<ComparedDocument>,
}

/// A document that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComparedDocument {
    /// `_id` as canonical Extended JSON.
    pub id: String,
    /// Kind of the difference: `missing`, `extra`, `content`, `type_only` or `field_order_only`.
    #[schema(value_type = String)]
    pub class: Class,
    /// Path of the first field that differs.
    pub field: Option<String>,
}

/// The job, and its state.
#[derive(Clone, Default)]
pub struct Comparison(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    compared: Compared,
    failure: Option<SourceError>,
}

impl Comparison {
    /// Compares for ever.
    pub async fn keep_comparing(self, source: Database, target: Database, interval: Duration) {
        self.update(|state| state.compared.configured = true);
        loop {
            let started = (now(), Instant::now());
            let result = self.compare(&source, &target, started.0).await;
            let pause = match &result {
                Ok(_) => interval,
                Err(_) => RETRY.min(interval),
            };
            self.finish(result, started);
            tokio::time::sleep(pause).await;
        }
    }

    async fn compare(
        &self,
        source: &Database,
        target: &Database,
        started_at: Timestamp,
    ) -> Result<compare::Comparison, ActionError> {
        self.update(|state| {
            state.compared.running = Some(RunningComparison {
                started_at,
                collection: None,
                documents: 0,
            });
        });
        let request = Request {
            limit: LISTED,
            in_turn: true,
            ..Request::default()
        };
        let progress = |name: &str, documents: u64| {
            self.update(|state| {
                if let Some(running) = &mut state.compared.running {
                    running.documents += documents;
                    if running.collection.as_deref() != Some(name) {
                        running.collection = Some(name.to_owned());
                    }
                }
            });
        };
        compare::compare(source, target, &request, &progress).await
    }

    fn finish(
        &self,
        result: Result<compare::Comparison, ActionError>,
        (started_at, started): (Timestamp, Instant),
    ) {
        let duration_ms = whole_millis(started.elapsed());
        self.update(|state| {
            state.compared.running = None;
            match result {
                Ok(found) => {
                    info!(equal = found.equal, duration_ms; "compared with the old cluster");
                    state.failure = None;
                    state.compared.last = Some(LastComparison {
                        started_at,
                        duration_ms,
                        equal: found.equal,
                        source_changed: found.source_changed,
                        collections: found.collections.into_iter().map(collection).collect(),
                    });
                }
                Err(failed) => {
                    let code = failed.error.code();
                    let detail = format!("{}: {}", failed.action, failed.error.detail());
                    warn!(code; "comparing with the old cluster failed: {detail}");
                    state.failure = Some(SourceError::new("comparison", code, detail));
                }
            }
        });
    }

    /// The state, with the error of the last comparison.
    #[must_use]
    pub fn measure(&self) -> Measured<Compared> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Measured {
            value: state.compared.clone(),
            errors: state.failure.iter().cloned().collect(),
        }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn collection(compared: compare::CollectionComparison) -> ComparedCollection {
    ComparedCollection {
        equal: compared.is_equal(),
        name: compared.name,
        source_documents: compared.source_documents,
        target_documents: compared.target_documents,
        different_documents: compared.different_documents,
        missing_documents: compared.missing_documents,
        changed_meanwhile: compared.changed_meanwhile,
        structure: compared.structure,
        differences: compared
            .differences
            .into_iter()
            .map(|difference| ComparedDocument {
                id: difference.id,
                class: difference.class,
                field: difference.field,
            })
            .collect(),
    }
}
