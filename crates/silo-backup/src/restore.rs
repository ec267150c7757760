//! Putting a backup into an empty database, and proving that it is there.
//!
//! Everything is verified before the first write. Documents come first and are compared; then indexes, those that let documents expire
//! last, so that none is gone before it was compared; then views.

use bson::{RawDocument, RawDocumentBuf};
use silo_core::secret::Secret;
use silo_mongo::fault::Fault;
use silo_mongo::fingerprint::Fingerprint;
use silo_mongo::mongodb::bson::{Document, RawBsonRef, doc};
use silo_mongo::mongodb::{Client, Database};
use silo_mongo::structure::{self, Collection, Kind};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::archive::reader::{self, Visitor};
use crate::archive::{Prelude, metadata};
use crate::check;
use crate::engine::addresses;
use crate::error::Error;
use crate::lease::SILO;
use crate::manifest::{CollectionFacts, Manifest, sha256};
use crate::pipeline::{self, Incoming, identity_of};
use crate::progress::Reporter;
use crate::repository::Repository;

/// How many documents are inserted at once, and how many bytes.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 1024 * 1024;
/// Databases that are the server's or Silo's own.
const RESERVED: [&str; 4] = ["admin", "local", "config", SILO];

/// A server that is written to.
#[derive(Clone)]
pub struct Target {
    /// The server.
    pub client: Client,
    /// The database.
    pub database: Database,
}

/// Refuses a target that could be what the backup came from, is reserved, or holds anything.
///
/// # Errors
/// [`Error::Refused`], with what to do instead.
pub async fn guard(
    manifest: &Manifest,
    source: Option<(&Secret, &str)>,
    target: &Target,
    to: &Secret,
) -> Result<(), Error> {
    let name = target.database.name();
    let refuse = |why: String| Err(Error::Refused(why));
    if RESERVED.contains(&name) {
        return refuse(format!(
            "{name} is not a database to restore to; choose a new name"
        ));
    }
    let here = addresses(to).await?;
    let from_manifest = manifest.source.database == name
        && manifest.source.addresses == sha256(here.join(",").as_bytes());
    let from_settings = match source {
        Some((uri, database)) if database == name => addresses(uri)
            .await?
            .iter()
            .any(|address| here.contains(address)),
        _ => false,
    };
    if from_manifest || from_settings {
        return refuse(format!(
            "{name} on this server is where the backup comes from; restore to a new name, and `swap` then"
        ));
    }
    // Whatever the addresses are called: no database of the source's name on a server of the source's replica set.
    if manifest.source.database == name {
        let hello = target
            .client
            .database("admin")
            .run_command(doc! { "hello": 1 })
            .await;
        let hello = hello.map_err(|error| Error::database("reaching the target")(&error))?;
        let set = hello.get_str("setName").ok();
        if set.is_some() && set == manifest.source.replica_set.as_deref() {
            return refuse(format!(
                "the target is of replica set {}, which the backup comes from, and {name} is its database; restore to a new name",
                set.unwrap_or_default()
            ));
        }
    }
    if !is_empty(&target.database).await? {
        return refuse(format!(
            "{name} is not empty; restore to a name that does not exist"
        ));
    }
    Ok(())
}

/// Whether a database has nothing in it.
///
/// # Errors
/// Why nobody knows.
pub async fn is_empty(database: &Database) -> Result<bool, Error> {
    structure::is_empty(database)
        .await
        .map_err(Error::database("looking whether the target is empty"))
}

/// Restores into an empty database, whose archive has been verified. What fails, or is stopped, leaves nothing behind.
///
/// # Errors
/// Why it is not there.
pub async fn restore(
    repository: &Repository,
    manifest: &Manifest,
    target: &Target,
    identity: Option<&Secret>,
    report: &Reporter,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let mut made = Vec::new();
    let restored = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Error::Interrupted),
        restored = restore_into(repository, manifest, target, identity, report, &mut made) => restored,
    };
    if restored.is_err() {
        report.begin("cleaning", None, "documents");
        // Only what was made here.
        for name in made.iter().rev() {
            if let Err(error) = target.database.run_command(doc! { "drop": name }).await {
                log::warn!(collection = name.as_str(), code = Fault::from(&error).code(); "a collection that was half restored stays behind");
            }
        }
    }
    restored
}

async fn restore_into(
    repository: &Repository,
    manifest: &Manifest,
    target: &Target,
    identity: Option<&Secret>,
    report: &Reporter,
    made: &mut Vec<String>,
) -> Result<(), Error> {
    let database = &target.database;
    let collections = load(repository, manifest, database, identity, report, made).await?;
    compare(manifest, database, report).await?;
    build(database, &collections, report, made).await?;
    let wrong = differences(manifest, database).await?;
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Error::Corrupt(format!(
            "restored, and not the same: {}",
            wrong.join("; ")
        )))
    }
}

/// What the reader of an archive hands on.
enum Step {
    Collections(Vec<Collection>),
    Documents(usize, Vec<RawDocumentBuf>),
}

/// Creates the collections and inserts the documents.
async fn load(
    repository: &Repository,
    manifest: &Manifest,
    database: &Database,
    identity: Option<&Secret>,
    report: &Reporter,
    made: &mut Vec<String>,
) -> Result<Vec<Collection>, Error> {
    report.begin("inserting", Some(manifest.documents()), "documents");
    let chunks = repository.download(&manifest.archive.key, manifest.archive.bytes);
    let (out, mut steps) = mpsc::channel(1);
    let archive = manifest.archive.clone();
    let identity = identity.and_then(identity_of);
    let reading = tokio::task::spawn_blocking(move || {
        let mut incoming = Incoming::new(chunks);
        let read = {
            let identity = identity.as_ref().filter(|_| archive.recipient.is_some());
            let plain = pipeline::open(&mut incoming, archive.compression, identity)
                .map_err(reader::Error::from);
            plain.and_then(|plain| {
                reader::read(
                    plain,
                    &mut Loader {
                        out,
                        place: 0,
                        batch: Vec::new(),
                        bytes: 0,
                    },
                )
            })
        };
        match (read, incoming.broke.take()) {
            (Ok(_), _) => Ok(()),
            (Err(_), Some(broke)) => Err(Error::Inconclusive(format!(
                "the archive could not be read to its end: {broke}"
            ))),
            (Err(error), None) => Err(Error::Corrupt(format!(
                "the archive changed after it was verified: {error}"
            ))),
        }
    });
    let mut collections = Vec::new();
    while let Some(step) = steps.recv().await {
        match step {
            Step::Collections(announced) => {
                for collection in announced
                    .iter()
                    .filter(|collection| collection.kind != Kind::View)
                {
                    made.push(collection.name.clone());
                    create(database, collection).await?;
                }
                collections = announced;
            }
            Step::Documents(place, documents) => {
                let collection = &collections[place];
                report.at(&collection.name);
                let count = u64::try_from(documents.len()).unwrap_or_default();
                insert(database, collection, documents).await?;
                report.add(count);
            }
        }
    }
    reading
        .await
        .map_err(|_panic| Error::Engine("reading the archive broke off".into()))??;
    Ok(collections)
}

async fn create(database: &Database, collection: &Collection) -> Result<(), Error> {
    let mut command = doc! { "create": &collection.name };
    command.extend(collection.options.clone());
    let created = database.run_command(command).await;
    created
        .map(drop)
        .map_err(|error| Error::database(format!("creating {}", collection.name))(&error))
}

async fn insert(
    database: &Database,
    collection: &Collection,
    documents: Vec<RawDocumentBuf>,
) -> Result<(), Error> {
    let into = database.collection::<RawDocumentBuf>(&collection.data_name());
    // Older documents need not meet a rule that was made after them.
    let ruled = collection.options.contains_key("validator");
    let inserted = into
        .insert_many(documents)
        .ordered(true)
        .bypass_document_validation(ruled)
        .await;
    inserted
        .map(drop)
        .map_err(|error| Error::database(format!("inserting into {}", collection.name))(&error))
}

/// Reads everything that was inserted, and compares.
async fn compare(manifest: &Manifest, database: &Database, report: &Reporter) -> Result<(), Error> {
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
        let read = structure::read_all(database, &data_name, None, async |batch| {
            let mut count = 0;
            for document in batch.doc_slices().map_err(|error| Fault::from(&error))? {
                let Ok(RawBsonRef::Document(document)) = document else {
                    return Err(Fault::Unreadable);
                };
                fingerprint.add(document.as_bytes());
                count += 1;
            }
            report.add(count);
            Ok(())
        });
        read.await.map_err(Error::database::<Fault>(format!(
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

/// Builds indexes and views, those indexes that let documents expire at the end.
async fn build(
    database: &Database,
    collections: &[Collection],
    report: &Reporter,
    made: &mut Vec<String>,
) -> Result<(), Error> {
    report.begin("indexing", None, "documents");
    let expires = |index: &Document| index.contains_key("expireAfterSeconds");
    for last in [false, true] {
        for collection in collections {
            let wanted = |index: &&Document| {
                let own =
                    index.get_str("name").ok() == Some("_id_") || index.contains_key("clustered");
                !own && expires(index) == last
            };
            let indexes: Vec<&Document> = collection.indexes.iter().filter(wanted).collect();
            if indexes.is_empty() {
                continue;
            }
            report.at(&collection.name);
            let built = database.run_command(doc! { "createIndexes": &collection.name, "indexes": indexes.into_iter().cloned().collect::<Vec<_>>() }).await;
            built.map_err(|error| {
                Error::database(format!("building the indexes of {}", collection.name))(&error)
            })?;
        }
    }
    for view in collections
        .iter()
        .filter(|collection| collection.kind == Kind::View)
    {
        made.push(view.name.clone());
        create(database, view).await?;
    }
    Ok(())
}

/// How what another tool restored differs from the backup.
///
/// # Errors
/// Why it could not be read; [`Error::Corrupt`] when documents differ.
pub async fn compare_all(
    manifest: &Manifest,
    database: &Database,
    report: &Reporter,
) -> Result<Vec<String>, Error> {
    compare(manifest, database, report).await?;
    differences(manifest, database).await
}

/// How the build of what is there differs from what should be.
async fn differences(manifest: &Manifest, database: &Database) -> Result<Vec<String>, Error> {
    let have = structure::list(database)
        .await
        .map_err(Error::database("listing what was restored"))?;
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
                wrong.extend(check::structure(want, &have));
            }
        }
    }
    Ok(wrong)
}

/// Collects documents into batches.
struct Loader {
    out: mpsc::Sender<Step>,
    place: usize,
    batch: Vec<RawDocumentBuf>,
    bytes: usize,
}

impl Loader {
    fn send(&mut self, step: Step) -> Result<(), reader::Error> {
        let sent = self.out.blocking_send(step);
        sent.map_err(|_gone| {
            reader::Error::Read(std::io::Error::other("nobody takes the documents any more"))
        })
    }

    fn flush(&mut self) -> Result<(), reader::Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.send(Step::Documents(self.place, batch))
    }
}

impl Visitor for Loader {
    fn prelude(&mut self, prelude: &Prelude) -> Result<(), reader::Error> {
        let read = prelude.namespaces.iter().map(|namespace| {
            metadata::read(&namespace.collection, namespace.kind, &namespace.metadata)
        });
        let collections = read.collect::<Option<Vec<_>>>();
        let collections = collections.ok_or_else(|| {
            reader::Error::Corrupt("what is said of a collection cannot be read".into())
        })?;
        self.send(Step::Collections(collections))
    }

    fn document(&mut self, place: usize, document: &RawDocument) -> Result<(), reader::Error> {
        if place != self.place {
            self.flush()?;
            self.place = place;
        }
        self.bytes += document.as_bytes().len();
        self.batch.push(document.to_owned());
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn end(&mut self, _: usize) -> Result<(), reader::Error> {
        self.flush()
    }
}
