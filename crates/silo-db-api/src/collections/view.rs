//! Collections and their sums, as the API returns them.

use serde::Serialize;
use silo_mongo::catalogue::Category;
use utoipa::ToSchema;

use crate::gateway::Index;

/// One collection.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Collection {
    /// Name of the collection, verbatim.
    pub name: String,
    /// Kind: `collection` or `timeseries`.
    pub kind: &'static str,
    /// Category; `other` when the collection is not in the catalogue.
    #[schema(value_type = String)]
    pub category: Category,
    /// `true` if the collection is in the catalogue.
    pub known: bool,
    /// `true` if the seed report lists the collection as one to drop.
    pub disposable: bool,
    /// Findings since the seed report that speak against dropping the collection.
    pub caution: Option<String>,
    /// The field that names the user a document belongs to.
    pub owner_field: Option<String>,
    /// The field that holds a document's time.
    pub date_field: Option<String>,
    /// Number of documents.
    pub documents: Option<u64>,
    /// Their bytes, uncompressed.
    pub data_bytes: Option<u64>,
    /// Their bytes on disk.
    pub storage_bytes: Option<u64>,
    /// The bytes of all its indexes.
    pub index_bytes: Option<u64>,
    /// `dataBytes` for each document, rounded down; `null` for an empty collection.
    pub average_document_bytes: Option<u64>,
    /// Indexes; `null` when the server did not report them.
    pub indexes: Option<Vec<Index>>,
}

/// Sums over some collections. A sum with an unknown part is `null`; its known part is told beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    /// Number of collections.
    pub collections: u64,
    /// Number of documents.
    pub documents: Option<u64>,
    /// Size of the documents in bytes.
    pub data_bytes: Option<u64>,
    /// Size on disk in bytes.
    pub storage_bytes: Option<u64>,
    /// Size of the indexes in bytes.
    pub index_bytes: Option<u64>,
    /// Documents of the collections whose number is known.
    pub known_documents: u64,
    /// Bytes of the documents of the collections whose size is known.
    pub known_data_bytes: u64,
    /// Bytes on disk of the collections whose size is known.
    pub known_storage_bytes: u64,
    /// Bytes of the indexes of the collections whose size is known.
    pub known_index_bytes: u64,
    /// Documents as a share of the total, 0 to 1.
    pub share_of_documents: Option<f64>,
    /// `dataBytes` as a share of the total, 0 to 1.
    pub share_of_data_bytes: Option<f64>,
}

/// The sums of one category.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CategorySum {
    /// The category.
    #[schema(value_type = String)]
    pub category: Category,
    /// Sums of the category.
    #[serde(flatten)]
    pub sum: Sum,
}

/// All collections. Views and the server's own collections are not counted.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Collections {
    /// Each of them.
    pub collections: Vec<Collection>,
    /// By category, those that have any.
    pub categories: Vec<CategorySum>,
    /// Sums of the collections that the seed report lists as ones to drop.
    pub disposable: Sum,
    /// Sums of all collections.
    pub total: Sum,
    /// The names of the views, which store nothing.
    pub views: Vec<String>,
    /// `true` if mongod was not shut down cleanly before it started. Documents and bytes are counters of the storage engine, which may be wrong then
    /// until `validate` has run on a collection. `null` when unknown.
    pub counts_may_be_off: Option<bool>,
}
