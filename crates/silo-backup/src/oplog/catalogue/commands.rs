//! Commands in the oplog that change collections, their options and their indexes.

use silo_mongo::collections::{Collection, Kind};
use silo_mongo::field;
use silo_mongo::mongodb::bson::spec::BinarySubtype;
use silo_mongo::mongodb::bson::{Bson, Document};

use super::{BUCKETS, Catalogue, Rolled, VIEWS, time_series};
use crate::oplog::entry::{Operation, Uuid, decoded};
use crate::oplog::{Error, Position};

/// The server rounds the size of a capped collection up to a multiple of this, in bytes.
const CAPPED_UNIT: u64 = 256;
/// Options of the validation of documents.
const VALIDATION: [&str; 3] = ["validator", "validationLevel", "validationAction"];

impl Catalogue {
    /// Applies a command other than `applyOps`.
    pub(in crate::oplog) fn command(
        &mut self,
        at: Position,
        operation: &Operation<'_>,
        command: &[u8],
    ) -> Result<(), Error> {
        let command = decoded(command).ok_or(Error::Malformed("a command"))?;
        let Some((kind, first)) = command.iter().next() else {
            return Err(Error::Malformed("an empty command"));
        };
        let name = match first {
            Bson::String(name) => name.as_str(),
            _ => "",
        };
        let unsupported = |what: String| Error::Unsupported { at, what };
        if name.starts_with(BUCKETS) || command.contains_key("timeseries") {
            return Err(time_series(at, name));
        }
        match kind.as_str() {
            // Views are in no collection of their own here.
            "create" if name == VIEWS => {}
            "drop" if name == VIEWS => self.views.clear(),
            "create" => self.create(at, operation, name, &command)?,
            "drop" => {
                let number = self.known(at, operation, name)?;
                self.collections[number].exists = false;
            }
            "renameCollection" => self.rename(at, operation, &command)?,
            "createIndexes" => {
                let mut index = command.clone();
                index.remove("createIndexes");
                self.add_index(at, operation, name, index)?;
            }
            "commitIndexBuild" => {
                for index in built(&command).ok_or_else(|| unknown_index(at, name))? {
                    self.add_index(at, operation, name, index.clone())?;
                }
            }
            // An index is there when its build is committed.
            "startIndexBuild" => {}
            // Backups of earlier versions list unfinished builds, too.
            "abortIndexBuild" => {
                let aborted = built(&command).ok_or_else(|| unknown_index(at, name))?;
                let indexes = self.indexes(at, operation, name)?;
                let is_aborted = |index: &Document| {
                    aborted
                        .iter()
                        .any(|aborted| aborted.get("name") == index.get("name"))
                };
                indexes.retain(|index| !is_aborted(index));
            }
            // A check of the server that changes nothing.
            "dbCheck" => {}
            "dropIndexes" | "deleteIndexes" => {
                let indexes = self.indexes(at, operation, name)?;
                match command.get("index") {
                    Some(Bson::String(all)) if all == "*" => {
                        indexes.retain(|index| field::text(index, "name") == Some("_id_"));
                    }
                    Some(Bson::String(dropped)) => {
                        indexes.retain(|index| field::text(index, "name") != Some(dropped));
                    }
                    _ => return Err(unsupported("a dropped index without a name".into())),
                }
            }
            "collMod" => self.modify(at, operation, name, &command)?,
            "dropDatabase" => {
                self.views.clear();
                for rolled in &mut self.collections {
                    rolled.exists = false;
                }
            }
            other => return Err(unsupported(format!("the command `{other}`"))),
        }
        Ok(())
    }

    fn indexes(
        &mut self,
        at: Position,
        operation: &Operation<'_>,
        name: &str,
    ) -> Result<&mut Vec<Document>, Error> {
        let number = self.known(at, operation, name)?;
        Ok(&mut self.collections[number].collection.indexes)
    }

    fn create(
        &mut self,
        at: Position,
        operation: &Operation<'_>,
        name: &str,
        command: &Document,
    ) -> Result<(), Error> {
        let unsupported = |what: &str| Error::Unsupported {
            at,
            what: format!("a collection {name} {what}"),
        };
        let uuid = operation
            .uuid
            .ok_or_else(|| unsupported("without a UUID"))?;
        if self.by_uuid.contains_key(&uuid) {
            return Ok(());
        }
        let mut options = command.clone();
        options.remove("create");
        let index = match options.remove("idIndex") {
            Some(Bson::Document(index)) => Some(index),
            _ => options.get_document("clusteredIndex").ok().map(|index| {
                let mut index = index.clone();
                index.insert("clustered", true);
                index
            }),
        };
        let collection = Collection {
            name: name.to_owned(),
            kind: Kind::Collection,
            options,
            uuid: Some(hexadecimal(&uuid)),
            indexes: index.into_iter().collect(),
        };
        self.add(Rolled {
            collection,
            base: None,
            exists: true,
            repeatable: false,
            incomplete: false,
        });
        Ok(())
    }

    fn rename(
        &mut self,
        at: Position,
        operation: &Operation<'_>,
        command: &Document,
    ) -> Result<(), Error> {
        let unsupported = |what: &str| Error::Unsupported {
            at,
            what: what.to_owned(),
        };
        let to = field::text(command, "to").and_then(|to| to.split_once('.'));
        let Some((database, to)) = to else {
            return Err(unsupported("a rename without a name"));
        };
        if database != self.database {
            return Err(unsupported("a rename to another database"));
        }
        let from = field::text(command, "renameCollection").unwrap_or_default();
        let from = from.split_once('.').map_or("", |(_, name)| name);
        let number = self.known(at, operation, from)?;
        match command.get("dropTarget") {
            Some(Bson::Binary(target)) if target.subtype == BinarySubtype::Uuid => {
                let target = Uuid::try_from(target.bytes.as_slice()).ok();
                let target = target.and_then(|uuid| self.by_uuid.get(&uuid)).copied();
                let target = target.ok_or_else(|| Error::Misfit {
                    at,
                    collection: to.to_owned(),
                    what: "it is replaced and not known".into(),
                })?;
                self.collections[target].exists = false;
            }
            None | Some(Bson::Boolean(false)) => {}
            Some(_) => return Err(unsupported("a rename of an old server")),
        }
        let renamed = &mut self.collections[number].collection;
        to.clone_into(&mut renamed.name);
        if field::flag(command, "stayTemp") != Some(true) {
            renamed.options.remove("temp");
        }
        Ok(())
    }

    fn add_index(
        &mut self,
        at: Position,
        operation: &Operation<'_>,
        name: &str,
        mut index: Document,
    ) -> Result<(), Error> {
        if field::text(&index, "name").is_none() || field::document(&index, "key").is_none() {
            return Err(unknown_index(at, name));
        }
        let indexes = self.indexes(at, operation, name)?;
        // Not listed by servers of today either.
        index.remove("ns");
        index.remove("background");
        // A copied index has the number as it is stored, and is listed with one that fits.
        if let Some(expiry) = field::count(&index, "expireAfterSeconds") {
            index.insert("expireAfterSeconds", integer(expiry));
        }
        indexes.retain(|other| other.get("name") != index.get("name"));
        indexes.push(index);
        Ok(())
    }

    fn modify(
        &mut self,
        at: Position,
        operation: &Operation<'_>,
        name: &str,
        command: &Document,
    ) -> Result<(), Error> {
        let number = self.known(at, operation, name)?;
        let collection = &mut self.collections[number].collection;
        let options = &mut collection.options;
        // The server fills in what a change of a validation leaves out.
        if command
            .keys()
            .any(|option| VALIDATION.contains(&option.as_str()))
        {
            for (option, default) in [("validationLevel", "strict"), ("validationAction", "error")]
            {
                if !options.contains_key(option) {
                    options.insert(option, default);
                }
            }
        }
        for (option, value) in command.iter().skip(1) {
            let is_off = match value {
                Bson::Document(value) if option == "validator" => value.is_empty(),
                Bson::Document(value) => field::flag(value, "enabled") == Some(false),
                Bson::Boolean(value) => !value,
                Bson::String(value) => value == "off" && option == "expireAfterSeconds",
                _ => false,
            };
            match option.as_str() {
                "index" => {
                    let change = value.as_document().cloned().unwrap_or_default();
                    modify_index(&mut collection.indexes, &change).ok_or_else(|| {
                        Error::Unsupported {
                            at,
                            what: format!("a change of an index of {name} that is not known"),
                        }
                    })?;
                }
                "validator"
                | "changeStreamPreAndPostImages"
                | "recordPreImages"
                | "expireAfterSeconds" => {
                    if is_off {
                        options.remove(option);
                    } else {
                        options.insert(option, value.clone());
                    }
                }
                "validationLevel" | "validationAction" => {
                    options.insert(option, value.clone());
                }
                "cappedSize" => {
                    let bytes = field::count_of(value).unwrap_or_default();
                    drop(options.insert("size", integer(bytes.next_multiple_of(CAPPED_UNIT))));
                }
                "cappedMax" => {
                    let most = field::count_of(value).unwrap_or_default();
                    drop(options.insert("max", integer(most)));
                }
                other => {
                    return Err(Error::Unsupported {
                        at,
                        what: format!("a change of the option {other} of {name}"),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The indexes that a command builds; `None` if it names none.
fn built(command: &Document) -> Option<Vec<&Document>> {
    let indexes = command.get_array("indexes").ok()?;
    let indexes = indexes
        .iter()
        .map(Bson::as_document)
        .collect::<Option<Vec<_>>>()?;
    (!indexes.is_empty()).then_some(indexes)
}

fn unknown_index(at: Position, name: &str) -> Error {
    Error::Unsupported {
        at,
        what: format!("an index of {name} without name, key or specification"),
    }
}

/// Changes an index as `collMod` does; `None` if it is not there, or the change is not known.
fn modify_index(indexes: &mut [Document], change: &Document) -> Option<()> {
    let is_meant = |index: &&mut Document| match (change.get("name"), change.get("keyPattern")) {
        (Some(name), _) => index.get("name") == Some(name),
        (None, Some(key)) => index.get("key") == Some(key),
        (None, None) => false,
    };
    let index = indexes.iter_mut().find(is_meant)?;
    for (option, value) in change {
        match (option.as_str(), value) {
            ("name" | "keyPattern", _) => {}
            ("expireAfterSeconds", value) => {
                drop(index.insert(option, integer(field::count_of(value)?)));
            }
            ("hidden" | "prepareUnique", Bson::Boolean(true)) => {
                index.insert(option, true);
            }
            ("hidden" | "prepareUnique", _) => drop(index.remove(option)),
            ("unique", _) => {
                index.remove("prepareUnique");
                index.insert("unique", true);
            }
            ("forceNonUnique", _) => drop(index.remove("unique")),
            _ => return None,
        }
    }
    Some(())
}

/// A number as the server stores it: as small as it fits.
fn integer(number: u64) -> Bson {
    match i32::try_from(number) {
        Ok(number) => Bson::Int32(number),
        Err(_) => Bson::Int64(i64::try_from(number).unwrap_or(i64::MAX)),
    }
}

fn hexadecimal(uuid: &Uuid) -> String {
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
}
