//! Expectations of a backup's contents. A backup that does not meet them is held: kept, but not counted as good.

use crate::repository::manifest::{CollectionFacts, Manifest};

/// Largest accepted loss of documents since the last good backup, in percent: of the database, and of each collection with at least [`MIN_DOCUMENTS`]
/// documents. A larger one holds the backup.
const LOSS_PERCENT: u64 = 20;
/// A collection with fewer documents may lose any number of them but all.
const MIN_DOCUMENTS: u64 = 100;

/// Expected contents.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// Collections that have to be there.
    pub named: Vec<String>,
    /// Collections that may appear and disappear.
    pub disposable: Vec<String>,
}

/// Reasons for holding a backup; empty if it meets the expectations. `before` is the last good one.
#[must_use]
pub fn evaluate(
    expected: &Expectations,
    found: &[CollectionFacts],
    before: Option<&Manifest>,
) -> Vec<String> {
    let mut reasons = Vec::new();
    let count = |found: &[CollectionFacts]| {
        found
            .iter()
            .map(|collection| collection.sums.documents)
            .sum::<u64>()
    };
    let total = count(found);
    if total == 0 {
        reasons.push("the backup is empty".into());
    }
    let find = |name: &str| found.iter().find(|collection| collection.name == name);
    for name in &expected.named {
        if find(name).is_none() {
            reasons.push(format!("{name} is missing, which is required"));
        }
    }
    let Some(before) = before else { return reasons };
    if exceeds_allowed_loss(before.documents(), total) {
        reasons.push(format!(
            "{total} documents, down from {} in {}",
            before.documents(),
            before.id
        ));
    }
    for previous in before
        .collections
        .iter()
        .filter(|previous| !expected.disposable.contains(&previous.name))
    {
        match find(&previous.name) {
            None if expected.named.contains(&previous.name) => {}
            None => reasons.push(format!(
                "{} is missing, but was in {}",
                previous.name, before.id
            )),
            Some(current)
                if previous.sums.documents > 0
                    && current.sums.documents == 0
                    && previous.kind != "view"
                    && !current.expires_documents() =>
            {
                reasons.push(format!(
                    "{} is empty, and had {} documents in {}",
                    previous.name, previous.sums.documents, before.id
                ));
            }
            Some(current)
                if previous.sums.documents >= MIN_DOCUMENTS
                    && !current.expires_documents()
                    && exceeds_allowed_loss(previous.sums.documents, current.sums.documents) =>
            {
                let (now, then) = (current.sums.documents, previous.sums.documents);
                reasons.push(format!(
                    "{} has {now} documents, down from {then} in {}",
                    previous.name, before.id
                ));
            }
            Some(_) => {}
        }
    }
    reasons
}

fn exceeds_allowed_loss(before: u64, now: u64) -> bool {
    now.saturating_mul(100) < before.saturating_mul(100 - LOSS_PERCENT)
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use silo_mongo::fingerprint::Sums;

    use super::*;
    use crate::archive::encoding::Compression;
    use crate::repository::manifest::{
        ArchiveFacts, ChangedDuringRead, Consistency, Server, SourceIdentity, State, Tool,
        Verification,
    };

    pub(crate) fn collection(name: &str, documents: u64) -> CollectionFacts {
        let sums = Sums {
            documents,
            bytes: documents * 10,
            ..Sums::default()
        };
        CollectionFacts {
            name: name.into(),
            kind: "collection".into(),
            uuid: None,
            sums,
            options: json!({}),
            indexes: vec![],
        }
    }

    pub(crate) fn manifest(id: &str, collections: Vec<CollectionFacts>) -> Manifest {
        let time = Timestamp::UNIX_EPOCH;
        Manifest {
            format: crate::repository::manifest::FORMAT,
            id: id.into(),
            repository: "r".into(),
            started_at: time,
            as_of: time,
            verified_at: time,
            state: State::Verified,
            held: vec![],
            source: SourceIdentity {
                database: "aesthetic".into(),
                id: "s".into(),
                server: Server {
                    version: "8.0.29".into(),
                    feature_compatibility_version: None,
                    replica_set: None,
                    replica_set_id: None,
                    term: None,
                },
            },
            consistency: Consistency::Fuzzy,
            cluster_time: None,
            not_in_snapshot: vec![],
            changed_during_read: ChangedDuringRead::default(),
            not_included: vec![],
            archive: ArchiveFacts {
                key: format!("data/{id}.archive.gz"),
                bytes: 1,
                sha256: String::new(),
                archive_bytes: 1,
                compression: Compression::Gzip,
                recipient: None,
            },
            collections,
            verification: Verification {
                how: "decoded".into(),
                invalid_strings: 0,
            },
            tool: Tool {
                version: "0".into(),
                sha: None,
                dirty: None,
            },
            lease: 1,
            previous: None,
        }
    }

    fn reasons(found: &[CollectionFacts], before: Option<&Manifest>) -> Vec<String> {
        let expected = Expectations {
            named: vec!["users".into()],
            disposable: vec!["boots".into()],
        };
        evaluate(&expected, found, before)
    }

    #[test]
    fn an_unchanged_database_meets_the_expectations() {
        let before = manifest(
            "b",
            vec![collection("users", 1000), collection("boots", 500)],
        );
        assert_eq!(
            reasons(
                &[collection("users", 810), collection("boots", 490)],
                Some(&before)
            ),
            Vec::<String>::new()
        );
        assert_eq!(
            reasons(&[collection("users", 1)], None),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_missing_collection_an_empty_database_and_a_great_loss_are_not() {
        let before = manifest(
            "b",
            vec![collection("users", 1000), collection("moods", 50)],
        );
        assert_eq!(
            reasons(&[], None),
            ["the backup is empty", "users is missing, which is required"]
        );
        assert_eq!(
            reasons(&[collection("users", 1000)], Some(&before)),
            ["moods is missing, but was in b"]
        );
        let held = reasons(
            &[collection("users", 799), collection("moods", 900)],
            Some(&before),
        );
        assert_eq!(held, ["users has 799 documents, down from 1000 in b"]);
        let all = reasons(
            &[collection("users", 700), collection("moods", 50)],
            Some(&before),
        );
        assert_eq!(all[0], "750 documents, down from 1050 in b");
    }

    #[test]
    fn collections_that_expire_documents_may_shrink() {
        let before = manifest(
            "b",
            vec![collection("users", 100_000), collection("logs", 1000)],
        );
        let mut logs = collection("logs", 10);
        logs.indexes
            .push(json!({ "name": "ttl", "expireAfterSeconds": { "$numberInt": "60" } }));
        assert_eq!(
            reasons(&[collection("users", 100_000), logs], Some(&before)),
            Vec::<String>::new()
        );
    }
}
