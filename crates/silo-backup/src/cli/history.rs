//! `silo-backup history`: changes in the server's oplog or in storage, to find the position of a mistake.

use std::collections::VecDeque;
use std::process::ExitCode;

use clap::Args;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_core::units::count_from_usize;
use silo_mongo::mongodb::bson::{Bson, RawDocumentBuf, doc, oid::ObjectId};

use crate::archive::decoding::identity_of;
use crate::context::Context;
use crate::continuous::stored::{Range, SliceSource, StoredEntries};
use crate::error::Error;
use crate::oplog::history::{Change, Minute, Minutes, Wanted};
use crate::oplog::server::{ServerOplog, Until};
use crate::oplog::{Position, entry};
use crate::repository::StoredChain;
use silo_cli::print::Printer;
use silo_cli::progress::Reporter;

/// Time before now from which changes are shown.
const USUAL: SignedDuration = SignedDuration::from_hours(1);

#[derive(Args)]
pub(super) struct History {
    /// Changes of this collection only
    #[arg(long)]
    collection: Option<String>,
    /// Changes of the document with this _id only, each by itself
    #[arg(long, requires = "collection")]
    id: Option<String>,
    /// From this time on (2026-11-27T03:00:00Z); default: the last hour. Changes from before the server's oplog are read from storage
    #[arg(long)]
    from: Option<Timestamp>,
    /// Before this time
    #[arg(long)]
    to: Option<Timestamp>,
    /// Each change by itself, and not their number in each minute
    #[arg(long)]
    each: bool,
    /// Most changes with --each, the last ones
    #[arg(long, default_value_t = 200)]
    limit: usize,
    /// Read the changes from storage, such as those of a server that is gone
    #[arg(long)]
    from_storage: bool,
    /// With --from-storage, of the second copy
    #[arg(long, requires = "from_storage")]
    copy: bool,
}

/// Result of `history`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    from: Timestamp,
    to: Option<Timestamp>,
    /// `primary` or `copy` for changes in storage; `null` for those in the server's oplog.
    destination: Option<&'static str>,
    /// Number of changes, also of those that are not shown.
    changes: u64,
    /// Numbers of changes; empty with `--each`.
    minutes: Vec<Minute>,
    /// The last changes; empty without `--each`.
    each: VecDeque<Change>,
}

impl History {
    pub(super) async fn run(
        self,
        context: &Context,
        out: &Printer,
        report: &Reporter,
    ) -> Result<ExitCode, Error> {
        let settings = &context.settings;
        let wanted = Wanted {
            database: settings.database.clone(),
            collection: self.collection.clone(),
            ids: self.id.as_deref().map(ids).unwrap_or_default(),
        };
        let each = self.each || self.id.is_some();
        report.begin("reading", None, "changes");
        let source = self.source(context).await?;
        let mut found = Found {
            from: source.from,
            to: self.to,
            destination: source.destination,
            changes: 0,
            minutes: Vec::new(),
            each: VecDeque::new(),
        };
        let mut minutes = Minutes::default();
        let mut entries = source.entries;
        while let Some(entry) = entries.try_next().await? {
            report.add(1);
            let changes = wanted.changes(entry.as_bytes());
            for change in changes.map_err(|error| Error::Engine(error.to_string()))? {
                // Parts of a transaction that goes on.
                if change.at < found.from {
                    continue;
                }
                found.changes += 1;
                if !each {
                    minutes.add(&change);
                    continue;
                }
                if found.each.len() == self.limit {
                    found.each.pop_front();
                }
                if self.limit > 0 {
                    found.each.push_back(change);
                }
            }
        }
        found.minutes = minutes.into_rows();
        out.result(&found, || found.text());
        Ok(ExitCode::SUCCESS)
    }
}

/// Entries to look at.
struct Source {
    /// Second from which on all are there.
    from: Timestamp,
    destination: Option<&'static str>,
    entries: BoxStream<'static, Result<RawDocumentBuf, Error>>,
}

impl History {
    /// The server's oplog; storage if that is wanted, or the oplog begins later than what is wanted.
    async fn source(&self, context: &Context) -> Result<Source, Error> {
        if self.from_storage {
            return self.stored(context, "").await;
        }
        let oplog = ServerOplog::new(&context.client, &context.settings.database);
        let newest = oplog.majority().await?;
        let oldest = oplog.oldest().await?.unwrap_or_default();
        let oldest_second = second_of(oldest);
        let from = match self.from {
            Some(from) if first_of(from) < oldest => {
                let why = format!("the server's oplog begins later, at {oldest_second}; ");
                return self.stored(context, &why).await;
            }
            Some(from) => from,
            None => (context.clock.now() - USUAL).max(oldest_second),
        };
        let from = whole_second(from);
        let until = match self.to {
            Some(to) => Until::Before(first_of(to)),
            None => Until::Through(newest),
        };
        let entries = oplog.entries(before(from), until).await?;
        Ok(Source {
            from,
            destination: None,
            entries: entries
                .map_err(|error| Error::database("reading the oplog")(error))
                .boxed(),
        })
    }

    /// The chain in storage that has changes wanted; of several, the one that goes on longest. `why` begins the error.
    async fn stored(&self, context: &Context, why: &str) -> Result<Source, Error> {
        let settings = &context.settings;
        let name = if self.copy { "copy" } else { "primary" };
        let repository = context
            .repositories()
            .find(|repository| repository.name == name)
            .ok_or_else(|| Error::NotFound(format!("there is no destination {name}")))?;
        let chains = repository.chains().await?;
        let ranges = chains.iter().flat_map(StoredChain::ranges);
        let has = |range: &Range| {
            let from = self
                .from
                .is_none_or(|from| first_of(from) <= range.through());
            from && self.to.is_none_or(|to| range.after() < first_of(to))
        };
        let range = ranges.filter(has).max_by_key(Range::through);
        let range = range.ok_or_else(|| {
            Error::Refused(format!(
                "{why}storage has no changes of then (`silo-backup chain` lists what it has)"
            ))
        })?;
        let (begin, end) = (second_of(range.after()), second_of(range.through()));
        let from = whole_second(self.from.unwrap_or(end - USUAL).max(begin));
        let until = match self.to {
            Some(to) => Until::Before(first_of(to)),
            None => Until::Through(range.through()),
        };
        let identity = settings.identity.as_ref().and_then(identity_of);
        let source = SliceSource::Stored(repository.clone(), identity);
        let entries = StoredEntries::new(source, range, &settings.database);
        Ok(Source {
            from,
            destination: Some(repository.name),
            entries: entries.read(before(from), until).boxed(),
        })
    }
}

fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn second_of(at: Position) -> Timestamp {
    Timestamp::from_second(at.seconds.into()).unwrap_or_default()
}

/// The last position before a second.
fn before(time: Timestamp) -> Position {
    Position {
        seconds: first_of(time).seconds.saturating_sub(1),
        increment: u32::MAX,
    }
}

/// The first position of a second.
fn first_of(time: Timestamp) -> Position {
    Position {
        seconds: u32::try_from(time.as_second()).unwrap_or_default(),
        increment: 0,
    }
}

/// Type and value of each `_id` that a text may mean: text, an ObjectId, a number.
fn ids(text: &str) -> Vec<Vec<u8>> {
    let mut meanings = vec![Bson::String(text.to_owned())];
    meanings.extend(ObjectId::parse_str(text).ok().map(Bson::ObjectId));
    meanings.extend(text.parse().ok().map(Bson::Int32));
    meanings.extend(text.parse().ok().map(Bson::Int64));
    meanings.extend(text.parse().ok().map(Bson::Double));
    let document = |id: Bson| doc! { "_id": id }.to_vec().ok();
    let documents = meanings.into_iter().filter_map(document);
    documents
        .filter_map(|document| entry::id(&document))
        .collect()
}

impl Found {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for change in &self.each {
            let fields = change.fields.join(", ");
            let grouped = if change.grouped { " with others" } else { "" };
            lines.push(format!(
                "{:<16} {}  {:<10} {}{grouped} {fields}",
                change.position, change.at, change.kind, change.collection
            ));
        }
        for minute in &self.minutes {
            lines.push(format!(
                "{:<16} {}  {:>6} inserted {:>6} updated {:>6} deleted {:>4} commands  {}",
                minute.first,
                minute.at,
                minute.inserted,
                minute.updated,
                minute.deleted,
                minute.commands,
                minute.collection
            ));
        }
        let to = self.to.map_or_else(String::new, |to| format!(" to {to}"));
        let of = match self.destination {
            Some(name) => format!(" in storage ({name})"),
            None => String::new(),
        };
        lines.push(format!(
            "{} changes from {}{to}{of}",
            self.changes, self.from
        ));
        let shown = count_from_usize(self.each.len());
        if shown > 0 && shown < self.changes {
            lines.push(format!(
                "the last {shown} of them are listed, {} earlier ones are not: `--limit {}` lists all",
                self.changes - shown,
                self.changes
            ));
        }
        if self.changes > 0 {
            lines.push(
                "`silo-backup restore --until-before POSITION` restores everything before a change"
                    .into(),
            );
        }
        lines.join("\n")
    }
}
