//! Entries that must stop a roll, or be seen although they are in an unusual place: made by hand, because mongod 6.0 in a replica set writes none.

use silo_backup::oplog::Error;
use silo_mongo::mongodb::bson::spec::BinarySubtype;
use silo_mongo::mongodb::bson::{Binary, Bson, Document, RawDocumentBuf, Timestamp, doc};

use crate::server::{Base, Server};

fn uuid(base: &Base) -> Bson {
    let uuid = base.collections[0].uuid.as_ref().unwrap();
    let bytes = u128::from_str_radix(uuid, 16).unwrap().to_be_bytes();
    Bson::Binary(Binary {
        subtype: BinarySubtype::Uuid,
        bytes: bytes.to_vec(),
    })
}

/// An entry a second after a backup.
fn entry(base: &Base, fields: Document) -> RawDocumentBuf {
    let ts = Timestamp {
        time: base.at.seconds + 1,
        increment: 1,
    };
    let mut entry = doc! { "ts": ts, "t": 1_i64, "v": 2_i64 };
    entry.extend(fields);
    RawDocumentBuf::try_from(&entry).unwrap()
}

async fn base(server: &Server) -> Base {
    server
        .command(doc! { "insert": "moods", "documents": [{ "_id": 1, "n": 1 }] })
        .await;
    let index = doc! { "key": { "n": 1 }, "name": "n_1" };
    server
        .command(doc! { "createIndexes": "moods", "indexes": [index] })
        .await;
    server.base().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_not_understood_stops_with_its_position() {
    let server = Server::new().await;
    let base = base(&server).await;
    let ui = || uuid(&base);
    let insert = doc! { "op": "i", "ns": "aesthetic.moods", "ui": ui(), "o": { "_id": 2 } };
    let session = doc! { "lsid": { "id": "s" }, "txnNumber": 1_i64 };
    let with_session = |mut fields: Document| {
        fields.extend(session.clone());
        fields
    };
    let all = |more: Document| {
        let mut command = doc! { "applyOps": [insert.clone()] };
        command.extend(more);
        doc! { "op": "c", "ns": "admin.$cmd", "o": command }
    };
    let command = |o: Document| doc! { "op": "c", "ns": "aesthetic.$cmd", "ui": ui(), "o": o };
    for (fields, reason) in [
        (all(doc! { "partialTxn": true }), "without a session"),
        (with_session(all(doc! { "prepare": true })), "prepared"),
        (
            with_session(doc! { "op": "c", "ns": "admin.$cmd", "o": { "commitTransaction": 1 } }),
            "prepared",
        ),
        (
            doc! { "op": "u", "ns": "admin.system.version", "o": {}, "o2": { "_id": "fcv" } },
            "compatibility version",
        ),
        (command(doc! { "unheardOf": "moods" }), "unheardOf"),
        (
            command(doc! { "commitIndexBuild": "moods" }),
            "index of moods",
        ),
        (
            command(doc! { "createIndexes": "moods", "key": { "a": 1 } }),
            "index of moods",
        ),
        (
            doc! { "op": "xi", "ns": "aesthetic.moods", "o": {} },
            "`xi`",
        ),
    ] {
        let error = server.rolled(&base, &[entry(&base, fields)]).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        let error = error.to_string();
        let at = format!("{}:1", base.at.seconds + 1);
        assert!(error.contains(reason) && error.contains(&at), "{error}");
    }
    // Update operators, which `applyOps` of a user may have, are no document.
    let operators = doc! { "op": "u", "ns": "aesthetic.moods", "ui": ui(), "o": { "$set": { "n": 2 } }, "o2": { "_id": 1 } };
    let error = server
        .rolled(&base, &[entry(&base, operators)])
        .unwrap_err();
    assert!(matches!(error, Error::Misfit { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_another_place_or_was_not_finished_is_applied_too() {
    let server = Server::new().await;
    let base = base(&server).await;
    let insert = doc! { "op": "i", "ns": "aesthetic.moods", "ui": uuid(&base), "o": { "_id": 2 } };
    let elsewhere = doc! { "op": "c", "ns": "test.$cmd", "o": { "applyOps": [insert] } };
    let rolled = server.rolled(&base, &[entry(&base, elsewhere)]).unwrap();
    assert_eq!(rolled[0].sums.documents, 2);

    // What is in the backup already is not applied again.
    let again = doc! { "op": "i", "ns": "aesthetic.moods", "ui": uuid(&base), "o": { "_id": 1 } };
    let mut again = Document::try_from(&entry(&base, again)).unwrap();
    again.insert("ts", base.at);
    let again = RawDocumentBuf::try_from(&again).unwrap();
    let rolled = server.rolled(&base, &[again]).unwrap();
    assert_eq!(rolled[0].sums.documents, 1);

    // A backup of an earlier version, which lists an index that was being built.
    let built = doc! { "v": 2, "key": { "n": 1 }, "name": "n_1" };
    let aborted = doc! { "op": "c", "ns": "aesthetic.$cmd", "ui": uuid(&base), "o": { "abortIndexBuild": "moods", "indexes": [built] } };
    let rolled = server.rolled(&base, &[entry(&base, aborted)]).unwrap();
    assert_eq!(rolled[0].indexes.len(), 1, "{:?}", rolled[0].indexes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_the_backup_may_have_in_part_must_be_gone() {
    let server = Server::new().await;
    let incomplete = vec!["moods".to_owned()];
    let base = Base {
        incomplete,
        ..base(&server).await
    };
    let drop =
        doc! { "op": "c", "ns": "aesthetic.$cmd", "ui": uuid(&base), "o": { "drop": "moods" } };
    let error = server.rolled(&base, &[]).unwrap_err();
    assert!(error.to_string().contains("moods was dropped"), "{error}");
    assert_eq!(server.rolled(&base, &[entry(&base, drop)]).unwrap(), []);
}
