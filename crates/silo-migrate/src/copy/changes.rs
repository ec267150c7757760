//! Changes of the source, as its change stream reports them.

use silo_mongo::error::DatabaseError;
use silo_mongo::mongodb::bson::{Bson, RawBsonRef, RawDocument, RawDocumentBuf, Timestamp};

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// A document was inserted, replaced or updated: as it is now.
    Write(RawDocumentBuf),
    /// A document was deleted: a document with its `_id`.
    Delete(RawDocumentBuf),
    /// The collection was dropped.
    Drop,
    /// Something that cannot be followed, by name; with the new name of a renamed collection.
    Other(String, Option<String>),
    /// Nothing to do: an update of a document that is deleted by now.
    None,
}

/// A change, with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    /// Collection.
    pub(super) collection: String,
    pub(super) change: Change,
    /// Cluster time.
    pub(super) time: Option<Timestamp>,
}

impl Event {
    /// `true` if one of these collections is concerned; an event without a collection concerns all.
    pub(super) fn concerns(&self, includes: impl Fn(&str) -> bool) -> bool {
        let to = match &self.change {
            Change::Other(_, to) => to.as_deref(),
            _ => None,
        };
        self.collection.is_empty() || includes(&self.collection) || to.is_some_and(includes)
    }

    /// Reads an event of a change stream. Documents are not decoded, so that none is refused or changed.
    pub(super) fn read(event: &RawDocument) -> Result<Self, DatabaseError> {
        let text = |document: &RawDocument, name: &str| match document.get(name) {
            Ok(Some(RawBsonRef::String(text))) => Some(text.to_owned()),
            _ => None,
        };
        let part = |name: &str| match event.get(name) {
            Ok(Some(RawBsonRef::Document(document))) => Some(document.to_owned()),
            _ => None,
        };
        let kind = text(event, "operationType").ok_or(DatabaseError::Unreadable)?;
        let collection = part("ns")
            .and_then(|ns| text(&ns, "coll"))
            .unwrap_or_default();
        let change = match kind.as_str() {
            "insert" | "update" | "replace" => {
                part("fullDocument").map_or(Change::None, Change::Write)
            }
            "delete" => Change::Delete(part("documentKey").ok_or(DatabaseError::Unreadable)?),
            "drop" => Change::Drop,
            _ => Change::Other(kind, part("to").and_then(|to| text(&to, "coll"))),
        };
        let time = match event.get("clusterTime") {
            Ok(Some(RawBsonRef::Timestamp(time))) => Some(time),
            _ => None,
        };
        Ok(Self {
            collection,
            change,
            time,
        })
    }
}

/// A resume token in BSON.
pub(super) fn token(
    token: &silo_mongo::mongodb::change_stream::event::ResumeToken,
) -> Result<Bson, DatabaseError> {
    silo_mongo::mongodb::bson::serialize_to_bson(token).map_err(|_error| DatabaseError::Unreadable)
}

#[cfg(test)]
mod tests {
    use silo_mongo::mongodb::bson::rawdoc;

    use super::*;

    #[test]
    fn events_become_changes() {
        let ns = rawdoc! { "db": "aesthetic", "coll": "moods" };
        let time = Timestamp {
            time: 7,
            increment: 1,
        };
        let key = rawdoc! { "_id": 1 };
        let document = rawdoc! { "_id": 1, "mood": "calm" };
        for (event, change) in [
            (
                rawdoc! { "operationType": "insert", "ns": ns.clone(), "clusterTime": time, "documentKey": key.clone(), "fullDocument": document.clone() },
                Change::Write(document),
            ),
            (
                rawdoc! { "operationType": "update", "ns": ns.clone(), "clusterTime": time, "documentKey": key.clone(), "fullDocument": null },
                Change::None,
            ),
            (
                rawdoc! { "operationType": "delete", "ns": ns.clone(), "clusterTime": time, "documentKey": key.clone() },
                Change::Delete(key),
            ),
            (
                rawdoc! { "operationType": "drop", "ns": ns.clone(), "clusterTime": time },
                Change::Drop,
            ),
            (
                rawdoc! { "operationType": "rename", "ns": ns.clone(), "to": { "db": "aesthetic", "coll": "newer" }, "clusterTime": time },
                Change::Other("rename".into(), Some("newer".into())),
            ),
        ] {
            let read = Event::read(&event).unwrap();
            assert_eq!(
                read,
                Event {
                    collection: "moods".into(),
                    change,
                    time: Some(time)
                }
            );
        }
        assert!(Event::read(&rawdoc! { "ns": ns }).is_err());
    }
}
