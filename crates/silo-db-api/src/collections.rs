//! All collections with their sizes, by category and in total, and the share that is disposable.

mod view;

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use serde::Deserialize;
use silo_core::units::{count_from_usize, share};
use silo_mongo::catalogue::{Catalogue, Category};
use silo_mongo::error::DatabaseError;
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::gateway::{Gateway, Measures, source_error};

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

/// Measures them all: one command to list them, one for each, two at a time.
pub async fn measure(
    gateway: Gateway,
    catalogue: Arc<Catalogue>,
) -> Result<Measured<Collections>, SourceError> {
    let listed = gateway
        .list_collections()
        .await
        .map_err(|error| source_error("mongod", error))?;
    let (views, stored): (Vec<_>, Vec<_>) = listed.into_iter().partition(|listed| listed.view);
    let measured = stream::iter(stored.into_iter().map(|listed| {
        let gateway = gateway.clone();
        async move { (gateway.measure_collection(&listed.name).await, listed.name) }
    }));
    let measured: Vec<_> = measured.buffer_unordered(AT_ONCE).collect().await;

    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for (outcome, name) in measured {
        match outcome {
            Ok(measures) => {
                errors.extend(what_is_missing(&name, &measures));
                rows.push(describe(&catalogue, name, measures));
            }
            Err(DatabaseError::NotThere) => {}
            // Without the server, no collection can be measured.
            Err(error @ (DatabaseError::Unreachable | DatabaseError::AuthenticationFailed)) => {
                return Err(source_error("mongod", error));
            }
            Err(error) => {
                errors.push(source_error(format!("collection {name}"), error));
                rows.push(describe(&catalogue, name, Measures::default()));
            }
        }
    }
    let mut views: Vec<_> = views.into_iter().map(|view| view.name).collect();
    views.sort();
    Ok(Measured {
        value: summarise(rows, views),
        errors,
    })
}

impl Collections {
    /// Collection by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Collection> {
        self.collections
            .iter()
            .find(|collection| collection.name == name)
    }

    /// The same report with the list in another order and cut to `limit`; the sums stay those of all.
    #[must_use]
    pub fn view(&self, sort: Sort, limit: usize) -> Self {
        let mut view = self.clone();
        sort_rows(&mut view.collections, sort);
        view.collections.truncate(limit);
        view
    }
}

fn describe(catalogue: &Catalogue, name: String, measures: Measures) -> Collection {
    let entry = catalogue.get(&name);
    let Measures {
        documents,
        data_bytes,
        storage_bytes,
        index_bytes,
        indexes,
    } = measures;
    Collection {
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
    }
}

fn sum(rows: &[Collection], belongs: impl Fn(&Collection) -> bool, total: Option<&Sum>) -> Sum {
    let rows: Vec<_> = rows.iter().filter(|row| belongs(row)).collect();
    let add = |number: fn(&Collection) -> Option<u64>| {
        rows.iter().map(|row| number(row)).sum::<Option<u64>>()
    };
    let (documents, data_bytes) = (add(|row| row.documents), add(|row| row.data_bytes));
    let whole = |of: fn(&Sum) -> Option<u64>, own| total.map_or(own, of);
    Sum {
        collections: count_from_usize(rows.len()),
        documents,
        data_bytes,
        storage_bytes: add(|row| row.storage_bytes),
        index_bytes: add(|row| row.index_bytes),
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
