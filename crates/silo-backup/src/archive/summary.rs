//! Summary of an archive's contents, computed while reading it like a restore does; and its comparison with the manifest.

use std::path::Path;

use bson::RawDocument;
use serde_json::Value;
use silo_mongo::collections::{Collection, Kind};
use silo_mongo::fingerprint::Fingerprint;

use crate::archive::reader::{Error, Visitor};
use crate::archive::{Prelude, metadata};
use crate::progress::Reporter;
use crate::repository::manifest::CollectionFacts;
use crate::verification::unique_indexes::UniqueKeys;

/// Reads along and adds up.
pub struct SummaryBuilder {
    keys: UniqueKeys,
    found: Vec<CollectionState>,
    not_checked: Vec<String>,
    unique_indexes: u64,
    report: Reporter,
}

struct CollectionState {
    collection: Collection,
    fingerprint: Fingerprint,
    /// Unique indexes, as positions in `keys`.
    unique: Vec<usize>,
    unreported: u64,
}

/// Summary of an archive.
#[derive(Clone, Debug)]
pub struct ArchiveSummary {
    /// The collections, by name.
    pub collections: Vec<CollectionFacts>,
    /// Number of unique indexes that were checked.
    pub unique_indexes: u64,
    /// Unique indexes that only a server can check.
    pub not_checked: Vec<String>,
    /// An index that two documents have the same key in.
    pub duplicate: Option<String>,
}

impl SummaryBuilder {
    /// Keys that do not fit into memory are stored in `folder`; the number of documents is reported to `report`.
    #[must_use]
    pub fn new(folder: &Path, report: Reporter) -> Self {
        Self {
            keys: UniqueKeys::new(folder.to_path_buf()),
            found: Vec::new(),
            not_checked: Vec::new(),
            unique_indexes: 0,
            report,
        }
    }

    /// Completes the summary after everything was read.
    ///
    /// # Errors
    /// When the sorted keys on disk cannot be read.
    pub fn summary(self) -> std::io::Result<ArchiveSummary> {
        let mut collections: Vec<CollectionFacts> = self.found.iter().map(facts).collect();
        collections.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(ArchiveSummary {
            collections,
            unique_indexes: self.unique_indexes,
            not_checked: self.not_checked,
            duplicate: self.keys.duplicate()?,
        })
    }
}

fn facts(found: &CollectionState) -> CollectionFacts {
    let collection = &found.collection;
    CollectionFacts {
        name: collection.name.clone(),
        kind: collection.kind.word().into(),
        sums: found.fingerprint.sums(),
        options: metadata::extended(&collection.options),
        indexes: collection.indexes.iter().map(metadata::extended).collect(),
    }
}

impl Visitor for SummaryBuilder {
    fn prelude(&mut self, prelude: &Prelude) -> Result<(), Error> {
        for namespace in &prelude.namespaces {
            let name = &namespace.collection;
            let collection = metadata::read(name, namespace.kind, &namespace.metadata);
            let collection = collection
                .ok_or_else(|| Error::Corrupt(format!("the metadata of {name} is invalid")))?;
            let mut unique = Vec::new();
            // Documents of a time series are buckets, which its indexes are not of.
            let indexes = collection
                .indexes
                .iter()
                .filter(|_| collection.kind == Kind::Collection);
            for index in indexes {
                match self.keys.watch(name, index) {
                    Some(Ok(place)) => unique.push(place),
                    Some(Err(why)) => self.not_checked.push(why),
                    None => {}
                }
            }
            self.unique_indexes += u64::try_from(unique.len()).unwrap_or_default();
            self.found.push(CollectionState {
                collection,
                fingerprint: Fingerprint::default(),
                unique,
                unreported: 0,
            });
        }
        Ok(())
    }

    fn document(&mut self, place: usize, document: &RawDocument) -> Result<(), Error> {
        let found = &mut self.found[place];
        found.fingerprint.add(document.as_bytes());
        for index in &found.unique {
            self.keys.add(*index, document)?;
        }
        found.unreported += 1;
        if found.unreported >= 500 {
            self.report.add(std::mem::take(&mut found.unreported));
        }
        Ok(())
    }

    fn end(&mut self, place: usize) -> Result<(), Error> {
        let found = &mut self.found[place];
        self.report.add(std::mem::take(&mut found.unreported));
        Ok(())
    }
}

/// Differences between expected and actual collections.
#[must_use]
pub fn differences(wanted: &[CollectionFacts], found: &[CollectionFacts]) -> Vec<String> {
    let mut differences = Vec::new();
    for want in wanted {
        let name = &want.name;
        let Some(have) = found.iter().find(|have| have.name == *name) else {
            differences.push(format!("{name} is missing"));
            continue;
        };
        if have.sums != want.sums {
            let (now, then) = (&have.sums, &want.sums);
            differences.push(
                match (now.documents == then.documents, now.same_documents(then)) {
                    (false, _) => format!(
                        "{name} has {} documents and should have {}",
                        now.documents, then.documents
                    ),
                    (true, false) => format!("documents of {name} are not what they were"),
                    (true, true) => format!("documents of {name} are in another order"),
                },
            );
        }
        differences.extend(structure(want, have));
    }
    let unknown = found
        .iter()
        .filter(|have| wanted.iter().all(|want| want.name != have.name));
    differences.extend(unknown.map(|have| format!("{} should not be there", have.name)));
    differences
}

/// Differences in kind, options and indexes (in any order).
#[must_use]
pub fn structure(want: &CollectionFacts, have: &CollectionFacts) -> Vec<String> {
    let name = &want.name;
    let mut differences = Vec::new();
    if have.kind != want.kind {
        differences.push(format!(
            "{name} is a {} and should be a {}",
            have.kind, want.kind
        ));
    }
    if text(&have.options) != text(&want.options) {
        differences.push(format!("the options of {name} are not what they were"));
    }
    let of = |facts: &CollectionFacts| {
        let mut indexes: Vec<(String, String)> = facts
            .indexes
            .iter()
            .map(|index| (index["name"].to_string(), text(index)))
            .collect();
        indexes.sort();
        indexes
    };
    let (wanted, had) = (of(want), of(have));
    for (index, specification) in &wanted {
        match had.iter().find(|(other, _)| other == index) {
            None => differences.push(format!("{name} has no index {index}")),
            Some((_, other)) if other != specification => {
                differences.push(format!("index {index} of {name} is not what it was"))
            }
            Some(_) => {}
        }
    }
    let more = had
        .iter()
        .filter(|(index, _)| wanted.iter().all(|(other, _)| other != index));
    differences
        .extend(more.map(|(index, _)| format!("{name} has an index {index} that it had not")));
    differences
}

/// JSON as text with the top-level fields sorted, because servers return them in different orders. Nested fields keep their order, which is
/// significant in an index's keys.
fn text(value: &Value) -> String {
    let Value::Object(object) = value else {
        return value.to_string();
    };
    let mut fields: Vec<String> = object
        .iter()
        .map(|(name, value)| format!("{name:?}:{value}"))
        .collect();
    fields.sort();
    fields.join(",")
}
