//! Uploader: stores the slices of the spool in one destination, in their order, and reads each back. It is independent of the tail, so that neither
//! storage that is down nor a slow copy keeps the oplog from being read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::end_of_chain;
use super::slice::Slice;
use super::spool::{Spool, Unstored};
use crate::archive::encoding::encrypted;
use crate::context::Context;
use crate::error::Error;
use crate::repository::{Repository, RepositoryContents};
use crate::run::source_memory::{Ownership, SourceMemory};

/// Time after which it is checked again that the repository is the one of this database.
const CHECK_OWNER: Duration = Duration::from_secs(60);
/// Longest time between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Time for the last slices, after the process was asked to stop.
const LAST: Duration = Duration::from_secs(8);

/// The uploader of one destination.
pub(super) struct Uploader {
    pub(super) context: Context,
    pub(super) spool: Arc<Spool>,
    pub(super) repository: Repository,
    /// Fencing token of the lease, while this process has it.
    pub(super) lease: watch::Receiver<Option<u64>>,
    /// Error of the last attempt; `None` if it succeeded.
    pub(super) failure: watch::Sender<Option<String>>,
    /// When the owner of the repository was checked, and under which lease.
    pub(super) checked: Option<(Instant, u64)>,
}

impl Uploader {
    /// Uploads until the tail is done and everything is stored, or for a few seconds after the process was asked to stop.
    pub(super) async fn run(mut self, tail_done: CancellationToken) {
        let stop = self.context.stop.clone();
        let deadline = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        tokio::select! {
            () = deadline => {}
            () = self.upload_all(&tail_done) => {}
        }
    }

    async fn upload_all(&mut self, tail_done: &CancellationToken) {
        let mut changes = self.spool.changes();
        let mut failures = 0;
        loop {
            changes.borrow_and_update();
            let Some(slice) = self.spool.next_unstored(self.repository.name) else {
                self.failure.send_replace(None);
                if tail_done.is_cancelled() {
                    return;
                }
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tail_done.cancelled() => {}
                }
                continue;
            };
            let lease = *self.lease.borrow_and_update();
            let Some(lease) = lease else {
                tokio::select! {
                    _ = self.lease.changed() => {}
                    // Stored by the next process.
                    () = tail_done.cancelled() => return,
                }
                continue;
            };
            match self.upload(&slice, lease).await {
                Ok(()) => {
                    if failures > 0 {
                        info!(destination = self.repository.name; "slices of the oplog are stored again");
                    }
                    failures = 0;
                    self.failure.send_replace(None);
                }
                Err(error) => {
                    if failures == 0 {
                        warn!(destination = self.repository.name, code = error.code(); "a slice of the oplog was not stored: {error}");
                    }
                    failures += 1;
                    self.failure.send_replace(Some(error.to_string()));
                    let wait = Duration::from_millis(500) * 2_u32.saturating_pow(failures.min(5));
                    tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
                }
            }
        }
    }

    async fn upload(&mut self, slice: &Unstored, lease: u64) -> Result<(), Error> {
        let is_checked = self
            .checked
            .is_some_and(|(at, under)| under == lease && at.elapsed() < CHECK_OWNER);
        if !is_checked {
            self.check_owner().await?;
            self.check_continued(slice).await?;
            self.checked = Some((Instant::now(), lease));
        }
        let (file, recipient) = (
            slice.file.clone(),
            self.context.settings.encoding.recipient.clone(),
        );
        let is_encrypted = recipient.is_some();
        let (chain, span) = (slice.chain.clone(), slice.span);
        let bytes = tokio::task::spawn_blocking(move || {
            let bytes = std::fs::read(file)?;
            let is_intact = Slice::verify(&bytes[..])
                .is_ok_and(|header| header.chain == chain && header.span() == span);
            if !is_intact {
                return Err(Error::Corrupt(
                    "a slice on this machine's disk is damaged".into(),
                ));
            }
            Ok(encrypted(bytes, recipient.as_deref())?)
        });
        let bytes = bytes
            .await
            .map_err(|_panic| Error::Engine("encrypting a slice was interrupted".into()))?;
        if let Err(Error::Corrupt(reason)) = &bytes {
            self.abandon(&slice.chain, reason)?;
        }
        let bytes = bytes?;
        self.repository
            .store_slice(&slice.chain, slice.span, bytes.into(), is_encrypted)
            .await?;
        let noted = self.spool.stored(self.repository.name, slice);
        let names: BTreeSet<&str> = self
            .context
            .repositories()
            .map(|repository| repository.name)
            .collect();
        // Also on a full disk, where this makes room.
        self.spool.remove_stored(&names)?;
        Ok(noted?)
    }

    /// Ends a chain without what is not stored of it.
    fn abandon(&self, chain: &str, reason: &str) -> Result<(), Error> {
        self.spool.abandon(chain)?;
        end_of_chain(&self.context, chain, reason);
        Ok(())
    }

    /// Refuses a repository that is not the one of this database.
    async fn check_owner(&self) -> Result<(), Error> {
        let client = &self.context.status_client;
        let memory = SourceMemory::read(client, &self.context.settings.database, false).await?;
        let contents = RepositoryContents {
            identity: self.repository.identity().await?,
            ..RepositoryContents::default()
        };
        match memory
            .ownership(client, &self.repository, &contents)
            .await?
        {
            Ownership::Ours(_) => Ok(()),
            Ownership::New => Err(Error::Repository(format!(
                "{} has no backup yet",
                self.repository.name
            ))),
            Ownership::Foreign(reason) => Err(Error::Repository(format!(
                "{}: {reason}",
                self.repository.name
            ))),
        }
    }

    /// Ends the chain if the destination has slices of it that are not from this spool: another process continued it.
    async fn check_continued(&self, next: &Unstored) -> Result<(), Error> {
        let stored = self.repository.slices(&next.chain).await?;
        // One that was stored, and not noted, by a process that was killed in between.
        let foreign = |span: super::slice::Span| {
            span.after >= next.span.after && !self.spool.has(&next.chain, span)
        };
        if stored.iter().any(|slice| foreign(slice.span)) {
            let reason = "another process continued it";
            self.abandon(&next.chain, reason)?;
            return Err(Error::Busy(format!(
                "the chain {} ended: {reason}",
                next.chain
            )));
        }
        Ok(())
    }
}
