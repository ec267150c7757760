//! Comparison of a restored database with its backup: every document is read again, and options and indexes are compared.

use silo_mongo::collections::{self, Collection, Kind};
use silo_mongo::error::DatabaseError;
use silo_mongo::fingerprint::Fingerprint;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::Document;

use crate::archive::summary;
use crate::dump::BATCH_BYTES;
use crate::error::Error;
use crate::repository::manifest::{CollectionFacts, Manifest};
use silo_cli::progress::Reporter;

/// Result of comparing documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Collections whose documents differ.
    pub differences: Vec<String>,
    /// Collections that were not compared, with the reason.
    pub not_compared: Vec<String>,
}

/// Reads all restored documents and compares them with the backup.
///
/// # Errors
/// The error of reading.
pub(super) async fn compare(
    wanted: &[CollectionFacts],
    database: &Database,
    report: &Reporter,
) -> Result<Comparison, Error> {
    let documents = wanted.iter().map(|want| want.sums.documents).sum();
    report.begin("comparing", Some(documents), "documents");
    let mut comparison = Comparison::default();
    for want in wanted.iter().filter(|want| want.kind != Kind::View.word()) {
        report.at(&want.name);
        let collection = Collection {
            name: want.name.clone(),
            kind: Kind::of_word(&want.kind),
            options: Document::new(),
            uuid: None,
            indexes: Vec::new(),
        };
        let data_name = collection.data_name();
        let average = want.sums.bytes / want.sums.documents.max(1);
        let batch = u32::try_from(BATCH_BYTES / average.max(1)).unwrap_or(u32::MAX);
        let mut fingerprint = Fingerprint::default();
        let read = collections::read_all(database, &data_name, batch.max(1), None, async |batch| {
            let mut count = 0;
            for document in collections::documents(&batch)? {
                fingerprint.add(document?.as_bytes());
                count += 1;
            }
            report.add(count);
            Ok(())
        });
        read.await
            .map_err(Error::database::<DatabaseError>(format!(
                "reading {} again",
                want.name
            )))?;
        let found = fingerprint.sums();
        if !found.same_documents(&want.sums) {
            comparison
                .differences
                .push(if found.documents == want.sums.documents {
                    format!("documents of {} differ from the backup", want.name)
                } else {
                    format!(
                        "{} has {} documents and should have {}",
                        want.name, found.documents, want.sums.documents
                    )
                });
        }
    }
    Ok(comparison)
}

/// Compares a database restored by another tool with the backup. Collections whose documents expire are left out: the tool builds their indexes before
/// it is done.
///
/// # Errors
/// The error of reading.
pub async fn compare_all(
    manifest: &Manifest,
    database: &Database,
    report: &Reporter,
) -> Result<Comparison, Error> {
    let (expiring, wanted): (Vec<CollectionFacts>, Vec<CollectionFacts>) = manifest
        .collections
        .iter()
        .cloned()
        .partition(CollectionFacts::expires_documents);
    let mut comparison = compare(&wanted, database, report).await?;
    comparison
        .differences
        .extend(differences(&manifest.collections, database).await?);
    comparison.not_compared = expiring
        .iter()
        .map(|collection| format!("documents of {}, which expire", collection.name))
        .collect();
    Ok(comparison)
}

/// Differences of options and indexes.
pub(super) async fn differences(
    wanted: &[CollectionFacts],
    database: &Database,
) -> Result<Vec<String>, Error> {
    let have = collections::list(database)
        .await
        .map_err(Error::database("listing the restored database"))?;
    let mut wrong = Vec::new();
    for want in wanted {
        match have.iter().find(|have| have.name == want.name) {
            None => wrong.push(format!("{} is missing", want.name)),
            Some(have) => {
                let have = CollectionFacts::new(have, want.sums.clone());
                wrong.extend(summary::structure(want, &have));
            }
        }
    }
    Ok(wrong)
}
