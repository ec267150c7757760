//! Tail: reads what a majority of the replica set has, once a second, and cuts it into slices.
//!
//! Each question begins at the last entry that was read, which must still be there unchanged: an oplog that was cut off, or a server that was set back
//! or made anew, is noticed at once. Then the chain ends, and a new one begins at a backup that the oplog continues.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use log::{info, warn};
use silo_mongo::collections;
use silo_mongo::error::DatabaseError;
use silo_mongo::mongodb::bson::{Document, RawDocumentBuf};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::base_wanted::BaseWanted;
use super::beginning;
use super::end_of_chain;
use super::open_slice::OpenSlice;
use super::slice::Slice;
use super::spool::{Chain, Room, Spool};
use super::status::LossView;
use crate::alerts::Event;
use crate::context::Context;
use crate::error::Error;
use crate::oplog::Position;
use crate::oplog::entry::Entry;
use crate::oplog::server::ServerOplog;
use crate::repository::manifest::sha256;
use crate::run::lease::{Lease, Purpose};

/// Interval between questions to the server.
const INTERVAL: Duration = Duration::from_secs(1);
/// Interval of attempts after an error.
const RETRY: Duration = Duration::from_secs(2);
/// Bytes that wait on disk for storage, at which reading stops. The oplog keeps them longer.
const SPOOL: u64 = 512 * 1024 * 1024;
/// Time for a backup to begin at; after that it is looked for less often.
const BASE_SOON: Duration = Duration::from_secs(300);
/// Interval of looking for one then.
const BASE_INTERVAL: Duration = Duration::from_secs(30);
/// Time for a server that has started to know what a majority has.
const STARTING: Duration = Duration::from_secs(30);
/// Time for a last question, after the process was asked to stop.
const LAST_READ: Duration = Duration::from_secs(2);
/// Time limit of one question.
const PATIENCE: Duration = Duration::from_secs(30);

/// State of the tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailState {
    /// Before the first attempt.
    Starting,
    /// Waiting for a backup at which a chain can begin; with the reason.
    NeedsBase(String),
    /// Another process has the lease.
    Standby,
    /// Reading the oplog.
    Running,
    /// Reading fails; with the reason.
    Failing(String),
    /// The spool is full.
    Full,
}

/// The tail.
pub(super) struct Tail {
    pub(super) context: Context,
    pub(super) spool: Arc<Spool>,
    pub(super) state: watch::Sender<TailState>,
    /// Fencing token of the lease, while it is held.
    pub(super) lease: watch::Sender<Option<u64>>,
    /// Mass deletions, the newest last.
    pub(super) losses: watch::Sender<Vec<LossView>>,
    /// Up to here the server was read, and there is nothing that is in no slice.
    pub(super) cut_up_to: watch::Sender<Position>,
    pub(super) base_wanted: Arc<BaseWanted>,
    /// Cancelled after the last slice was cut.
    pub(super) done: CancellationToken,
    /// The uploaders.
    pub(super) uploads: TaskTracker,
}

/// Reason why reading a chain stopped.
enum Broken {
    /// The server's history is another one, or has a gap.
    Ended(String),
    /// An error after which the chain can be continued.
    Failed(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Tail {
    /// Tails until the process is to end, and cuts a last slice then.
    pub(super) async fn run(self) {
        let stop = self.context.stop.clone();
        while !stop.is_cancelled() {
            match self.with_lease().await {
                Ok(()) | Err(Error::Interrupted) => {}
                Err(Error::Busy(_)) => self.set(TailState::Standby),
                Err(error) => self.failing(&error),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        self.done.cancel();
    }

    async fn with_lease(&self) -> Result<(), Error> {
        let stop = &self.context.stop;
        let lease = tokio::select! {
            () = stop.cancelled() => return Err(Error::Interrupted),
            lease = Lease::acquire(&self.context.status_client, Purpose::Oplog) => lease?,
        };
        // A process that was paused loses the lease, and goes on writing when it is continued.
        let Some(lock) = self.spool.lock()? else {
            lease.release().await;
            let reason = "another process without the lease has BACKUP_FOLDER/oplog locked: end it";
            return Err(Error::Refused(reason.into()));
        };
        // Another process may have written there until now.
        for chain in self.spool.reload()? {
            end_of_chain(
                &self.context,
                &chain,
                "its description on this disk is damaged",
            );
        }
        self.lease.send_replace(Some(lease.fencing_token()));
        let followed = tokio::select! {
            () = lease.lost.cancelled() => Err(Error::Busy("another process took over the lease".into())),
            followed = self.follow() => followed,
        };
        if self.context.stop.is_cancelled() {
            self.done.cancel();
            self.uploads.wait().await;
        }
        self.lease.send_replace(None);
        drop(lock);
        lease.release().await;
        followed
    }

    /// Follows one chain after the other.
    async fn follow(&self) -> Result<(), Error> {
        loop {
            let chain = self.chain().await?;
            match self.follow_chain(&chain).await {
                Ok(()) => return Ok(()),
                Err(Broken::Failed(error)) => return Err(error),
                Err(Broken::Ended(reason)) => {
                    self.spool.end(&reason)?;
                    end_of_chain(&self.context, &chain.id, &reason);
                }
            }
        }
    }

    /// The chain to continue, or a new one as soon as there is a backup to begin at.
    async fn chain(&self) -> Result<Chain, Error> {
        if let Some(chain) = self.spool.current() {
            return Ok(chain);
        }
        loop {
            match beginning::find(&self.context, &self.spool).await {
                Ok(chain) => {
                    info!(chain = chain.id.as_str(), base = chain.base.to_string().as_str(); "a chain of continuous backup begins");
                    self.spool.begin(chain.clone())?;
                    self.base_wanted.begun();
                    self.cut_up_to.send_replace(chain.base);
                    return Ok(chain);
                }
                Err(Error::NotFound(reason)) => {
                    self.set(TailState::NeedsBase(reason));
                    self.base_wanted.ask();
                }
                Err(error) => self.failing(&error),
            }
            let is_late = self
                .base_wanted
                .waiting()
                .is_some_and(|waiting| waiting > BASE_SOON);
            let wait = if is_late { BASE_INTERVAL } else { RETRY };
            tokio::select! {
                () = self.context.stop.cancelled() => return Err(Error::Interrupted),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn follow_chain(&self, chain: &Chain) -> Result<(), Broken> {
        let oplog = ServerOplog::new(&self.context.status_client, &self.context.settings.database);
        let head = self.spool.head();
        // Without its end a chain cannot be continued.
        let head =
            head.map_err(|error| Broken::Ended(format!("its last slice cannot be read: {error}")))?;
        let mut open = OpenSlice::new(head);
        let mut known = false;
        loop {
            let stopped = self.context.stop.is_cancelled();
            if self.spool.current().as_ref().map(|current| &current.id) != Some(&chain.id) {
                // It was ended by a proof, or because another process continued it.
                return Err(Broken::Failed(Error::Interrupted));
            }
            if !known {
                match in_time(beginning::other_server(&self.context, chain)).await {
                    Ok(None) => known = true,
                    Ok(Some(reason)) | Err(Broken::Ended(reason)) => {
                        return Err(Broken::Ended(reason));
                    }
                    Err(Broken::Failed(error)) => self.failing(&error),
                }
            }
            let room = self.make_room()?;
            if room == Room::AllIncomplete {
                let reason = "every destination misses slices of it";
                return Err(Broken::Ended(reason.into()));
            }
            if room == Room::Full {
                self.set(TailState::Full);
            } else if known {
                let read = self.read(&oplog, &mut open);
                let read = if stopped {
                    let last = tokio::time::timeout(LAST_READ, read).await;
                    last.unwrap_or(Ok(()))
                } else {
                    tokio::select! {
                        () = self.context.stop.cancelled() => Ok(()),
                        read = read => read,
                    }
                };
                self.warn_of_losses(&mut open).await;
                match read {
                    Ok(()) => self.set(TailState::Running),
                    Err(Broken::Failed(error)) => {
                        known = false;
                        self.failing(&error);
                    }
                    Err(Broken::Ended(reason)) => {
                        if open.reached > open.head.through {
                            self.cut(chain, &mut open).await?;
                        }
                        return Err(Broken::Ended(reason));
                    }
                }
            }
            // Not parts of transactions alone, from before the chain: they belong to what comes after them.
            let has_read = open.reached > open.head.through;
            let is_large = has_read && open.is_large();
            if has_read && (open.is_due() || stopped) {
                self.cut(chain, &mut open).await?;
            }
            if stopped {
                return Ok(());
            }
            if !open.has_something() {
                self.cut_up_to.send_replace(open.reached);
            }
            // More may be there already.
            if !is_large {
                tokio::select! {
                    () = self.context.stop.cancelled() => {}
                    () = tokio::time::sleep(INTERVAL) => {}
                }
            }
        }
    }

    /// Reads from the last entry that was read up to the last that a majority has, or until there is enough for a slice.
    async fn read(&self, oplog: &ServerOplog, open: &mut OpenSlice) -> Result<(), Broken> {
        let newest = in_time(oplog.majority()).await?;
        if newest <= open.reached {
            let since = *open.behind.get_or_insert_with(Instant::now);
            // A server that has just started may not know yet what a majority has. One that was set back has another history.
            let is_starting = newest == open.reached || since.elapsed() < STARTING;
            if is_starting
                || in_time(oplog.anchor(open.reached)).await? == Some(open.anchor.clone())
            {
                return Ok(());
            }
            return Err(self.gap(oplog, open.reached).await);
        }
        open.behind = None;
        if !open.has_parts {
            let parts = in_time(oplog.parts(open.reached)).await?;
            let parts: Vec<RawDocumentBuf> = in_time(parts.try_collect()).await?;
            parts.iter().for_each(|part| open.add(part.as_bytes()));
            open.has_parts = true;
        }
        let mut batches = std::pin::pin!(in_time(oplog.between(open.reached, newest)).await?);
        let mut continues = false;
        while let Some(batch) = in_time(batches.try_next()).await? {
            for raw in collections::documents(&batch).map_err(reading)? {
                let raw = raw.map_err(reading)?.as_bytes();
                if !continues {
                    if sha256(raw) != open.anchor {
                        return Err(self.gap(oplog, open.reached).await);
                    }
                    continues = true;
                    continue;
                }
                self.take(raw, open)?;
                if open.is_large() {
                    return Ok(());
                }
            }
        }
        if continues {
            Ok(())
        } else {
            Err(self.gap(oplog, open.reached).await)
        }
    }

    /// Takes the next entry.
    fn take(&self, raw: &[u8], open: &mut OpenSlice) -> Result<(), Broken> {
        let entry = Entry::parse(raw);
        let entry = entry.map_err(|error| Broken::Ended(error.to_string()))?;
        if entry.at <= open.reached {
            return Err(Broken::Ended("the oplog is not in order".into()));
        }
        if entry.changes_server_format() {
            return Err(Broken::Ended(
                "the feature compatibility version was changed".into(),
            ));
        }
        if entry.is_needed(&self.context.settings.database) {
            open.add(raw);
            // What cannot be counted is stored all the same.
            drop(open.deletions.add(&entry, &self.context.settings.database));
        }
        open.reached = entry.at;
        open.anchor = sha256(raw);
        Ok(())
    }

    /// Sends an alarm about collections that have just lost a large part of their documents.
    async fn warn_of_losses(&self, open: &mut OpenSlice) {
        let settings = &self.context.settings;
        let disposable = &settings.expectations.disposable;
        let database = self.context.status_client.database(&settings.database);
        for loss in open.deletions.losses(open.reached) {
            let collection = database.collection::<Document>(&loss.collection);
            let left = in_time(async {
                collection
                    .estimated_document_count()
                    .await
                    .map_err(Error::database("counting documents"))
            });
            // Asked again in a second.
            let Ok(left) = left.await else { continue };
            if disposable.contains(&loss.collection) || !loss.is_large(left) {
                continue;
            }
            open.deletions.report(&loss);
            let name = &loss.collection;
            let text = format!(
                "{name} lost {} documents within ten minutes and has {left}; if that was a mistake: `silo-backup restore --until-before {} --only {name} --to-file FILE --database NAME`",
                loss.gone(left),
                loss.first
            );
            let now = self.context.clock.now();
            self.losses.send_modify(|losses| {
                losses.retain(|loss| loss.is_shown(now));
                losses.push(LossView {
                    detail: text.clone(),
                    at: now,
                });
            });
            let alerts = self.context.alerts.clone();
            actix_web::rt::spawn(
                async move { alerts.send(&Event::Alarm("mass_deletion", text)).await },
            );
        }
    }

    /// Reason why the entry that was read last is missing or another one.
    async fn gap(&self, oplog: &ServerOplog, reached: Position) -> Broken {
        match in_time(oplog.oldest()).await {
            Ok(Some(oldest)) if oldest > reached => Broken::Ended(format!(
                "the server's oplog begins at {oldest}, and was read up to {reached}: what is between is lost"
            )),
            Ok(_) => Broken::Ended(format!(
                "the server's oplog has another entry at {reached} than when it was read: it was set back or made anew"
            )),
            Err(error) => error,
        }
    }

    async fn cut(&self, chain: &Chain, open: &mut OpenSlice) -> Result<(), Error> {
        let header = open.header(chain);
        let bytes = std::mem::take(&mut open.bytes);
        let spool = Arc::clone(&self.spool);
        let added = tokio::task::spawn_blocking(move || {
            let slice =
                Slice::new(header, bytes).map_err(|error| Error::Engine(error.to_string()))?;
            spool.add(&slice)?;
            Ok::<_, Error>(slice.link)
        });
        let link = added
            .await
            .map_err(|_panic| Error::Engine("cutting a slice was interrupted".into()))??;
        open.begin_next(link);
        Ok(())
    }

    fn make_room(&self) -> Result<Room, Error> {
        let repositories = self.context.repositories();
        let names: Vec<&str> = repositories.map(|repository| repository.name).collect();
        Ok(self.spool.make_room(&names, SPOOL)?)
    }

    fn failing(&self, error: &Error) {
        let state = TailState::Failing(error.to_string());
        if *self.state.borrow() != state {
            warn!(code = error.code(); "continuous backup: {error}");
        }
        self.set(state);
    }

    fn set(&self, state: TailState) {
        self.state.send_if_modified(|now| {
            let modified = *now != state;
            *now = state;
            modified
        });
    }
}

fn reading(error: DatabaseError) -> Broken {
    Broken::Failed(Error::database("reading the oplog")(error))
}

/// Limits the time of one question: a connection that is half open would never answer.
async fn in_time<T, E: Into<Error>>(
    question: impl Future<Output = Result<T, E>>,
) -> Result<T, Broken> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(|error| Broken::Failed(error.into())),
        Err(_elapsed) => Err(Broken::Failed(Error::Engine(format!(
            "the server did not answer within {} s",
            PATIENCE.as_secs()
        )))),
    }
}
