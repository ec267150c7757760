//! `silo-backup history`: changes in the server's oplog, to find the position of a mistake.

use std::collections::VecDeque;
use std::process::ExitCode;

use clap::Args;
use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_mongo::mongodb::bson::{Bson, doc, oid::ObjectId};

use crate::context::Context;
use crate::error::Error;
use crate::oplog::history::{Change, Minute, Minutes, Wanted};
use crate::oplog::server::{ServerOplog, Until};
use crate::oplog::{Position, entry};
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
    /// From this time on (2026-11-27T03:00:00Z); default: the last hour
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
}

/// Result of `history`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    from: Timestamp,
    to: Option<Timestamp>,
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
        let oplog = ServerOplog::new(&context.client, &settings.database);
        let from = self.from.unwrap_or(context.clock.now() - USUAL);
        let from = Timestamp::from_second(from.as_second()).unwrap_or(from);
        let newest = oplog.majority().await?;
        let until = match self.to {
            Some(to) => Until::Before(first_of(to)),
            None => Until::Through(newest),
        };
        // The oplog may begin later.
        let oldest = oplog.oldest().await?.unwrap_or_default();
        if first_of(from) < oldest && self.from.is_some() {
            return Err(Error::Refused(format!(
                "the server's oplog begins later, at {}",
                Timestamp::from_second(oldest.seconds.into()).unwrap_or_default()
            )));
        }
        let after = Position {
            seconds: first_of(from).seconds.saturating_sub(1),
            increment: u32::MAX,
        };
        let wanted = Wanted {
            database: settings.database.clone(),
            collection: self.collection.clone(),
            ids: self.id.as_deref().map(ids).unwrap_or_default(),
        };
        let each = self.each || self.id.is_some();
        let mut found = Found {
            from,
            to: self.to,
            changes: 0,
            minutes: Vec::new(),
            each: VecDeque::new(),
        };
        let mut minutes = Minutes::default();
        report.begin("reading", None, "changes");
        let mut entries = std::pin::pin!(oplog.entries(after, until).await?);
        while let Some(entry) = entries
            .try_next()
            .await
            .map_err(Error::database("reading the oplog"))?
        {
            report.add(1);
            let changes = wanted.changes(entry.as_bytes());
            for change in changes.map_err(|error| Error::Engine(error.to_string()))? {
                // Parts of a transaction that goes on.
                if change.at < from {
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
        lines.push(format!("{} changes from {}{to}", self.changes, self.from));
        if self.changes > 0 {
            lines.push(
                "`silo-backup restore --until-before POSITION` restores everything before a change"
                    .into(),
            );
        }
        lines.join("\n")
    }
}
