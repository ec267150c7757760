//! Differences of two collections in kind, options and indexes.

use std::collections::BTreeMap;

use mongodb::bson::{Bson, Document};

use crate::collections::Collection;

/// Fields of an index that a server adds or ignores, by its version. `v` is its own format, `background` has had no effect since 4.2.
const OF_THE_SERVER: [&str; 4] = [
    "v",
    "background",
    "2dsphereIndexVersion",
    "textIndexVersion",
];

/// Kind, options and indexes of a collection, as text that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// Kind.
    pub kind: String,
    /// Options.
    pub options: String,
    /// Indexes by name, in any order.
    pub indexes: BTreeMap<String, String>,
}

impl From<&Collection> for Structure {
    /// Numbers of the same value are equal, whatever their type: drivers and shells write `1` as int, long or double.
    fn from(collection: &Collection) -> Self {
        let index = |index: &Document| {
            let name = index.get_str("name").unwrap_or_default().to_owned();
            let mut index = index.clone();
            for field in OF_THE_SERVER {
                index.remove(field);
            }
            (name, sorted(&index))
        };
        Self {
            kind: collection.kind.word().to_owned(),
            options: sorted(&collection.options),
            indexes: collection.indexes.iter().map(index).collect(),
        }
    }
}

/// Differences, each as a sentence.
#[must_use]
pub fn differences(name: &str, want: &Structure, have: &Structure) -> Vec<String> {
    let mut differences = Vec::new();
    if have.kind != want.kind {
        differences.push(format!(
            "{name} is a {} and should be a {}",
            have.kind, want.kind
        ));
    }
    if have.options != want.options {
        differences.push(format!("the options of {name} are not what they were"));
    }
    for (index, specification) in &want.indexes {
        match have.indexes.get(index) {
            None => differences.push(format!("{name} has no index {index}")),
            Some(other) if other != specification => {
                differences.push(format!("index {index} of {name} is not what it was"));
            }
            Some(_) => {}
        }
    }
    let more = have
        .indexes
        .keys()
        .filter(|index| !want.indexes.contains_key(*index));
    differences.extend(more.map(|index| format!("{name} has an index {index} that it had not")));
    differences
}

/// A document as text with the top-level fields sorted, because servers return them in different orders. Nested fields keep their order, which is
/// significant in an index's keys.
fn sorted(document: &Document) -> String {
    let mut fields: Vec<String> = document
        .iter()
        .map(|(name, value)| format!("{name:?}:{}", text(value)))
        .collect();
    fields.sort();
    fields.join(",")
}

fn text(value: &Bson) -> String {
    let all = |values: Vec<String>| values.join(",");
    match value {
        Bson::Document(document) => {
            let field = |(name, value): (&String, &Bson)| format!("{name:?}:{}", text(value));
            format!("{{{}}}", all(document.iter().map(field).collect()))
        }
        Bson::Array(array) => format!("[{}]", all(array.iter().map(text).collect())),
        Bson::Int32(number) => number.to_string(),
        Bson::Int64(number) => number.to_string(),
        // Prints whole numbers without a fraction.
        Bson::Double(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;
    use crate::collections::Kind;

    fn with(options: Document, indexes: Vec<Document>) -> Structure {
        Structure::from(&Collection {
            name: "things".into(),
            kind: Kind::Collection,
            options,
            uuid: None,
            indexes,
        })
    }

    fn compared(want: Document, have: Document) -> Vec<String> {
        differences(
            "things",
            &with(doc! {}, vec![want]),
            &with(doc! {}, vec![have]),
        )
    }

    #[test]
    fn what_a_server_adds_is_no_difference() {
        let want = doc! { "key": { "e": 1.0 }, "name": "e_1", "background": true };
        let have = doc! { "v": 2, "name": "e_1", "key": { "e": 1 } };
        assert_eq!(compared(want, have), Vec::<String>::new());
        let want = doc! { "v": 1, "key": { "g": "2dsphere" }, "name": "g" };
        let have =
            doc! { "v": 2, "key": { "g": "2dsphere" }, "name": "g", "2dsphereIndexVersion": 3 };
        assert_eq!(compared(want, have), Vec::<String>::new());
    }

    #[test]
    fn everything_else_is_one() {
        let e = doc! { "key": { "e": 1, "f": -1 }, "name": "e", "expireAfterSeconds": 60 };
        for other in [
            doc! { "key": { "f": -1, "e": 1 }, "name": "e", "expireAfterSeconds": 60 },
            doc! { "key": { "e": 1, "f": 1 }, "name": "e", "expireAfterSeconds": 60 },
            doc! { "key": { "e": 1, "f": -0.000_000_001 }, "name": "e", "expireAfterSeconds": 60 },
            doc! { "key": { "e": 1, "f": -1 }, "name": "e" },
            doc! { "key": { "e": 1, "f": -1 }, "name": "e", "expireAfterSeconds": 60, "partialFilterExpression": { "e": { "$exists": true } } },
        ] {
            assert_eq!(
                compared(e.clone(), other),
                ["index e of things is not what it was"]
            );
        }
        let more = with(doc! { "capped": true }, vec![e]);
        assert_eq!(
            differences("things", &with(doc! {}, vec![]), &more),
            [
                "the options of things are not what they were",
                "things has an index e that it had not"
            ]
        );
    }
}
