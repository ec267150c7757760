//! Inserts as MongoDB 8 writes them: several in one `applyOps`, in the namespace of the server. mongod 6.0 writes none, so they are made by hand after
//! the samples of mongo-tools (`testdata/oplogs/json/vectored_insert.json`).

use silo_backup::oplog::Position;
use silo_mongo::mongodb::bson::spec::BinarySubtype;
use silo_mongo::mongodb::bson::{Binary, Document, RawDocumentBuf, Timestamp, doc};

use crate::server::{Base, Server};

/// An entry `number` places after a backup, with the inserts of these documents into a namespace.
fn grouped(
    base: &Base,
    number: u32,
    namespaces: &[&str],
    ids: &[i32],
    more: Document,
) -> RawDocumentBuf {
    let uuid = base.collections[0].uuid.as_ref().unwrap();
    let bytes = u128::from_str_radix(uuid, 16)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    let insert = |(id, namespace): (&i32, &&str)| {
        let uuid = Binary {
            subtype: BinarySubtype::Uuid,
            bytes: bytes.clone(),
        };
        doc! { "op": "i", "ns": *namespace, "ui": uuid, "o": { "_id": id, "text": "t" }, "o2": { "_id": id } }
    };
    let operations: Vec<Document> = ids
        .iter()
        .zip(namespaces.iter().cycle())
        .map(insert)
        .collect();
    let mut entry = doc! {
        "op": "c", "ns": "admin.$cmd", "o": { "applyOps": operations },
        "ts": Timestamp { time: base.at.seconds + 1, increment: number }, "t": 1_i64, "v": 2_i64,
    };
    entry.extend(more);
    RawDocumentBuf::try_from(&entry).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn grouped_inserts_are_neither_lost_nor_doubled() {
    let server = Server::new().await;
    server
        .command(doc! { "insert": "moods", "documents": [{ "_id": 0 }] })
        .await;
    let base = server.base().await;
    let ours = ["aesthetic.moods"];
    let session = |number: i64, previous: u32| {
        doc! {
            "lsid": { "id": "s" }, "txnNumber": number, "multiOpType": 1,
            "prevOpTime": { "ts": Timestamp { time: if previous == 0 { 0 } else { base.at.seconds + 1 }, increment: previous }, "t": 1_i64 },
        }
    };
    let entries = [
        // Without a session.
        grouped(&base, 1, &ours, &[1, 2, 3], doc! { "multiOpType": 1 }),
        // A retryable insert of two batches, which are linked.
        grouped(&base, 2, &ours, &[4, 5], session(7, 0)),
        grouped(&base, 3, &ours, &[6], session(7, 2)),
        // Documents of several databases.
        grouped(
            &base,
            4,
            &["other.moods", "aesthetic.moods"],
            &[7, 8, 9, 10],
            doc! {},
        ),
        // A transaction of one entry.
        grouped(
            &base,
            5,
            &ours,
            &[11],
            doc! { "lsid": { "id": "t" }, "txnNumber": 1_i64, "prevOpTime": { "ts": Timestamp { time: 0, increment: 0 }, "t": -1_i64 } },
        ),
    ];
    for (end, expected) in [1 + 3, 1 + 5, 1 + 6, 1 + 8, 1 + 9].into_iter().enumerate() {
        let rolled = server.rolled(&base, &entries[..=end]).unwrap();
        assert_eq!(rolled[0].sums.documents, expected, "{end}");
    }
    // Nothing is applied twice.
    let twice = [
        &entries[..1],
        &[grouped(&base, 2, &ours, &[1], doc! { "multiOpType": 1 })],
    ]
    .concat();
    let error = server.rolled(&base, &twice).unwrap_err().to_string();
    assert!(
        error.contains("moods") && error.contains("inserted that is there"),
        "{error}"
    );
    let late = Position {
        seconds: base.at.seconds + 2,
        ..base.at
    };
    let later = Base { at: late, ..base };
    let rolled = server.rolled(&later, &entries).unwrap();
    assert_eq!(
        rolled[0].sums.documents, 1,
        "entries before the backup do nothing"
    );
}
