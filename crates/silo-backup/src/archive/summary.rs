//! Summary of an archive's contents, computed while reading it like a restore does; and its comparison with the manifest.

use bson::RawDocument;
use serde_json::Value;
use silo_mongo::collections::Collection;
use silo_mongo::fingerprint::Fingerprint;
use silo_mongo::structure::{self, Structure};

use crate::archive::reader::{Error, ReadArchive, Visitor};
use crate::archive::{Prelude, metadata};
use crate::repository::manifest::CollectionFacts;
use crate::verification::duplicate_ids::DocumentIds;
use silo_cli::progress::Reporter;

/// Archive visitor that summarises each collection.
pub struct SummaryBuilder {
    ids: Option<DocumentIds>,
    found: Vec<CollectionState>,
    report: Reporter,
}

struct CollectionState {
    collection: Collection,
    fingerprint: Fingerprint,
    /// Documents not yet reported as progress.
    unreported: u64,
}

/// Summary of an archive.
#[derive(Clone, Debug)]
pub struct ArchiveSummary {
    /// The collections, by name.
    pub collections: Vec<CollectionFacts>,
    /// Number of strings that are not valid UTF-8.
    pub invalid_strings: u64,
    /// Collection with two documents of the same `_id`; only checked for a dump without a snapshot.
    pub duplicate: Option<String>,
    /// Database that the archive is of; empty if it announces no collection.
    pub database: String,
    /// Version of the server that was dumped.
    pub server_version: String,
}

impl SummaryBuilder {
    /// Counts documents on `report`. `ids` are those of a dump without a snapshot, to find documents that were read twice.
    #[must_use]
    pub fn new(ids: Option<DocumentIds>, report: Reporter) -> Self {
        Self {
            ids,
            found: Vec::new(),
            report,
        }
    }

    /// Completes the summary after everything was read.
    ///
    /// # Errors
    /// When sorted ids on disk cannot be read.
    pub fn summary(self, read: &ReadArchive) -> std::io::Result<ArchiveSummary> {
        let duplicate = match self.ids {
            Some(ids) => ids.duplicate()?,
            None => None,
        };
        let duplicate = duplicate
            .and_then(|number| Some(self.found.get(usize::from(number))?.collection.name.clone()));
        let mut collections: Vec<CollectionFacts> = self.found.iter().map(facts).collect();
        collections.sort_by(|one, other| one.name.cmp(&other.name));
        let namespace = read.prelude.namespaces.first();
        Ok(ArchiveSummary {
            collections,
            invalid_strings: read.invalid_strings,
            duplicate,
            database: namespace.map_or_else(String::new, |namespace| namespace.database.clone()),
            server_version: read.prelude.server_version.clone(),
        })
    }
}

fn facts(found: &CollectionState) -> CollectionFacts {
    CollectionFacts::new(&found.collection, found.fingerprint.sums())
}

impl Visitor for SummaryBuilder {
    fn prelude(&mut self, prelude: &Prelude) -> Result<(), Error> {
        for namespace in &prelude.namespaces {
            let name = &namespace.collection;
            let collection = metadata::read(name, namespace.kind, &namespace.metadata);
            let collection = collection
                .ok_or_else(|| Error::Corrupt(format!("the metadata of {name} is invalid")))?;
            self.found.push(CollectionState {
                collection,
                fingerprint: Fingerprint::default(),
                unreported: 0,
            });
        }
        Ok(())
    }

    fn document(&mut self, place: usize, document: &RawDocument) -> Result<(), Error> {
        let found = &mut self.found[place];
        found.fingerprint.add(document.as_bytes());
        // The `_id` of a time series' bucket is one, too.
        if let (Some(ids), Ok(number)) = (&mut self.ids, u16::try_from(place)) {
            ids.add(number, document)?;
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
    let of = |facts: &CollectionFacts| Structure {
        kind: facts.kind.clone(),
        options: text(&facts.options),
        indexes: facts
            .indexes
            .iter()
            .map(|index| {
                let name = index["name"].as_str().unwrap_or_default();
                (name.to_owned(), comparable(index))
            })
            .collect(),
    };
    structure::differences(&want.name, &of(want), &of(have))
}

/// An index as text, without its internal version `v`, which a newer server replaces.
fn comparable(index: &Value) -> String {
    let mut index = index.clone();
    if let Some(index) = index.as_object_mut() {
        index.remove("v");
    }
    text(&index)
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
