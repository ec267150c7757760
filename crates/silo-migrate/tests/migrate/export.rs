//! Export of a database as JSON, as AC's backup script may have written it.

use std::fs;
use std::path::Path;

use futures_util::TryStreamExt;
use serde_json::{Map, Value, json};
use silo_mongo::collections;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Bson, Document, doc};

/// Form of a document.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Canonical,
    Relaxed,
    /// As `JSON.stringify` writes documents of the Node driver.
    Plain,
}

/// Exports all collections as arrays, with a manifest.
pub(crate) async fn export(database: &Database, folder: &Path, form: Form) {
    fs::create_dir_all(folder).unwrap();
    let mut entries = Vec::new();
    for collection in collections::list(database).await.unwrap() {
        let name = &collection.name;
        let documents: Vec<Document> = database
            .collection(name)
            .find(doc! {})
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        let count = documents.len();
        let texts: Vec<String> = documents
            .into_iter()
            .map(|document| json_of(Bson::Document(document), form).to_string())
            .collect();
        fs::write(
            folder.join(format!("{name}.json")),
            format!("[\n{}\n]\n", texts.join(",\n")),
        )
        .unwrap();
        let indexes: Vec<Value> = collection
            .indexes
            .iter()
            .map(|index| json_of(Bson::Document(index.clone()), form))
            .collect();
        entries.push(json!({ "name": name, "count": count, "indexes": indexes }));
    }
    let manifest = json!({ "database": database.name(), "collections": entries });
    fs::write(folder.join("_manifest.json"), manifest.to_string()).unwrap();
}

fn json_of(value: Bson, form: Form) -> Value {
    match form {
        Form::Canonical => value.into_canonical_extjson(),
        Form::Relaxed => value.into_relaxed_extjson(),
        Form::Plain => plain(value),
    }
}

fn plain(value: Bson) -> Value {
    match value {
        Bson::Document(document) => {
            let fields = document
                .into_iter()
                .map(|(name, value)| (name, plain(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Bson::Array(array) => array.into_iter().map(plain).collect(),
        Bson::ObjectId(id) => json!(id.to_hex()),
        Bson::DateTime(date) => {
            let text = jiff::Timestamp::from_millisecond(date.timestamp_millis()).unwrap();
            json!(format!("{text:.3}"))
        }
        // The driver makes numbers of those that a double holds.
        Bson::Int64(number) => json!(number),
        Bson::Double(number) if number.fract() == 0.0 => {
            json!(format!("{number:.0}").parse::<i64>().unwrap())
        }
        other => other.into_relaxed_extjson(),
    }
}
