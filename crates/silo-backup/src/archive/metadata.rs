//! Metadata of a collection in an archive: canonical Extended JSON with options and indexes.

use serde_json::{Value, json};
use silo_mongo::collections::{Collection, Kind};
use silo_mongo::mongodb::bson::{Bson, Document};

/// Formats the metadata of a collection.
#[must_use]
pub fn write(collection: &Collection) -> String {
    let indexes: Vec<Value> = collection.indexes.iter().map(extended).collect();
    let mut metadata = json!({
        "options": extended(&collection.options),
        "indexes": indexes,
        "collectionName": collection.name,
        "type": collection.kind.word(),
    });
    if let (Some(uuid), Some(object)) = (&collection.uuid, metadata.as_object_mut()) {
        object.insert("uuid".into(), uuid.clone().into());
    }
    metadata.to_string()
}

/// Parses metadata; `None` if it is invalid. An archive may have none for a collection, which then has neither options nor indexes.
#[must_use]
pub fn read(name: &str, kind: Kind, metadata: &str) -> Option<Collection> {
    let metadata: Value = match metadata {
        "" => json!({}),
        text => serde_json::from_str(text).ok()?,
    };
    let options = metadata
        .get("options")
        .map_or(Some(Document::new()), document)?;
    let indexes = metadata.get("indexes").and_then(Value::as_array);
    let indexes = indexes.into_iter().flatten().map(document);
    Some(Collection {
        name: name.to_owned(),
        kind,
        options,
        uuid: metadata
            .get("uuid")
            .and_then(Value::as_str)
            .map(str::to_owned),
        indexes: indexes.collect::<Option<_>>()?,
    })
}

/// A document as canonical Extended JSON, its fields in their order.
#[must_use]
pub fn extended(document: &Document) -> Value {
    Bson::Document(document.clone()).into_canonical_extjson()
}

/// A document out of Extended JSON.
#[must_use]
pub fn document(value: &Value) -> Option<Document> {
    match Bson::try_from(value.clone()).ok()? {
        Bson::Document(document) => Some(document),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use silo_mongo::mongodb::bson::doc;

    use super::*;

    #[test]
    fn options_and_indexes_come_back_with_their_order_and_types() {
        let collection = Collection {
            name: "a.\"b\" $ü".into(),
            kind: Kind::Collection,
            options: doc! { "capped": true, "size": 4096_i64, "max": 3.0 },
            uuid: Some("00ff".into()),
            indexes: vec![
                doc! { "v": 2, "key": { "z": 1, "a": -1_i64 }, "name": "z_1_a_-1", "unique": true },
                doc! { "v": 2, "key": { "_fts": "text", "_ftsx": 1 }, "name": "t_text", "weights": { "t": 1 }, "default_language": "english", "language_override": "language", "textIndexVersion": 3 },
                doc! { "v": 2, "key": { "_id": "hashed" }, "name": "_id_hashed" },
                doc! { "v": 2, "key": { "x": 1 }, "name": "x_1", "partialFilterExpression": { "x": { "$gt": 5.5 } }, "expireAfterSeconds": 60 },
            ],
        };
        let read = read(&collection.name, Kind::Collection, &write(&collection)).unwrap();
        assert_eq!(read, collection);
        let keys: Vec<_> = read.indexes[0]
            .get_document("key")
            .unwrap()
            .keys()
            .collect();
        assert_eq!(keys, ["z", "a"]);
    }
}
