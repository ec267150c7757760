//! Reading of a repository's contents.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;

use super::Repository;
use super::contents::{Entry, RepositoryContents};
use super::identity::Identity;
use super::manifest::{Manifest, is_id, sha256};
use super::records::{Acceptance, Check, Drill, Orphan, Pin, Proof, Tombstone};
use crate::error::Error;

/// Small files read concurrently.
const CONCURRENT_READS: usize = 4;

impl Repository {
    /// Lists and reads everything below the prefix.
    ///
    /// # Errors
    /// The error of the storage.
    pub async fn contents(&self) -> Result<RepositoryContents, Error> {
        let mut contents = RepositoryContents {
            identity: self.identity().await?,
            ..RepositoryContents::default()
        };
        let mut wanted = Vec::new();
        for (key, bytes, modified) in self.list("").await? {
            match key.split_once('/') {
                Some(("data", _)) => {
                    contents.archives.insert(key, (bytes, modified));
                }
                Some((
                    "manifests" | "drills" | "checks" | "accepted" | "pins" | "pruned" | "orphans"
                    | "proofs",
                    _,
                )) => wanted.push((key, (bytes, modified))),
                _ => {}
            }
        }
        self.remove_from_cache_except(&wanted);
        let (mut drills, mut accepted) = (BTreeMap::new(), BTreeMap::new());
        let (mut checks, mut pins, mut proofs) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let files = stream::iter(wanted).map(|(key, version)| async move {
            let file = self.cached(&key, version).await?;
            Ok::<_, Error>((key, file))
        });
        let files: Vec<_> = files
            .buffer_unordered(CONCURRENT_READS)
            .try_collect()
            .await?;
        for (key, file) in files {
            let (folder, id) = key.split_once('/').unwrap_or_default();
            let id = id.trim_end_matches(".json").to_owned();
            // Deleted since the listing, or not a file of ours.
            let Some(file) = file.filter(|_| is_id(&id)) else {
                continue;
            };
            match folder {
                "manifests" => {
                    match Manifest::from_file(&file).and_then(|manifest| named(manifest, &id)) {
                        Ok(manifest) if !is_ours(&manifest, contents.identity.as_ref()) => {
                            contents.foreign.push(id);
                        }
                        Ok(manifest) => contents.entries.push(Entry {
                            manifest,
                            sha256: sha256(&file),
                            file: file.clone(),
                            drill: None,
                            check: None,
                            proof: None,
                            failed_elsewhere: false,
                            pin: None,
                            unknown: false,
                            accepted: None,
                            archive_problem: None,
                        }),
                        Err(reason) => contents.unreadable.push((id, reason)),
                    }
                }
                "drills" => drills.extend(parsed::<Drill>(&file).map(|drill| (id, drill))),
                "accepted" => {
                    accepted.extend(parsed::<Acceptance>(&file).map(|acceptance| (id, acceptance)))
                }
                "checks" => checks.extend(parsed::<Check>(&file).map(|check| (id, check))),
                "proofs" => proofs.extend(parsed::<Proof>(&file).map(|proof| (id, proof))),
                "pins" => pins.extend(parsed::<Pin>(&file).map(|pin| (id, pin))),
                "orphans" => contents
                    .orphans
                    .extend(parsed::<Orphan>(&file).map(|orphan| (id, orphan))),
                _ => contents
                    .pruned
                    .extend(parsed::<Tombstone>(&file).map(|pruned| (id, pruned))),
            }
        }
        // Not by id alone: ids of the same second are not ordered.
        contents
            .entries
            .sort_by_key(|entry| (entry.manifest.started_at, entry.manifest.id.clone()));
        for entry in &mut contents.entries {
            let archive = &entry.manifest.archive;
            entry.drill = drills.remove(&entry.manifest.id);
            entry.accepted = accepted.remove(&entry.manifest.id);
            entry.check = checks.remove(&entry.manifest.id);
            entry.proof = proofs.remove(&entry.manifest.id);
            entry.pin = pins.remove(&entry.manifest.id);
            entry.archive_problem = match contents.archives.get(&archive.key) {
                None => Some("its archive has vanished".into()),
                Some((bytes, _)) if *bytes != archive.bytes => Some(format!(
                    "its archive has {bytes} bytes and had {}",
                    archive.bytes
                )),
                Some(_) => None,
            };
        }
        Ok(contents)
    }
}

/// `true` if a backup is of the repository and of one of its owners. Without an identity, nothing can be said.
fn is_ours(manifest: &Manifest, identity: Option<&Identity>) -> bool {
    identity.is_none_or(|identity| {
        manifest.repository == identity.id
            && identity.owners.iter().any(|owner| {
                owner.database == manifest.source.database && owner.source == manifest.source.id
            })
    })
}

fn parsed<T: DeserializeOwned>(file: &[u8]) -> Option<T> {
    serde_json::from_slice(file).ok()
}

fn named(manifest: Manifest, id: &str) -> Result<Manifest, String> {
    if manifest.id == id {
        Ok(manifest)
    } else {
        Err("the manifest's id differs from its file name".into())
    }
}
