//! `silo-migrate copy` and `silo-migrate begin`.

use std::fmt::Write;
use std::num::NonZeroU32;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::Context;
use crate::copy::{self, Copied, Followed, Request};
use crate::error::Error;
use crate::selection::Selection;
use crate::server::PairArgs;

/// Arguments of `copy`.
#[derive(Args)]
pub(super) struct Copy {
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    selection: Selection,
    /// Most requests per second to the source: a free tier of Atlas allows 100
    #[arg(long, default_value = "80")]
    rate: NonZeroU32,
    /// Apply the changes of the source afterwards, until it is interrupted
    #[arg(long)]
    follow: bool,
    /// With --follow: end when all changes are applied
    #[arg(long, requires = "follow")]
    until_caught_up: bool,
    /// Only list what would be copied
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `begin`.
#[derive(Args)]
pub(super) struct Begin {
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    selection: Selection,
}

impl Begin {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode, Error> {
        let (source, target) = self.pair.open().await?;
        let begun = copy::begin_for_import(&source, &target, &self.selection).await?;
        context.out.result(&begun, || {
            format!(
                "Recorded: the changes of {} since {}. Export it as JSON now, import it, then run copy --follow",
                begun.source, begun.since
            )
        });
        Ok(ExitCode::SUCCESS)
    }
}

/// Result of `copy`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    collections: Vec<Copied>,
    /// Changes applied afterwards.
    followed: Option<Followed>,
}

impl Copy {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode, Error> {
        let (source, target) = self.pair.open().await?;
        let request = Request {
            selection: self.selection,
            rate: self.rate,
            follow: self.follow,
        };
        let (progress, stop) = (&context.progress, &context.stop);
        let mut outcome = Outcome {
            collections: Vec::new(),
            followed: None,
        };
        if self.dry_run {
            outcome.collections = copy::plan(&source, &target, &request).await?;
        } else {
            outcome.collections = copy::copy(&source, &target, &request, progress, stop).await?;
            if self.follow {
                let followed = copy::follow(
                    &source,
                    &target,
                    &request,
                    self.until_caught_up,
                    progress,
                    stop,
                );
                outcome.followed = Some(followed.await?);
            }
        }
        context
            .out
            .result(&outcome, || text(&outcome, self.dry_run));
        Ok(ExitCode::SUCCESS)
    }
}

fn text(outcome: &Outcome, planned: bool) -> String {
    let mut text = String::new();
    for copied in &outcome.collections {
        let what = if copied.before {
            "copied before"
        } else if planned {
            "to copy"
        } else {
            "copied"
        };
        // A string never fails to be written to.
        let _ = writeln!(
            text,
            "{}: {} documents, {what}",
            copied.name, copied.documents
        );
    }
    if let Some(followed) = &outcome.followed {
        let _ = writeln!(
            text,
            "{} changes applied, {} s behind",
            followed.changes, followed.lag_seconds
        );
    }
    text.trim_end().to_owned()
}
