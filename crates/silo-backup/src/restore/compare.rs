//! Comparison of a restored database with its backup: every document is read again, and options and indexes are compared.

use silo_mongo::collections::{self, Collection, Kind};
use silo_mongo::error::DatabaseError;
use silo_mongo::fingerprint::Fingerprint;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Document, RawBsonRef};

use crate::archive::metadata;
use crate::archive::summary;
use crate::error::Error;
use crate::progress::Reporter;
use crate::repository::manifest::{CollectionFacts, Manifest};

/// Reads everything that was inserted, and compares.
pub(super) async fn compare(
    manifest: &Manifest,
    database: &Database,
    report: &Reporter,
) -> Result<(), Error> {
    report.begin("comparing", Some(manifest.documents()), "documents");
    for want in manifest
        .collections
        .iter()
        .filter(|want| want.kind != Kind::View.word())
    {
        report.at(&want.name);
        let collection = Collection {
            name: want.name.clone(),
            kind: Kind::of_word(&want.kind),
            options: Document::new(),
            uuid: None,
            indexes: Vec::new(),
        };
        let data_name = collection.data_name();
        let mut fingerprint = Fingerprint::default();
        let read = collections::read_all(database, &data_name, None, async |batch| {
            let mut count = 0;
            for document in batch
                .doc_slices()
                .map_err(|error| DatabaseError::from(&error))?
            {
                let Ok(RawBsonRef::Document(document)) = document else {
                    return Err(DatabaseError::Unreadable);
                };
                fingerprint.add(document.as_bytes());
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
        if !fingerprint.sums().same_documents(&want.sums) {
            return Err(Error::Corrupt(format!(
                "{} does not hold the documents that it should",
                want.name
            )));
        }
    }
    Ok(())
}

/// Compares a database restored by another tool with the backup.
///
/// # Errors
/// The error of reading; [`Error::Corrupt`] when documents differ.
pub async fn compare_all(
    manifest: &Manifest,
    database: &Database,
    report: &Reporter,
) -> Result<Vec<String>, Error> {
    compare(manifest, database, report).await?;
    differences(manifest, database).await
}

/// Differences of options and indexes.
pub(super) async fn differences(
    manifest: &Manifest,
    database: &Database,
) -> Result<Vec<String>, Error> {
    let have = collections::list(database)
        .await
        .map_err(Error::database("listing the restored database"))?;
    let mut wrong = Vec::new();
    for want in &manifest.collections {
        match have.iter().find(|have| have.name == want.name) {
            None => wrong.push(format!("{} is missing", want.name)),
            Some(have) => {
                let have = CollectionFacts {
                    name: have.name.clone(),
                    kind: have.kind.word().into(),
                    sums: want.sums.clone(),
                    options: metadata::extended(&have.options),
                    indexes: have.indexes.iter().map(metadata::extended).collect(),
                };
                wrong.extend(summary::structure(want, &have));
            }
        }
    }
    Ok(wrong)
}
