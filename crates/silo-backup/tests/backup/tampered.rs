//! Every change to stored files is detected, and missing files are noticed.

use bson::RawDocument;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use silo_backup::archive::reader::{self, Visitor};
use silo_backup::archive::writer::Writer;
use silo_backup::archive::{Prelude, metadata};
use silo_backup::context::Context;
use silo_backup::error::Error;
use silo_backup::repository::manifest::{Manifest, sha256};
use silo_backup::settings::Settings;
use silo_backup::verification::verify;
use silo_cli::progress::Reporter;
use silo_core::settings::SettingsReader;
use silo_mongo::mongodb::bson::{RawDocumentBuf, doc};
use std::io::{Read, Write};

use crate::stage::{BUCKET, PREFIX, Stage};

/// An archive split into its parts.
#[derive(Clone, Default)]
struct Parts {
    prelude: Option<Prelude>,
    documents: Vec<Vec<Vec<u8>>>,
}

impl Visitor for Parts {
    fn prelude(&mut self, prelude: &Prelude) -> Result<(), reader::Error> {
        self.documents = vec![Vec::new(); prelude.namespaces.len()];
        self.prelude = Some(prelude.clone());
        Ok(())
    }

    fn document(&mut self, place: usize, document: &RawDocument) -> Result<(), reader::Error> {
        self.documents[place].push(document.as_bytes().to_vec());
        Ok(())
    }

    fn end(&mut self, _: usize) -> Result<(), reader::Error> {
        Ok(())
    }
}

impl Parts {
    fn of(stored: &[u8]) -> Self {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(stored)
            .read_to_end(&mut plain)
            .unwrap();
        let mut parts = Self::default();
        reader::read(plain.as_slice(), &mut parts).unwrap();
        parts
    }

    /// Put together again as if nothing had happened: every checksum of the archive itself is right.
    fn stored(&self) -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), self.prelude.clone().unwrap()).unwrap();
        for (place, documents) in self.documents.iter().enumerate() {
            let mut open = writer.open(place).unwrap();
            for document in documents {
                writer.document(&mut open, document).unwrap();
            }
            writer.close(&open).unwrap();
        }
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&writer.into_inner()).unwrap();
        gzip.finish().unwrap()
    }

    /// One thing changed: what, in words.
    fn change(&mut self, random: &mut SmallRng) -> &'static str {
        let prelude = self.prelude.as_mut().unwrap();
        let with_demo_data: Vec<usize> = (0..self.documents.len())
            .filter(|place| !self.documents[*place].is_empty())
            .collect();
        let place = with_demo_data[random.random_range(0..with_demo_data.len())];
        let documents = &mut self.documents[place];
        let at = random.random_range(0..documents.len());
        match random.random_range(0..7) {
            0 => {
                documents.remove(at);
                "a document removed"
            }
            1 => {
                let more =
                    RawDocumentBuf::try_from(&doc! { "_id": random.random::<i64>() }).unwrap();
                documents.insert(at, more.as_bytes().to_vec());
                "a document added"
            }
            2 => {
                let document = &mut documents[at];
                // The last letter of a text; BSON stays BSON.
                let letter = document.iter().rposition(|byte| *byte == b'x').unwrap();
                document[letter] = b'y';
                "a document altered"
            }
            3 => {
                let other = documents[(at + 1) % documents.len()].clone();
                documents[at] = other;
                "a document twice in the place of another"
            }
            4 => {
                let other = (at + 1) % documents.len();
                documents.swap(at, other);
                "two documents in another order"
            }
            kind => {
                let namespace = &mut prelude.namespaces[place];
                let mut collection =
                    metadata::read(&namespace.collection, namespace.kind, &namespace.metadata)
                        .unwrap();
                if kind == 5 {
                    collection
                        .indexes
                        .last_mut()
                        .unwrap()
                        .insert("sparse", true);
                } else {
                    collection.options.insert("capped", true);
                }
                namespace.metadata = metadata::write(&collection);
                "an option changed"
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_are_found() {
    let stage = Stage::new().await;
    for (name, count) in [("users", 30), ("moods", 40)] {
        stage.fill(name, count).await;
    }
    let id = stage.backup().await;
    let settings = Settings::read(SettingsReader::from_map(&stage.environment)).unwrap();
    let context = Context::new(settings).await.unwrap();
    let published = context
        .primary
        .contents()
        .await
        .unwrap()
        .find(&id)
        .unwrap()
        .manifest
        .clone();
    let key = format!("{PREFIX}{}", published.archive.key);
    let stored = stage.read(&key).await;
    let parts = Parts::of(&stored);
    let check = async |manifest: &Manifest| {
        verify(&context, &context.primary, manifest, &Reporter::default()).await
    };
    check(&published).await.unwrap();
    // Put together again it is the same to the last document: only so do the changes below prove anything.
    let mut again = published.clone();
    let whole = parts.stored();
    (again.archive.bytes, again.archive.sha256) = (whole.len() as u64, sha256(&whole));
    stage.write(&key, whole).await;
    check(&again).await.unwrap();

    // Changes to stored bytes are caught by size and checksum: a few of those. All others come with a manifest of matching size and checksum, so that
    // only the reader can find them.
    for seed in 0..1000 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut manifest = published.clone();
        let (changed, what) = match seed {
            0..10 => {
                let mut bytes = stored.clone();
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
                (bytes, "a bit flipped")
            }
            10..20 => {
                let mut bytes = stored.clone();
                bytes.truncate(random.random_range(0..stored.len()));
                (bytes, "cut short")
            }
            _ => {
                let mut parts = parts.clone();
                let what = parts.change(&mut random);
                let bytes = parts.stored();
                // The manifest gets the size and checksum of the changed bytes.
                (manifest.archive.bytes, manifest.archive.sha256) =
                    (bytes.len() as u64, sha256(&bytes));
                (bytes, what)
            }
        };
        stage.write(&key, changed).await;
        let verdict = check(&manifest).await;
        assert!(
            matches!(verdict, Err(Error::Corrupt(_))),
            "seed {seed}, {what}: {verdict:?}"
        );
    }
}

#[test]
fn a_changed_byte_of_a_manifest_is_found() {
    let manifest = include_bytes!("manifest.json");
    Manifest::from_file(manifest).unwrap();
    for at in 0..manifest.len() {
        for bit in [1_u8, 0x20] {
            let mut bytes = manifest.to_vec();
            bytes[at] ^= bit;
            assert!(
                Manifest::from_file(&bytes).is_err(),
                "byte {at}, {}",
                char::from(manifest[at])
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_backup_is_reported_by_the_next_run() {
    let stage = Stage::with_demo_data().await;
    let (first, second, third) = (
        stage.backup().await,
        stage.backup().await,
        stage.backup().await,
    );
    let vanish = async |key: String| {
        stage
            .spaces
            .delete(BUCKET, &format!("{PREFIX}{key}"))
            .await
            .unwrap()
    };
    // The newest one, which no other manifest names, but the database's index does.
    vanish(format!("manifests/{third}.json")).await;
    // One that the next names.
    vanish(format!("manifests/{first}.json")).await;
    vanish(format!("data/{second}.archive.gz")).await;
    let ended = stage.run(&["run", "--json", "--quiet"]).await;
    let made = ended.ends_with(1).value();
    assert_eq!(made["good"], true);
    let problems = made["problems"].to_string();
    for expected in [
        format!("the manifest of {first} has vanished"),
        format!("the manifest of {third} has vanished"),
        format!("{second}: its archive has vanished"),
    ] {
        assert!(problems.contains(&expected), "{problems}");
    }
    assert!(
        stage
            .run(&["status"])
            .await
            .ends_with(1)
            .stdout
            .contains("PROBLEM")
    );
    // A rewritten manifest has another checksum.
    let fourth = made["id"].as_str().unwrap();
    let key = format!("{PREFIX}manifests/{fourth}.json");
    let mut manifest = Manifest::from_file(&stage.read(&key).await).unwrap();
    manifest.held.push("changed".into());
    stage.write(&key, manifest.to_file().unwrap()).await;
    let problems = stage
        .run(&["run", "--json", "--quiet"])
        .await
        .ends_with(1)
        .value()["problems"]
        .to_string();
    assert!(
        problems.contains(&format!("the manifest of {fourth} was changed")),
        "{problems}"
    );
}
