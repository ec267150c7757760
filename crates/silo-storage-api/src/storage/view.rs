//! Storage by bucket, kind, class and owner, as the API returns it.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use utoipa::ToSchema;

use crate::history::{Growth, StorageHistory};
use crate::owners::{Kind, Layout};
use crate::scan_results::{Failure, OlderVersions, UnfinishedUploads};
use crate::totals::{Class, Kinds, Sum};

/// Result of the last scan. Serialised as `/api/storage/buckets`; skipped fields are for the other endpoints.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The buckets, in the order of the settings.
    pub buckets: Vec<BucketView>,
    /// Sums of all buckets.
    #[serde(skip)]
    #[schema(ignore)]
    pub usage: Usage,
    /// Bytes and objects of the last days.
    #[serde(skip)]
    #[schema(ignore)]
    pub history: StorageHistory,
    /// Users by their bytes, the largest first.
    #[serde(skip)]
    #[schema(ignore)]
    pub owners: Vec<OwnerView>,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) ranks: HashMap<String, usize>,
}

/// One bucket.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BucketView {
    /// Name of the bucket.
    pub name: String,
    /// Key layout of the bucket.
    pub layout: Layout,
    /// Number of objects; `null` if the bucket was never completely listed.
    pub objects: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// When its newest object was written.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub newest_object: Option<Timestamp>,
    /// By kind, those of which there are any, the largest first.
    pub kinds: Vec<KindSum>,
    /// By storage class.
    pub classes: Vec<ClassSum>,
    /// By size in bytes, the smallest first.
    pub sizes: Vec<Class>,
    /// By age in days when its listing began, the youngest first. Objects without a time are in none of them.
    pub ages: Vec<Class>,
    /// The largest folders of the first two levels, at most 20, the largest first.
    pub largest_prefixes: Vec<PrefixSum>,
    /// No sum of a folder is too low by more than this many bytes; 0 when all are exact.
    pub prefixes_missing_bytes: Option<u64>,
    /// Number of users with objects here.
    pub owners: Option<u64>,
    /// Objects without an owner.
    pub unattributed: Option<Sum>,
    /// Unfinished uploads, in none of the sums; `null` if the storage cannot list them.
    pub unfinished_uploads: Option<UnfinishedUploads>,
    /// Older versions of the objects; `null` if the storage cannot tell.
    pub older_versions: Option<OlderVersions>,
    /// When its listing began: the age of these figures.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub as_of: Option<Timestamp>,
    /// Error of the last scan; the figures are then those of the last complete one.
    pub error: Option<Failure>,
}

/// One kind's sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct KindSum {
    /// The kind.
    pub kind: Kind,
    /// Number of objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One folder's sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PrefixSum {
    /// Beginning of the keys, with the `/` at its end.
    pub prefix: String,
    /// Number of objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One storage class's sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClassSum {
    /// Name of the class.
    pub class: String,
    /// Number of objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// All buckets together.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// The bytes of all buckets; `null` when one of them is not known.
    pub bytes: Option<u64>,
    /// The objects of all buckets; `null` when one of them is not known.
    pub objects: Option<u64>,
    /// The bytes of the buckets that are known.
    pub known_bytes: u64,
    /// The objects of the buckets that are known.
    pub known_objects: u64,
    /// Number of buckets.
    pub buckets: u64,
    /// By kind, over the buckets that are known, the largest first.
    pub kinds: Vec<KindSum>,
    /// Number of users with objects, in buckets with a result; `null` before the first.
    pub owners: Option<u64>,
    /// Objects without an owner, in buckets with a result; `null` before the first.
    pub unattributed: Option<Sum>,
    /// Growth.
    pub growth: GrowthView,
    /// When every bucket had been listed to its end: the age of the oldest figure.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_full_scan: Option<Timestamp>,
}

/// Growth, as far back as there is history.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrowthView {
    /// Since yesterday; `null` until every bucket is known from then.
    pub last_day: Option<Growth>,
    /// Since a week ago; `null` until every bucket is known from then.
    pub last_week: Option<Growth>,
    /// The first day that anything is known from.
    #[schema(value_type = Option<String>, format = Date)]
    pub first_day: Option<Date>,
}

/// One user's objects.
#[derive(Clone, Debug, Default)]
pub struct OwnerView {
    /// The user's sub.
    pub sub: String,
    /// Sum of all objects.
    pub sum: Sum,
    /// By bucket's place.
    pub buckets: Vec<(usize, Sum)>,
    /// By kind.
    pub kinds: Kinds,
    /// The largest: bytes, bucket's place, key.
    pub largest: Vec<(u64, usize, String)>,
}
