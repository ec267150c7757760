//! Transactions are there as a whole or not at all, wherever a backup begins or the entries end.

use futures_util::TryStreamExt;
use silo_backup::oplog::server::ServerOplog;
use silo_backup::oplog::{Error, Position};
use silo_backup::repository::manifest::CollectionFacts;
use silo_mongo::mongodb::bson::spec::BinarySubtype;
use silo_mongo::mongodb::bson::{Binary, Document, RawDocumentBuf, doc};

use crate::server::{DATABASE, Server, different};

/// Documents of a transaction: together of more than two entries of 16 MB.
const DOCUMENTS: i32 = 40;

fn large(at: i32) -> Document {
    let bytes = vec![u8::try_from(at).unwrap(); 1_000_000];
    doc! { "_id": at, "blob": Binary { subtype: BinarySubtype::Generic, bytes } }
}

fn position(entry: &RawDocumentBuf) -> Position {
    let at = entry.get_timestamp("ts").unwrap();
    Position {
        seconds: at.time,
        increment: at.increment,
    }
}

fn documents(collections: &[CollectionFacts], name: &str) -> u64 {
    let found = collections.iter().find(|facts| facts.name == name);
    found.map_or(0, |facts| facts.sums.documents)
}

/// A transaction that inserts large documents.
async fn insert(server: &Server, name: &str, commit: bool) {
    let mut session = server.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let collection = server.database().collection::<Document>(name);
    for at in 0..DOCUMENTS {
        collection
            .insert_one(large(at))
            .session(&mut session)
            .await
            .unwrap();
    }
    if commit {
        session.commit_transaction().await.unwrap();
    } else {
        session.abort_transaction().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_several_entries_is_whole_wherever_they_are_cut() {
    let server = Server::new().await;
    server.command(doc! { "create": "blobs" }).await;
    let base = server.base().await;
    insert(&server, "blobs", false).await;
    insert(&server, "blobs", true).await;
    server
        .command(doc! { "insert": "blobs", "documents": [{ "_id": "after" }] })
        .await;
    let next = server.base().await;
    let entries = server.entries(base.at, next.at).await;
    let of_transaction = entries.iter().filter(|entry| {
        entry
            .get_document("o")
            .is_ok_and(|o| o.get("applyOps").unwrap().is_some())
    });
    let of_transaction: Vec<Position> = of_transaction.map(position).collect();
    assert!(of_transaction.len() >= 3, "{of_transaction:?}");
    let (whole, last) = (
        u64::try_from(DOCUMENTS).unwrap(),
        *of_transaction.last().unwrap(),
    );
    for (end, entry) in entries.iter().enumerate() {
        let at = position(entry);
        let rolled = server.rolled(&base, &entries[..=end]).unwrap();
        let expected = if at < last { 0 } else { whole };
        assert!(
            [expected, expected + 1].contains(&documents(&rolled, "blobs")),
            "{at}"
        );
        // A backup of that moment, and what comes after it.
        let middle = server.rolled_base(&base, &entries[..=end], at);
        let rolled = server.rolled(&middle, &entries).unwrap();
        assert_eq!(
            different(&next.collections, rolled),
            <Vec<String>>::new(),
            "from {at}"
        );
    }
    // Only parts of a transaction that has not ended are read beside what comes after a backup.
    let oplog = ServerOplog::new(&server.client, DATABASE);
    for (before, at) in of_transaction.iter().enumerate() {
        let parts = oplog.parts(*at).await.unwrap();
        let parts: Vec<RawDocumentBuf> = parts.try_collect().await.unwrap();
        let expected = if *at < last { before + 1 } else { 0 };
        assert_eq!(parts.len(), expected, "{at}");
    }
    // The first part is missing.
    let without: Vec<RawDocumentBuf> = entries
        .iter()
        .filter(|entry| position(entry) != of_transaction[0])
        .cloned()
        .collect();
    let error = server.rolled(&base, &without).unwrap_err();
    assert!(matches!(error, Error::Malformed(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_transactions_at_once_are_whole() {
    let server = Server::new().await;
    server.command(doc! { "create": "accounts" }).await;
    let base = server.base().await;
    let transactions = (0..50).map(|number| {
        let client = server.client.clone();
        tokio::spawn(async move {
            let mut session = client.start_session().await.unwrap();
            session.start_transaction().await.unwrap();
            let collection = client.database(DATABASE).collection::<Document>("accounts");
            for at in 0..4 {
                let document = doc! { "_id": format!("{number}-{at}") };
                collection
                    .insert_one(document)
                    .session(&mut session)
                    .await
                    .unwrap();
            }
            let change = doc! { "$set": { "changed": true } };
            let first = doc! { "_id": format!("{number}-0") };
            collection
                .update_one(first, change)
                .session(&mut session)
                .await
                .unwrap();
            let last = doc! { "_id": format!("{number}-3") };
            collection
                .delete_one(last)
                .session(&mut session)
                .await
                .unwrap();
            if number % 5 == 0 {
                session.abort_transaction().await.unwrap();
            } else {
                session.commit_transaction().await.unwrap();
            }
        })
    });
    for transaction in transactions.collect::<Vec<_>>() {
        transaction.await.unwrap();
    }
    let next = server.base().await;
    assert_eq!(documents(&next.collections, "accounts"), 40 * 3);
    let entries = server.entries(base.at, next.at).await;
    for end in 0..entries.len() {
        let rolled = server.rolled(&base, &entries[..=end]).unwrap();
        assert_eq!(
            documents(&rolled, "accounts") % 3,
            0,
            "{}",
            position(&entries[end])
        );
    }
    server.assert_same(&base, &next, "all").await;
}
