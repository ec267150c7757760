//! All collections with their sizes, by category and in total, and the share that is disposable.

mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde::Deserialize;
use silo_core::units::{count_from_usize, share};
use silo_mongo::catalogue::{Catalogue, Category};
use silo_mongo::collections::Kind;
use silo_mongo::error::DatabaseError;
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::gateway::{Gateway, ListedCollection, Measures, Run, source_error};

pub use view::{CategorySum, Collection, Collections, Sum};

/// Collections measured concurrently: the droplet has one core, which AC's services need too.
const AT_ONCE: usize = 2;

/// The orders of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Sort {
    /// Most documents first.
    Documents,
    /// Most bytes first.
    #[default]
    DataBytes,
    /// By name.
    Name,
}

/// Watcher of the collections, which remembers what is expensive to read.
#[derive(Clone)]
pub struct Watcher {
    gateway: Gateway,
    catalogue: Arc<Catalogue>,
    /// Pause between two counts of a time series.
    count_every: Duration,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    /// Number of documents of each time series, and when it was counted.
    time_series: HashMap<String, (Result<u64, DatabaseError>, Instant)>,
    /// The run of mongod, and whether it began after a crash; `None` if that is unknown.
    start: Option<(Run, Option<bool>)>,
}

impl Watcher {
    /// A watcher that has measured nothing. Time series are counted once per `count_every`, because that reads all their documents.
    #[must_use]
    pub fn new(gateway: Gateway, catalogue: Arc<Catalogue>, count_every: Duration) -> Self {
        Self {
            gateway,
            catalogue,
            count_every,
            memory: Arc::default(),
        }
    }

    /// Measures all collections: one command to list them, one for each, two at a time; and one for the state of the server.
    ///
    /// # Errors
    /// The error of the list, or of a server that went away.
    pub async fn measure(self) -> Result<Measured<Collections>, SourceError> {
        let at = |error| source_error("mongod", error);
        let listed = self.gateway.list_collections().await.map_err(at)?;
        let mut errors = Vec::new();
        let counts_may_be_off = self.started_after_crash().await;
        let counts_may_be_off = counts_may_be_off
            .map_err(|error| errors.push(source_error("getLog", error)))
            .ok()
            .flatten();
        let (views, stored): (Vec<_>, Vec<_>) =
            listed.into_iter().partition(|it| it.kind == Kind::View);
        let measured = stream::iter(stored.into_iter().map(|listed| {
            let watcher = self.clone();
            async move { (watcher.measure_one(&listed).await, listed) }
        }));
        let measured: Vec<_> = measured.buffer_unordered(AT_ONCE).collect().await;

        let mut rows = Vec::new();
        for (outcome, listed) in measured {
            match outcome {
                Ok((measures, error)) => {
                    errors.extend(error);
                    rows.push(describe(&self.catalogue, listed, measures));
                }
                Err(DatabaseError::NotThere) => {}
                // Without the server, no collection can be measured.
                Err(error)
                    if error.is_without_server()
                        || matches!(
                            error,
                            DatabaseError::AuthenticationFailed | DatabaseError::NotReadable
                        ) =>
                {
                    return Err(at(error));
                }
                Err(error) => {
                    errors.push(source_error(format!("collection {}", listed.name), error));
                    rows.push(describe(&self.catalogue, listed, Measures::default()));
                }
            }
        }
        let exists = |name: &String| rows.iter().any(|row| row.name == *name);
        self.memory().time_series.retain(|name, _| exists(name));
        let mut views: Vec<_> = views.into_iter().map(|view| view.name).collect();
        views.sort();
        let value = Collections {
            counts_may_be_off,
            ..summarise(rows, views)
        };
        Ok(Measured { value, errors })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sizes of a collection, and the reason of a missing one.
    async fn measure_one(
        &self,
        listed: &ListedCollection,
    ) -> Result<(Measures, Option<SourceError>), DatabaseError> {
        let mut measures = self.gateway.measure_collection(listed).await?;
        if listed.kind == Kind::TimeSeries {
            match self.count_time_series(&listed.name).await {
                Ok(count) => measures.documents = Some(count),
                Err(error) => {
                    let source = format!("collection {}", listed.name);
                    return Ok((measures, Some(source_error(source, error))));
                }
            }
        }
        let missing = what_is_missing(&listed.name, &measures);
        Ok((measures, missing))
    }

    async fn count_time_series(&self, name: &str) -> Result<u64, DatabaseError> {
        let known = self.memory().time_series.get(name).copied();
        if let Some((count, _)) = known.filter(|(_, at)| at.elapsed() < self.count_every) {
            return count;
        }
        let count = self.gateway.count_time_series(name).await;
        let entry = (count, Instant::now());
        self.memory().time_series.insert(name.to_owned(), entry);
        count
    }

    /// `true` if this run of mongod began after a crash. Asked once per run.
    async fn started_after_crash(&self) -> Result<Option<bool>, DatabaseError> {
        let Some(run) = self.gateway.run().await? else {
            return Ok(None);
        };
        let known = self.memory().start.clone();
        if let Some((_, crashed)) = known.filter(|(known, _)| known.is(&run)) {
            return Ok(crashed);
        }
        let crashed = self.gateway.started_after_crash().await?;
        self.memory().start = Some((run, crashed));
        Ok(crashed)
    }
}

impl Collections {
    /// Collection by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Collection> {
        self.collections
            .iter()
            .find(|collection| collection.name == name)
    }

    /// The same report with the list in another order, without the first `offset` and cut to `limit`; the sums stay those of all.
    #[must_use]
    pub fn view(&self, sort: Sort, offset: usize, limit: usize) -> Self {
        let mut view = self.clone();
        sort_rows(&mut view.collections, sort);
        let wanted = view.collections.into_iter().skip(offset).take(limit);
        view.collections = wanted.collect();
        view
    }
}

fn describe(
    catalogue: &Catalogue,
    ListedCollection { name, kind }: ListedCollection,
    measures: Measures,
) -> Collection {
    let entry = catalogue.get(&name);
    let Measures {
        documents,
        data_bytes,
        storage_bytes,
        index_bytes,
        indexes,
    } = measures;
    Collection {
        kind: kind.word(),
        category: entry.map_or(Category::Other, |entry| entry.category),
        known: entry.is_some(),
        disposable: entry.is_some_and(|entry| entry.disposable),
        caution: entry.and_then(|entry| entry.caution.clone()),
        owner_field: entry.and_then(|entry| entry.owner.clone()),
        date_field: entry.and_then(|entry| entry.date.clone()),
        average_document_bytes: data_bytes
            .zip(documents)
            .and_then(|(bytes, documents)| bytes.checked_div(documents)),
        name,
        documents,
        data_bytes,
        storage_bytes,
        index_bytes,
        indexes,
    }
}

fn what_is_missing(name: &str, measures: &Measures) -> Option<SourceError> {
    let sizes = [
        measures.documents,
        measures.data_bytes,
        measures.storage_bytes,
        measures.index_bytes,
    ];
    let source = format!("collection {name}");
    if sizes.contains(&None) {
        Some(SourceError::new(
            source,
            "not_measured",
            "the server did not report all of its sizes",
        ))
    } else if measures.indexes.is_none() {
        Some(SourceError::new(
            source,
            "indexes_unknown",
            "the account may not see its indexes: it needs the role clusterMonitor",
        ))
    } else {
        None
    }
}

fn summarise(mut rows: Vec<Collection>, views: Vec<String>) -> Collections {
    sort_rows(&mut rows, Sort::default());
    let total = sum(&rows, |_| true, None);
    let in_category = |category| sum(&rows, |row| row.category == category, Some(&total));
    let categories = Category::ALL.map(|category| CategorySum {
        category,
        sum: in_category(category),
    });
    Collections {
        categories: categories
            .into_iter()
            .filter(|category| category.sum.collections > 0)
            .collect(),
        disposable: sum(&rows, |row| row.disposable, Some(&total)),
        total,
        views,
        collections: rows,
        counts_may_be_off: None,
    }
}

fn sum(rows: &[Collection], belongs: impl Fn(&Collection) -> bool, total: Option<&Sum>) -> Sum {
    let rows: Vec<_> = rows.iter().filter(|row| belongs(row)).collect();
    let add = |number: fn(&Collection) -> Option<u64>| {
        rows.iter().map(|row| number(row)).sum::<Option<u64>>()
    };
    let (documents, data_bytes) = (add(|row| row.documents), add(|row| row.data_bytes));
    let known =
        |number: fn(&Collection) -> Option<u64>| rows.iter().filter_map(|row| number(row)).sum();
    let whole = |of: fn(&Sum) -> Option<u64>, own| total.map_or(own, of);
    Sum {
        collections: count_from_usize(rows.len()),
        documents,
        data_bytes,
        storage_bytes: add(|row| row.storage_bytes),
        index_bytes: add(|row| row.index_bytes),
        known_documents: known(|row| row.documents),
        known_data_bytes: known(|row| row.data_bytes),
        known_storage_bytes: known(|row| row.storage_bytes),
        known_index_bytes: known(|row| row.index_bytes),
        share_of_documents: documents
            .zip(whole(|total| total.documents, documents))
            .and_then(|(part, whole)| share(part, whole)),
        share_of_data_bytes: data_bytes
            .zip(whole(|total| total.data_bytes, data_bytes))
            .and_then(|(part, whole)| share(part, whole)),
    }
}

/// Unknown numbers last; names decide between equals.
fn sort_rows(rows: &mut [Collection], sort: Sort) {
    let most = |number: Option<u64>| {
        std::cmp::Reverse(number.map_or(0, |number| number.saturating_add(1)))
    };
    match sort {
        Sort::Documents => {
            rows.sort_by(|a, b| (most(a.documents), &a.name).cmp(&(most(b.documents), &b.name)))
        }
        Sort::DataBytes => {
            rows.sort_by(|a, b| (most(a.data_bytes), &a.name).cmp(&(most(b.data_bytes), &b.name)))
        }
        Sort::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
    }
}

#[cfg(test)]
mod tests;
