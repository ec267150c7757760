//! The history as the API returns it: values at points of equal distance.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use silo_mongo::catalogue::{Catalogue, Category};
use utoipa::ToSchema;

use super::tables::ContentsAt;
use super::{SAMPLE_SECONDS, Sample, quarter_of, start_of};

/// A range that ends now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Range {
    /// A day, every quarter of an hour.
    Day,
    /// A week, every hour.
    #[default]
    Week,
    /// 30 days, every four hours.
    Month,
    /// 90 days, every twelve hours.
    Quarter,
}

/// The points of a range. A point stands for the last sample of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// First quarter of an hour of the first point.
    pub(super) first: i64,
    /// Last quarter of an hour: the present one.
    pub(super) last: i64,
    /// Quarters of an hour of a point.
    pub(super) step: i64,
    /// Number of points.
    points: usize,
}

impl Range {
    pub(super) fn grid(self, now: Timestamp) -> Grid {
        let (points, step) = match self {
            Self::Day => (96, 1),
            Self::Week => (168, 4),
            Self::Month => (180, 16),
            Self::Quarter => (180, 48),
        };
        let last = quarter_of(now);
        Grid {
            first: (last.div_euclid(step) - points + 1) * step,
            last,
            step,
            points: usize::try_from(points).unwrap_or(0),
        }
    }
}

impl Grid {
    /// Index of the point that a quarter of this range belongs to.
    pub(super) fn point(self, quarter: i64) -> usize {
        usize::try_from((quarter - self.first).div_euclid(self.step)).unwrap_or(0)
    }

    fn step_seconds(self) -> u64 {
        (self.step * SAMPLE_SECONDS).unsigned_abs()
    }
}

/// History of the database. Each list has a value for each point of the range, the oldest first; `null` where it was not known.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryView {
    /// The range.
    pub range: Range,
    /// Start of the first point.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Seconds from point to point.
    pub step_seconds: u64,
    /// Start of the newest sample; `null` if the range has none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub newest: Option<Timestamp>,
    /// Number of documents.
    pub documents: Vec<Option<u64>>,
    /// Their bytes, uncompressed.
    pub data_bytes: Vec<Option<u64>>,
    /// Users.
    pub users: Vec<Option<u64>>,
    /// Connections to mongod.
    pub connections: Vec<Option<u64>>,
    /// Reads a second by others than silo-db-api.
    pub reads_per_second: Vec<Option<f64>>,
    /// Writes a second.
    pub writes_per_second: Vec<Option<f64>>,
    /// Used bytes of mongod's file system.
    pub disk_used_bytes: Vec<Option<u64>>,
    /// Size of mongod's file system in bytes.
    pub disk_total_bytes: Vec<Option<u64>>,
    /// Documents and bytes by category; `null` if they were not asked for.
    pub categories: Option<Vec<CategoryHistory>>,
    /// Growth of each collection between the first and the last point at which it was known, most bytes first; `null` likewise.
    pub growth: Option<Vec<CollectionGrowth>>,
}

impl HistoryView {
    /// The same without categories and the growth of collections, which are most of it.
    #[must_use]
    pub fn without_categories(self) -> Self {
        Self {
            categories: None,
            growth: None,
            ..self
        }
    }
}

/// History of a category.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CategoryHistory {
    /// The category.
    #[schema(value_type = String)]
    pub category: Category,
    /// Number of documents.
    pub documents: Vec<Option<u64>>,
    /// Their bytes, uncompressed.
    pub data_bytes: Vec<Option<u64>>,
}

/// Growth of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectionGrowth {
    /// Name of the collection.
    pub collection: String,
    /// Start of the first point at which it was known.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Documents that were added; negative if some were removed.
    pub documents: i64,
    /// Bytes that were added.
    pub data_bytes: i64,
}

/// History of one collection.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectionHistory {
    /// The range.
    pub range: Range,
    /// Start of the first point.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Seconds from point to point.
    pub step_seconds: u64,
    /// Number of documents, for each point of the range.
    pub documents: Vec<Option<u64>>,
    /// Their bytes, uncompressed.
    pub data_bytes: Vec<Option<u64>>,
}

/// Sums of documents and bytes for each point; unknown where a part is unknown, or nothing is known.
struct Sums {
    documents: Vec<Option<u64>>,
    data_bytes: Vec<Option<u64>>,
}

impl Sums {
    /// The sums of some contents of a range. Points without any are unknown, except those in `known`: there they are nothing.
    fn of<'a>(
        grid: Grid,
        known: &BTreeSet<usize>,
        contents: impl Iterator<Item = &'a ContentsAt>,
    ) -> Self {
        let nothing: Vec<Option<u64>> = (0..grid.points)
            .map(|point| known.contains(&point).then_some(0))
            .collect();
        let (mut documents, mut data_bytes) = (nothing.clone(), nothing);
        let add = |sum: Option<&mut Option<u64>>, value: Option<u64>| {
            if let Some(sum) = sum {
                *sum = sum.zip(value).map(|(sum, value)| sum.saturating_add(value));
            }
        };
        for ContentsAt { point, contents } in contents {
            add(documents.get_mut(*point), contents.documents);
            add(data_bytes.get_mut(*point), contents.data_bytes);
        }
        Self {
            documents,
            data_bytes,
        }
    }
}

fn points_of(contents: &[ContentsAt]) -> BTreeSet<usize> {
    contents.iter().map(|at| at.point).collect()
}

pub(super) fn all(
    range: Range,
    grid: Grid,
    samples: Vec<(usize, Sample)>,
    contents: &[ContentsAt],
    catalogue: &Catalogue,
) -> HistoryView {
    let known = points_of(contents);
    let total = Sums::of(grid, &known, contents.iter());
    let category_of = |at: &ContentsAt| {
        let entry = catalogue.get(&at.contents.collection);
        entry.map_or(Category::Other, |entry| entry.category)
    };
    let categories = Category::ALL.into_iter().filter_map(|category| {
        let of_it = || contents.iter().filter(|at| category_of(at) == category);
        of_it().next()?;
        let Sums {
            documents,
            data_bytes,
        } = Sums::of(grid, &known, of_it());
        Some(CategoryHistory {
            category,
            documents,
            data_bytes,
        })
    });
    let newest = samples.last().map(|(_, sample)| start_of(sample.quarter));
    let mut view = HistoryView {
        range,
        from: start_of(grid.first),
        step_seconds: grid.step_seconds(),
        newest,
        documents: total.documents,
        data_bytes: total.data_bytes,
        users: vec![None; grid.points],
        connections: vec![None; grid.points],
        reads_per_second: vec![None; grid.points],
        writes_per_second: vec![None; grid.points],
        disk_used_bytes: vec![None; grid.points],
        disk_total_bytes: vec![None; grid.points],
        categories: Some(categories.collect()),
        growth: Some(growth(grid, contents)),
    };
    for (point, sample) in samples {
        put(&mut view.users, point, sample.users);
        put(&mut view.connections, point, sample.connections);
        put(&mut view.reads_per_second, point, sample.reads_per_second);
        put(&mut view.writes_per_second, point, sample.writes_per_second);
        put(&mut view.disk_used_bytes, point, sample.disk_used_bytes);
        put(&mut view.disk_total_bytes, point, sample.disk_total_bytes);
    }
    view
}

fn put<T>(list: &mut [Option<T>], point: usize, value: Option<T>) {
    if let Some(place) = list.get_mut(point) {
        *place = value;
    }
}

fn growth(grid: Grid, contents: &[ContentsAt]) -> Vec<CollectionGrowth> {
    let mut ends = BTreeMap::<&str, [(usize, u64, u64); 2]>::new();
    for ContentsAt { point, contents } in contents {
        if let (Some(documents), Some(bytes)) = (contents.documents, contents.data_bytes) {
            let here = (*point, documents, bytes);
            let [_, last] = ends.entry(&contents.collection).or_insert([here, here]);
            *last = here;
        }
    }
    let ends = ends
        .into_iter()
        .filter(|(_, [first, last])| first.0 < last.0);
    let mut growth: Vec<_> = ends
        .map(|(name, [first, last])| CollectionGrowth {
            collection: name.to_owned(),
            since: start_of(grid.first + grid.step * i64::try_from(first.0).unwrap_or(0)),
            documents: difference(first.1, last.1),
            data_bytes: difference(first.2, last.2),
        })
        .collect();
    growth.sort_by_key(|growth| std::cmp::Reverse(growth.data_bytes));
    growth
}

fn difference(before: u64, after: u64) -> i64 {
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    signed(after) - signed(before)
}

pub(super) fn collection(range: Range, grid: Grid, contents: &[ContentsAt]) -> CollectionHistory {
    let Sums {
        documents,
        data_bytes,
    } = Sums::of(grid, &points_of(contents), contents.iter());
    CollectionHistory {
        range,
        from: start_of(grid.first),
        step_seconds: grid.step_seconds(),
        documents,
        data_bytes,
    }
}
