//! Plan of a restore to a moment: the backup to roll forward, and the source of the entries.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use log::warn;
use silo_mongo::mongodb::bson::RawDocumentBuf;

use super::Moment;
use crate::archive::decoding::identity_of;
use crate::catalog::{Catalog, Destination};
use crate::context::Context;
use crate::continuous::local_copy;
use crate::continuous::spool;
use crate::continuous::stored::{SliceSource, StoredEntries};
use crate::dump::identify;
use crate::error::Error;
use crate::oplog::Position;
use crate::oplog::continuity::{continues, differs, position};
use crate::oplog::server::{Edge, ServerOplog, Until};
use crate::repository::Entry;
use crate::repository::manifest::Manifest;

/// Options of an operator beside the moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// Beginning of the id of the backup to begin at; `None` for the newest one.
    pub base: Option<&'a str>,
    /// `true` for the second copy.
    pub copy: bool,
    /// `true` to read the entries from storage, even if the server has them.
    pub from_storage: bool,
}

/// Plan of a restore to a moment, for the operator: the backup, and the edges of the changes that are taken.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Id of the backup that is rolled forward.
    pub backup: String,
    /// Position of the backup.
    pub from: String,
    /// The backup's time.
    pub as_of: Timestamp,
    /// Second at which the changes end.
    pub moment: Option<Timestamp>,
    /// Id of the chain in storage whose slices have the changes; `null` if they are in the server's oplog.
    pub chain: Option<String>,
    /// Capped collections, which may have later documents: they are in no snapshot of a backup.
    pub not_of_the_moment: Vec<String>,
    /// The last change that is taken; `null` if there is none after the backup, or while it is not known.
    pub last_taken: Option<Edge>,
    /// The first change that is left out; `null` if there is none, or its slice cannot be read.
    pub first_left_out: Option<Edge>,
    /// Number of operations that were applied; `null` while they are not.
    pub operations: Option<u64>,
}

/// A moment that can be had.
pub struct Planned<'a> {
    pub(super) destination: &'a Destination,
    pub(super) base: &'a Entry,
    pub(super) from: Position,
    pub(super) until: Until,
    pub(super) entries: Entries,
    /// File with the archive, not encrypted, if it is read from there.
    pub(super) archive: Option<PathBuf>,
    /// The plan, for the operator.
    pub plan: Plan,
}

/// Source of the entries.
pub(super) enum Entries {
    /// In the oplog of the running server.
    Server(ServerOplog),
    /// In slices in storage.
    Stored(Box<StoredEntries>),
}

impl Entries {
    /// All entries after a position that are needed, and the parts before it of transactions that end after it.
    pub(super) async fn read(
        &self,
        after: Position,
        until: Until,
    ) -> Result<BoxStream<'static, Result<RawDocumentBuf, Error>>, Error> {
        match self {
            Self::Server(oplog) => {
                let entries = oplog.entries(after, until).await?;
                Ok(entries
                    .map_err(|error| Error::database("reading the oplog")(error))
                    .boxed())
            }
            Self::Stored(entries) => Ok(entries.read(after, until).boxed()),
        }
    }

    /// Refuses entries of which some may have been lost while they were read: an oplog is cut off at its beginning, and had all while it has this one.
    pub(super) async fn were_all_there(
        &self,
        from: Position,
        base: &Manifest,
    ) -> Result<(), Error> {
        match self {
            Self::Server(oplog) => continues(oplog, from, base).await,
            Self::Stored(_) => Ok(()),
        }
    }
}

impl<'a> Planned<'a> {
    /// The backup that is rolled forward, and where it is.
    #[must_use]
    pub fn base(&self) -> (&'a Destination, &'a Entry) {
        (self.destination, self.base)
    }

    async fn new(
        (from, destination, base): Base<'a>,
        until: Until,
        entries: Entries,
    ) -> Result<Self, Error> {
        let manifest = &base.manifest;
        let (chain, first_left_out) = match &entries {
            Entries::Server(oplog) => (None, oplog.first_left_out(until).await?),
            Entries::Stored(stored) => {
                let first_left_out = stored.first_left_out(until).await;
                let first_left_out = first_left_out.unwrap_or_else(|error| {
                    // It is not needed for the moment.
                    warn!("the first change that is left out is not known: {error}");
                    None
                });
                (Some(stored.chain().to_owned()), first_left_out)
            }
        };
        Ok(Self {
            destination,
            base,
            from,
            until,
            entries,
            archive: None,
            plan: Plan {
                backup: manifest.id.clone(),
                from: from.to_string(),
                as_of: manifest.as_of,
                moment: Timestamp::from_second(until.end().seconds.into()).ok(),
                chain,
                not_of_the_moment: manifest.not_in_snapshot.clone(),
                last_taken: None,
                first_left_out,
                operations: None,
            },
        })
    }
}

/// A backup that can be rolled forward, with its position and where it is.
type Base<'a> = (Position, &'a Destination, &'a Entry);

/// Finds the newest good backup at or before a moment, and all changes since: in the oplog of the server, or else in storage.
///
/// # Errors
/// When there is no backup, the moment has not come, or the changes are in neither.
pub async fn plan<'a>(
    context: &Context,
    catalog: &'a Catalog,
    moment: Moment,
    choice: Choice<'_>,
) -> Result<Planned<'a>, Error> {
    let destinations = match choice.copy {
        true => std::slice::from_ref(catalog.destination("copy")?),
        false => &catalog.destinations[..],
    };
    let bases: Vec<Base<'a>> = destinations
        .iter()
        .flat_map(|destination| {
            let entries = destination.contents.entries.iter();
            entries.filter_map(move |entry| Some((position(entry)?, destination, entry)))
        })
        .filter(|(_, _, entry)| {
            choice
                .base
                .is_none_or(|id| entry.manifest.id.starts_with(id))
        })
        .collect();
    if bases.is_empty() {
        if let Some((_, error)) = catalog.failed.first() {
            return Err(error.clone());
        }
        return Err(Error::NotFound(
            "no good backup names its position in the oplog; `silo-backup list` shows all".into(),
        ));
    }
    let reason = if choice.from_storage {
        None
    } else {
        match from_server(context, &bases, moment).await {
            Err(error) => Some(error),
            planned => return planned,
        }
    };
    match from_storage(context, &bases, moment).await {
        Ok(Some(planned)) => Ok(planned),
        Ok(None) => Err(not_stored(&bases, reason).await?),
        // What is wrong in storage is to be known also where the server is gone.
        Err(error @ (Error::Corrupt(_) | Error::Refused(_))) => Err(error),
        Err(error) => Err(reason.unwrap_or(error)),
    }
}

async fn from_server<'a>(
    context: &Context,
    bases: &[Base<'a>],
    moment: Moment,
) -> Result<Planned<'a>, Error> {
    let database = &context.settings.database;
    // A server that is gone is known within seconds.
    let newest = ServerOplog::new(&context.status_client, database)
        .majority()
        .await?;
    let until = moment.until(newest)?;
    let base = newest_of(
        bases
            .iter()
            .copied()
            .filter(|(at, _, _)| until.includes(*at)),
    );
    let base = base.ok_or_else(|| {
        Error::NotFound("no good backup is of that moment or before it and names its position in the oplog; `silo-backup list` shows all".into())
    })?;
    let (from, _, Entry { manifest, .. }) = base;
    let server = identify(&context.client).await?;
    if let Some(reason) = differs(&server, manifest) {
        return Err(Error::Refused(reason));
    }
    let oplog = ServerOplog::new(&context.client, database);
    continues(&oplog, from, manifest).await?;
    has_what_is_stored(&oplog, base, until, newest).await?;
    Planned::new(base, until, Entries::Server(oplog)).await
}

/// Refuses a server that was set back to a state before the moment: storage has changes since the backup that it does not have. The end of each slice
/// is an entry, so those around the moment are looked for, up to the server's last entry.
async fn has_what_is_stored(
    oplog: &ServerOplog,
    (from, destination, _): Base<'_>,
    until: Until,
    newest: Position,
) -> Result<(), Error> {
    for chain in destination.repository.chains().await? {
        let ranges = chain.ranges();
        let continuing = ranges.iter().filter(|range| range.after() <= from);
        let slices = continuing.flat_map(|range| range.slices());
        let ends = slices.map(|slice| slice.span.through);
        let ends: Vec<Position> = ends.filter(|end| *end > from && *end <= newest).collect();
        let last = ends.iter().rev().find(|end| until.includes(**end));
        let next = ends.iter().find(|end| !until.includes(**end));
        for end in last.into_iter().chain(next) {
            if !oplog.has(*end).await? {
                return Err(Error::Refused(format!(
                    "storage has changes up to {end} that the server does not have: it was set back. `--from-storage` restores them"
                )));
            }
        }
    }
    Ok(())
}

/// A chain that goes on up to the moment, and the newest backup from which it does.
async fn from_storage<'a>(
    context: &Context,
    bases: &[Base<'a>],
    moment: Moment,
) -> Result<Option<Planned<'a>>, Error> {
    let settings = &context.settings;
    let Some(newest) = newest_of(bases.iter().copied()) else {
        return Ok(None);
    };
    let mut found: Option<(Base<'a>, Until, StoredEntries)> = None;
    let mut read: Vec<&str> = Vec::new();
    for (_, destination, _) in bases {
        let repository = &destination.repository;
        if read.contains(&repository.name) {
            continue;
        }
        read.push(repository.name);
        let here = bases
            .iter()
            .copied()
            .filter(|base| base.1.repository.name == repository.name);
        for chain in repository.chains().await?.iter().rev() {
            for range in chain.ranges() {
                let Ok(until) = moment.until(range.through()) else {
                    continue;
                };
                let covered = |at: Position| until.includes(at) && range.after() <= at;
                let base = newest_of(here.clone().filter(|(at, _, _)| covered(*at)));
                if let Some(base) = base
                    && found
                        .as_ref()
                        .is_none_or(|(other, end, _)| (until.end(), base.0) > (end.end(), other.0))
                {
                    let identity = settings.identity.as_ref().and_then(identity_of);
                    let source = SliceSource::Stored(repository.clone(), identity);
                    let entries = StoredEntries::new(source, range, &settings.database);
                    found = Some((base, until, entries));
                }
            }
        }
    }
    match found {
        Some((_, until, _)) if moment == Moment::Latest && newest.0 > until.end() => {
            let Entry { manifest, .. } = newest.2;
            Err(Error::Refused(format!(
                "the newest backup, {} of {}, is later than all changes in storage (up to {}): restore it without `--at`, or name a moment before that",
                manifest.id,
                manifest.as_of,
                until.end()
            )))
        }
        Some((base, until, entries)) => {
            Planned::new(base, until, Entries::Stored(Box::new(entries)))
                .await
                .map(Some)
        }
        None => Ok(None),
    }
}

/// Error of a moment that neither the server nor storage has.
async fn not_stored(bases: &[Base<'_>], reason: Option<Error>) -> Result<Error, Error> {
    let mut last = Position::default();
    for (_, destination, _) in bases {
        let chains = destination.repository.chains().await?;
        let slices = chains.iter().flat_map(|chain| &chain.slices);
        last = slices
            .map(|slice| slice.span.through)
            .fold(last, Position::max);
    }
    let time = Timestamp::from_second(last.seconds.into()).unwrap_or_default();
    let has = match last == Position::default() {
        true => "storage has no changes".to_owned(),
        false => format!(
            "storage has changes up to {last} ({time}), and not all up to that moment since a good backup: `silo-backup chain` lists them"
        ),
    };
    Ok(match reason {
        None => Error::NotFound(has),
        Some(Error::Refused(reason)) => Error::Refused(format!("{reason}; {has}")),
        Some(error) => error,
    })
}

/// Like [`plan`], from the copies that this machine has of a backup and of the slices after it.
///
/// # Errors
/// [`Error::NotFound`] if it does not have all of them.
pub async fn plan_from_copies<'a>(
    context: &Context,
    destination: &'a Destination,
    base: &'a Entry,
    moment: Moment,
) -> Result<Planned<'a>, Error> {
    let settings = &context.settings;
    let missing =
        |what: &str| Error::NotFound(format!("this machine has no copy of {what} for a proof"));
    let archive = local_copy::file(&settings.folder, &base.manifest.id);
    if !archive.exists() {
        return Err(missing(&format!("the backup {}", base.manifest.id)));
    }
    let from = position(base).ok_or_else(|| missing("a backup with a position"))?;
    for chain in spool::slices(&settings.folder)? {
        for range in chain.ranges() {
            if let Ok(until) = moment.until(range.through())
                && range.after() <= from
            {
                let entries = StoredEntries::new(SliceSource::Files, range, &settings.database);
                let entries = Entries::Stored(Box::new(entries));
                let planned = Planned::new((from, destination, base), until, entries).await?;
                return Ok(Planned {
                    archive: Some(archive),
                    ..planned
                });
            }
        }
    }
    Err(missing("all slices since the backup"))
}

/// The newest backup; of two copies of it, the first.
fn newest_of<'a>(bases: impl Iterator<Item = Base<'a>>) -> Option<Base<'a>> {
    bases.reduce(|one, other| if other.0 > one.0 { other } else { one })
}
