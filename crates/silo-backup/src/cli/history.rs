//! `silo-backup history`: changes in the server's oplog or in storage, to find the position of a mistake.

mod source;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Args;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde::Serialize;
use silo_core::units::count_from_usize;
use silo_mongo::mongodb::bson::{Bson, doc, oid::ObjectId};

use crate::context::Context;
use crate::error::Error;
use crate::oplog::entry;
use crate::oplog::history::{Minute, Minutes, Run, Runs, Wanted};
use silo_cli::print::Printer;
use silo_cli::progress::Reporter;

#[derive(Args)]
pub(super) struct History {
    /// Changes of this collection only
    #[arg(long)]
    collection: Option<String>,
    /// Changes of the document with this _id only, each in its own line
    #[arg(long, requires = "collection")]
    id: Option<String>,
    /// From this time on (2026-11-27T03:00:00Z); default: the last hour. Changes from before the server's oplog are read from storage
    #[arg(long)]
    from: Option<Timestamp>,
    /// Before this time
    #[arg(long)]
    to: Option<Timestamp>,
    /// Each change, and not their number in each minute; those of one kind one after another in one second are one line
    #[arg(long)]
    each: bool,
    /// Most lines with --each, the last ones
    #[arg(long, default_value = "200")]
    limit: NonZeroUsize,
    /// Read the changes from storage, such as those of a server that is gone
    #[arg(long)]
    from_storage: bool,
    /// With --from-storage, of the second copy
    #[arg(long, requires = "from_storage")]
    copy: bool,
    /// With --from-storage, of this chain only (`silo-backup chain` lists all)
    #[arg(long, requires = "from_storage", value_name = "ID")]
    chain: Option<String>,
}

/// Result of `history`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    /// Second in which the changes begin.
    from: Timestamp,
    /// Second before which they end; `null` if they go on up to now.
    to: Option<Timestamp>,
    /// `primary` or `copy` for changes in storage; `null` for those in the server's oplog.
    destination: Option<&'static str>,
    /// What is missing between these times, and where it may be.
    notes: Vec<String>,
    /// Number of changes, also of those that are not shown.
    changes: u64,
    /// Numbers of changes; empty with `--each`.
    minutes: Vec<Minute>,
    /// The last changes; empty without `--each`.
    each: Vec<Run>,
    /// Number of earlier ones that `--limit` leaves out.
    earlier: u64,
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
            to: source.to,
            destination: source.destination,
            notes: source.notes,
            changes: 0,
            minutes: Vec::new(),
            each: Vec::new(),
            earlier: 0,
        };
        let mut minutes = Minutes::default();
        let mut runs = Runs::new(self.limit, self.id.is_none());
        let mut entries = source.entries;
        while let Some(entry) = entries.try_next().await? {
            report.add(1);
            let changes = wanted.changes(entry.as_bytes());
            for change in changes.map_err(|error| Error::Engine(error.to_string()))? {
                found.changes += 1;
                if each {
                    runs.add(change);
                } else {
                    minutes.add(&change);
                }
            }
        }
        (found.each, found.earlier) = runs.into_rows();
        found.minutes = minutes.into_rows();
        out.result(&found, || found.text());
        Ok(ExitCode::SUCCESS)
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
        for Run { first, last, count } in &self.each {
            let fields = first.fields.join(", ");
            let grouped = if first.grouped { " with others" } else { "" };
            let count = match count {
                1 => String::new(),
                count => format!(" {count} times, up to {last}"),
            };
            lines.push(format!(
                "{:<16} {}  {:<10} {}{grouped}{count} {fields}",
                first.position, first.at, first.kind, first.collection
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
        lines.extend(self.notes.clone());
        if self.earlier > 0 {
            let shown = count_from_usize(self.each.len());
            lines.push(format!(
                "the last {shown} lines are listed, {} earlier ones are not: `--limit {}` lists all",
                self.earlier,
                self.earlier + shown
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
