//! A server that is backed up again and again, with the entries of its oplog in between.

use std::io::Write;

use futures_util::TryStreamExt;
use silo_backup::archive::decoding::decompress;
use silo_backup::archive::encoding::{ArchiveEncoding, Chunk, Compression};
use silo_backup::archive::reader;
use silo_backup::archive::summary::{SummaryBuilder, differences};
use silo_backup::clock::Clock;
use silo_backup::dump::{self, DumpRequest};
use silo_backup::oplog::roll::Roll;
use silo_backup::oplog::server::ServerOplog;
use silo_backup::oplog::{Error, Position};
use silo_backup::repository::manifest::CollectionFacts;
use silo_cli::progress::Reporter;
use silo_mongo::mongodb::bson::{Document, RawDocumentBuf, Timestamp, doc};
use silo_mongo::mongodb::{Client, Database};
use silo_testkit::mongo::{MongoServer, Setup};
use tempfile::TempDir;
use tokio::sync::mpsc;

pub(crate) const DATABASE: &str = "aesthetic";

/// A backup in memory.
pub(crate) struct Base {
    pub(crate) at: Position,
    pub(crate) collections: Vec<CollectionFacts>,
    /// The archive, compressed.
    pub(crate) archive: Vec<u8>,
    /// Collections that it may have in part.
    pub(crate) incomplete: Vec<String>,
}

pub(crate) struct Server {
    _mongo: MongoServer,
    pub(crate) client: Client,
    folder: TempDir,
}

impl Server {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let setup = setup.arguments(&["--oplogSize", "990", "--wiredTigerCacheSizeGB", "1"]);
        let mongo = setup.start().await.unwrap();
        Self {
            client: mongo.client().await.unwrap(),
            _mongo: mongo,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn database(&self) -> Database {
        self.client.database(DATABASE)
    }

    /// Runs a command that may fail.
    pub(crate) async fn command(&self, command: Document) {
        drop(self.database().run_command(command).await);
    }

    /// Backs the database up.
    pub(crate) async fn base(&self) -> Base {
        let order = DumpRequest {
            client: self.client.clone(),
            database: DATABASE.into(),
            encoding: ArchiveEncoding {
                compression: Compression::Gzip,
                recipient: None,
            },
            version: "test".into(),
            report: Reporter::default(),
            clock: Clock::default(),
        };
        let (out, mut chunks) = mpsc::channel(4);
        let taking = tokio::spawn(async move {
            let mut archive = Vec::new();
            while let Some(Chunk::Data(bytes)) = chunks.recv().await {
                archive.extend_from_slice(&bytes);
            }
            archive
        });
        let outcome = dump::run(&order, "6.0.5", out, None).await.unwrap();
        // By which a restore knows that the oplog continues the backup.
        let at = outcome.cluster_time.unwrap();
        let oplog = ServerOplog::new(&self.client, DATABASE);
        assert!(oplog.has(at).await.unwrap(), "{at} is no entry");
        Base {
            at: outcome.cluster_time.unwrap(),
            collections: outcome.written,
            archive: taking.await.unwrap(),
            incomplete: Vec::new(),
        }
    }

    /// The oplog between two positions: after the first, and up to the second.
    pub(crate) async fn entries(&self, after: Position, through: Position) -> Vec<RawDocumentBuf> {
        let time = |at: Position| Timestamp {
            time: at.seconds,
            increment: at.increment,
        };
        let oplog = self.client.database("local").collection("oplog.rs");
        let filter = doc! { "ts": { "$gt": time(after), "$lte": time(through) } };
        oplog
            .find(filter)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap()
    }

    /// Applies entries to a backup; the collections of the new archive, as they are read from it.
    pub(crate) fn rolled(
        &self,
        base: &Base,
        entries: &[RawDocumentBuf],
    ) -> Result<Vec<CollectionFacts>, Error> {
        let (archive, collections) = self.roll(base, entries)?;
        let mut summary = SummaryBuilder::new(None, Reporter::default());
        let read = reader::read(archive.as_slice(), &mut summary)?;
        let summary = summary.summary(&read)?;
        assert_eq!(summary.collections, collections);
        Ok(collections)
    }

    /// Applies entries to a backup: a backup of the moment of the last one.
    pub(crate) fn rolled_base(
        &self,
        base: &Base,
        entries: &[RawDocumentBuf],
        at: Position,
    ) -> Base {
        let (archive, collections) = self.roll(base, entries).unwrap();
        Base {
            at,
            collections,
            archive: gzipped(&archive),
            incomplete: Vec::new(),
        }
    }

    fn roll(
        &self,
        base: &Base,
        entries: &[RawDocumentBuf],
    ) -> Result<(Vec<u8>, Vec<CollectionFacts>), Error> {
        let mut roll = Roll::new(self.folder.path(), DATABASE, base.at, &base.collections)?;
        roll.incomplete(&base.incomplete);
        for entry in entries {
            roll.entry(entry.as_bytes())?;
        }
        let archive = decompress(base.archive.as_slice(), Compression::Gzip)?;
        let rolled = roll.write(archive, Vec::new(), "6.0.5", "test")?;
        Ok((rolled.out, rolled.collections))
    }

    /// Asserts that a backup and all entries up to the next one give that one.
    pub(crate) async fn assert_same(&self, base: &Base, next: &Base, context: &str) {
        let entries = self.entries(base.at, next.at).await;
        let rolled = self.rolled(base, &entries);
        let rolled = rolled.unwrap_or_else(|error| panic!("{context}: {error}"));
        let different = different(&next.collections, rolled.clone());
        let structure = |facts: &CollectionFacts| (facts.options.clone(), facts.indexes.clone());
        let of_one = |facts: &CollectionFacts| {
            let want = next.collections.iter().find(|want| want.name == facts.name);
            let named = different.iter().any(|line| line.contains(&facts.name));
            named.then(|| (structure(facts), want.map(structure)))
        };
        let structures: Vec<_> = rolled.iter().filter_map(of_one).collect();
        assert_eq!(different, <Vec<String>>::new(), "{context}: {structures:?}");
    }
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Differences in documents in any order, options and indexes.
pub(crate) fn different(
    wanted: &[CollectionFacts],
    mut found: Vec<CollectionFacts>,
) -> Vec<String> {
    for have in &mut found {
        let same = wanted
            .iter()
            .find(|want| want.name == have.name && want.sums.same_documents(&have.sums));
        if let Some(same) = same {
            have.sums = same.sums.clone();
        }
    }
    differences(wanted, &found)
}
