use silo_mongo::mongodb::bson::{Bson, RawDocumentBuf, doc};

use super::*;

fn duplicate(specification: &Document, documents: &[Document]) -> Option<String> {
    let mut keys = UniqueKeys::new(std::env::temp_dir());
    let place = keys.watch("things", specification).unwrap().unwrap();
    for document in documents {
        let raw = RawDocumentBuf::try_from(document).unwrap();
        keys.add(place, &raw).unwrap();
    }
    keys.duplicate().unwrap()
}

#[test]
fn duplicate_keys_are_found_across_numeric_types() {
    let unique = doc! { "name": "a_1", "key": { "a": 1 }, "unique": true };
    let label = Some("a_1 of things".to_owned());
    assert_eq!(
        duplicate(&unique, &[doc! { "a": 1 }, doc! { "a": 1.0 }]),
        label
    );
    assert_eq!(
        duplicate(&unique, &[doc! { "a": "x" }, doc! { "a": ["y", "x"] }]),
        label
    );
    assert_eq!(
        duplicate(&unique, &[doc! {}, doc! { "a": Bson::Null }]),
        label
    );
    assert_eq!(
        duplicate(&unique, &[doc! { "a": [1, 1] }, doc! { "a": 2 }]),
        None,
        "one document may repeat itself"
    );
    assert_eq!(
        duplicate(&unique, &[doc! { "a": 1 }, doc! { "a": "1" }]),
        None
    );
}

#[test]
fn the_id_index_is_unique_by_default() {
    let id = doc! { "name": "_id_", "key": { "_id": 1 } };
    assert!(duplicate(&id, &[doc! { "_id": 1 }, doc! { "_id": 1_i64 }]).is_some());
}

#[test]
fn sparse_partial_and_compound_indexes_skip_the_right_documents() {
    let sparse = doc! { "name": "s", "key": { "a": 1 }, "unique": true, "sparse": true };
    assert_eq!(duplicate(&sparse, &[doc! {}, doc! {}]), None);
    let partial = doc! { "name": "p", "key": { "a": 1 }, "unique": true, "partialFilterExpression": { "live": true, "a": { "$exists": true } } };
    assert_eq!(
        duplicate(
            &partial,
            &[
                doc! { "a": 1, "live": false },
                doc! { "a": 1, "live": true }
            ]
        ),
        None
    );
    assert!(
        duplicate(
            &partial,
            &[doc! { "a": 1, "live": true }, doc! { "a": 1, "live": true }]
        )
        .is_some()
    );
    let compound = doc! { "name": "c", "key": { "a.b": 1, "c": -1 }, "unique": true };
    assert_eq!(
        duplicate(
            &compound,
            &[
                doc! { "a": { "b": 1 }, "c": 1 },
                doc! { "a": { "b": 1 }, "c": 2 }
            ]
        ),
        None
    );
    assert!(
        duplicate(
            &compound,
            &[
                doc! { "a": [{ "b": 1 }, { "b": 3 }], "c": 1 },
                doc! { "a": { "b": 3 }, "c": 1 }
            ]
        )
        .is_some()
    );
}

#[test]
fn indexes_that_only_a_server_can_check_are_reported() {
    let mut keys = UniqueKeys::new(std::env::temp_dir());
    for specification in [
        doc! { "name": "x", "key": { "a": 1 }, "unique": true, "collation": { "locale": "en", "strength": 2 } },
        doc! { "name": "x", "key": { "a": 1 }, "unique": true, "partialFilterExpression": { "a": { "$gt": 3 } } },
        doc! { "name": "x", "key": { "a.0": 1 }, "unique": true },
    ] {
        assert!(keys.watch("things", &specification).unwrap().is_err());
    }
    assert!(
        keys.watch("things", &doc! { "name": "x", "key": { "a": 1 } })
            .is_none()
    );
}

#[test]
fn a_full_disk_is_an_error_and_not_unique_keys() {
    let gone = tempfile::tempdir().unwrap().path().join("gone");
    let mut keys = UniqueKeys::new(gone);
    let id = doc! { "name": "_id_", "key": { "_id": 1 } };
    let place = keys.watch("things", &id).unwrap().unwrap();
    let added = (0..300_000_i64).try_for_each(|id| {
        keys.add(
            place,
            &RawDocumentBuf::try_from(&doc! { "_id": id }).unwrap(),
        )
    });
    assert_eq!(added.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn more_keys_than_fit_into_memory_are_sorted_on_disk() {
    let mut keys = UniqueKeys::new(std::env::temp_dir());
    let place = keys
        .watch("things", &doc! { "name": "_id_", "key": { "_id": 1 } })
        .unwrap()
        .unwrap();
    let add = |keys: &mut UniqueKeys, id: i64| {
        keys.add(
            place,
            &RawDocumentBuf::try_from(&doc! { "_id": id }).unwrap(),
        )
        .unwrap()
    };
    for id in 0..600_000 {
        add(&mut keys, id);
    }
    assert_eq!(keys.runs.len(), 2);
    add(&mut keys, 17);
    assert_eq!(keys.duplicate().unwrap().as_deref(), Some("_id_ of things"));
}
