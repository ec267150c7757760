//! An entry that is lost, applied twice or changed does not give the next backup.

use silo_mongo::mongodb::bson::{Document, RawDocumentBuf, doc};

use silo_testkit::workloads::workloads;

use crate::random::Random;
use crate::server::{DATABASE, Server, different};

/// Documents of each kind of change.
const EACH: i32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_lost_doubled_moved_or_changed_is_noticed() {
    let server = Server::new().await;
    let documents: Vec<Document> = (0..2 * EACH)
        .map(|id| doc! { "_id": id, "n": id, "list": [1, 2] })
        .collect();
    server
        .command(doc! { "insert": "moods", "documents": documents })
        .await;
    let base = server.base().await;
    for id in 0..EACH {
        let change =
            doc! { "q": { "_id": id }, "u": { "$set": { "n": -id - 1 }, "$push": { "list": id } } };
        server
            .command(doc! { "update": "moods", "updates": [change] })
            .await;
        server
            .command(
                doc! { "delete": "moods", "deletes": [{ "q": { "_id": EACH + id }, "limit": 1 }] },
            )
            .await;
        server
            .command(doc! { "insert": "users", "documents": [{ "_id": id }] })
            .await;
    }
    let next = server.base().await;
    let entries = server.entries(base.at, next.at).await;
    let is_ours = |entry: &RawDocumentBuf| {
        let ours = entry
            .get_str("ns")
            .is_ok_and(|name| name.starts_with(DATABASE));
        ours && entry.get_str("op").is_ok_and(|op| op != "c")
    };
    let ours: Vec<usize> = (0..entries.len())
        .filter(|at| is_ours(&entries[*at]))
        .collect();
    assert_eq!(ours.len(), 3 * usize::try_from(EACH).unwrap());
    let mut random = Random::new(1);
    for trial in 0..workloads(120) {
        let place = ours[random.below(ours.len())];
        let name = entries[place]
            .get_str("ns")
            .unwrap()
            .trim_start_matches("aesthetic.");
        let mut tampered = entries.clone();
        match trial % 4 {
            0 => drop(tampered.remove(place)),
            1 => tampered.insert(place, entries[place].clone()),
            2 => tampered.swap(place, place.saturating_sub(1)),
            _ => tampered[place] = changed(&entries[place]),
        }
        match server.rolled(&base, &tampered) {
            Ok(rolled) => {
                let different = different(&next.collections, rolled);
                let named = different.iter().any(|line| line.contains(name));
                assert!(named, "trial {trial}: {name} is not in {different:?}");
            }
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.contains("position") || error.contains(name),
                    "trial {trial}: {error}"
                );
            }
        }
    }
}

/// The entry with another value in what it inserts, changes or deletes.
fn changed(entry: &RawDocumentBuf) -> RawDocumentBuf {
    let mut entry = Document::try_from(entry).unwrap();
    let object = entry.get_document_mut("o").unwrap();
    match object.get_document_mut("diff") {
        Ok(diff) => drop(diff.get_document_mut("u").unwrap().insert("n", 12_345)),
        Err(_) => drop(object.insert("_id", 12_345)),
    }
    RawDocumentBuf::try_from(&entry).unwrap()
}
