//! The collections and views of a database while entries are applied. A collection is known by its UUID; its name is an attribute that may change.

mod commands;

use std::collections::{BTreeMap, HashMap};

use silo_mongo::collections::{Collection, Kind};
use silo_mongo::field;
use silo_mongo::mongodb::bson::doc;

use super::entry::{Operation, OperationKind, Uuid, decoded, id};
use super::{Error, Position, diff};
use crate::repository::manifest::CollectionFacts;

/// Collection in which the server stores views.
pub(super) const VIEWS: &str = "system.views";
/// Begin of the names of collections with the buckets of time series.
const BUCKETS: &str = "system.buckets.";

/// A collection.
pub(super) struct Rolled {
    /// Name, options and indexes after the last entry.
    pub(super) collection: Collection,
    /// Name in the base archive; `None` if it was created since.
    pub(super) base: Option<String>,
    /// `false` once it was dropped.
    pub(super) exists: bool,
    /// `true` for a capped collection: it is not read in a snapshot, so some changes are in its documents already.
    pub(super) repeatable: bool,
    /// `true` if the base may not have all of its documents.
    pub(super) incomplete: bool,
}

/// The collections of the database.
pub(super) struct Catalogue {
    database: String,
    collections: Vec<Rolled>,
    by_uuid: HashMap<Uuid, usize>,
    /// Documents of `system.views` by the view's name.
    views: BTreeMap<String, Vec<u8>>,
}

/// Destination of a change of a document.
pub(super) enum Place {
    /// To the collection with this number.
    Collection(usize),
    /// Nowhere: the collection is not part of a backup, or the change was one of a view and is applied.
    Nowhere,
}

impl Catalogue {
    /// The collections of a backup.
    pub(super) fn new(database: &str, base: &[CollectionFacts]) -> Result<Self, Error> {
        let mut catalogue = Self {
            database: database.to_owned(),
            collections: Vec::new(),
            by_uuid: HashMap::new(),
            views: BTreeMap::new(),
        };
        for facts in base {
            let collection = facts.collection();
            let collection = collection.ok_or(Error::Malformed("options in the manifest"))?;
            if collection.kind == Kind::View {
                let name = format!("{database}.{}", collection.name);
                let mut view = doc! { "_id": name };
                view.extend(collection.options);
                let view = view.to_vec().map_err(|_why| Error::Malformed("a view"))?;
                catalogue.views.insert(collection.name, view);
                continue;
            }
            catalogue.add(Rolled {
                repeatable: collection.is_capped(),
                base: Some(collection.name.clone()),
                collection,
                exists: true,
                incomplete: false,
            });
        }
        Ok(catalogue)
    }

    fn add(&mut self, rolled: Rolled) {
        let number = self.collections.len();
        if let Some(uuid) = rolled.collection.uuid.as_deref().and_then(uuid_of) {
            self.by_uuid.insert(uuid, number);
        }
        self.collections.push(rolled);
    }

    /// Marks collections, by their names in the base, of which it may not have all documents.
    pub(super) fn incomplete(&mut self, names: &[String]) {
        for rolled in &mut self.collections {
            let base = rolled.base.as_ref();
            rolled.incomplete |= base.is_some_and(|base| names.contains(base));
        }
    }

    /// All collections, by number.
    pub(super) fn collections(&self) -> &[Rolled] {
        &self.collections
    }

    /// The views.
    pub(super) fn views(&self) -> Result<Vec<Collection>, Error> {
        let view = |(name, view): (&String, &Vec<u8>)| {
            let mut options = decoded(view).ok_or(Error::Malformed("a view"))?;
            options.remove("_id");
            Ok(Collection {
                name: name.clone(),
                kind: Kind::View,
                options,
                uuid: None,
                indexes: Vec::new(),
            })
        };
        self.views.iter().map(view).collect()
    }

    /// The collection of an insert, update or delete. One of a view is applied here.
    pub(super) fn place(
        &mut self,
        at: Position,
        operation: &Operation<'_>,
    ) -> Result<Place, Error> {
        let (_, name) = operation.namespace;
        if name == VIEWS {
            self.view(at, operation)?;
            return Ok(Place::Nowhere);
        }
        if name.starts_with(BUCKETS) {
            return Err(time_series(at, name));
        }
        // As in a dump.
        if name.starts_with("system.") && name != "system.js" {
            return Ok(Place::Nowhere);
        }
        Ok(Place::Collection(self.known(at, operation, name)?))
    }

    fn known(&self, at: Position, operation: &Operation<'_>, name: &str) -> Result<usize, Error> {
        let number = operation.uuid.and_then(|uuid| self.by_uuid.get(&uuid));
        number.copied().ok_or_else(|| Error::Misfit {
            at,
            collection: name.to_owned(),
            what: "a collection with its UUID is not known".into(),
        })
    }

    fn view(&mut self, at: Position, operation: &Operation<'_>) -> Result<(), Error> {
        let id = match &operation.kind {
            OperationKind::Insert(document) => id(document).unwrap_or_default(),
            OperationKind::Update { id, .. } | OperationKind::Delete(id) => id.clone(),
            _ => return Ok(()),
        };
        let id = String::from_utf8_lossy(id.get(5..).unwrap_or_default()).into_owned();
        let id = id.trim_end_matches('\0');
        let misfit = |what: &str| Error::Misfit {
            at,
            collection: VIEWS.into(),
            what: what.into(),
        };
        let name = id.split_once('.').map(|(_, name)| name.to_owned());
        let name = name.ok_or_else(|| misfit("a view has no name"))?;
        let changed = match &operation.kind {
            OperationKind::Insert(document) => document.to_vec(),
            OperationKind::Update { change, .. } => {
                let before = self.views.get(&name);
                let before = before.ok_or_else(|| misfit("a view is changed that is not there"))?;
                diff::updated(before, change).map_err(|error| misfit(&error.to_string()))?
            }
            _ => {
                self.views.remove(&name);
                return Ok(());
            }
        };
        let of = decoded(&changed).ok_or(Error::Malformed("a view"))?;
        if field::text(&of, "viewOn").is_some_and(|on| on.starts_with(BUCKETS)) {
            return Err(time_series(at, &name));
        }
        self.views.insert(name, changed);
        Ok(())
    }
}

fn time_series(at: Position, name: &str) -> Error {
    let name = name.trim_start_matches(BUCKETS);
    Error::Unsupported {
        at,
        what: format!("a change of the time series {name}"),
    }
}

fn uuid_of(hexadecimal: &str) -> Option<Uuid> {
    u128::from_str_radix(hexadecimal, 16)
        .ok()
        .filter(|_| hexadecimal.len() == 32)
        .map(u128::to_be_bytes)
}
