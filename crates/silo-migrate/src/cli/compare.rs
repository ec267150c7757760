//! `silo-migrate compare`.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use silo_cli::exit::EXIT_DIFFERENT;
use silo_mongo::compare::{self, Comparison, DEFAULT_LIMIT, Request};

use super::Context;
use crate::error::Error;
use crate::selection::Selection;
use crate::server::PairArgs;

/// Arguments of `compare`.
#[derive(Args)]
pub(super) struct Compare {
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    selection: Selection,
    /// Most differences of a collection that are listed
    #[arg(long, default_value_t = DEFAULT_LIMIT)]
    limit: usize,
}

impl Compare {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode, Error> {
        let (source, target) = self.pair.open().await?;
        let request = Request {
            only: self.selection.only,
            except: self.selection.skip,
            limit: self.limit,
            in_turn: false,
        };
        context.progress.begin("comparing", None, "documents");
        let progress = |name: &str, documents: u64| {
            context.progress.at(name);
            context.progress.add(documents);
        };
        let comparing = compare::compare(&source, &target, &request, &progress);
        let comparison = tokio::select! {
            biased;
            () = context.stop.cancelled() => return Err(Error::Interrupted),
            comparison = comparing => comparison?,
        };
        context.out.result(&comparison, || text(&comparison));
        Ok(if comparison.equal {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(EXIT_DIFFERENT)
        })
    }
}

/// One line per collection, and its differences.
fn text(comparison: &Comparison) -> String {
    let mut text = String::new();
    for collection in &comparison.collections {
        let count =
            |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        // A string never fails to be written to.
        let _ = writeln!(
            text,
            "{}: {} and {} documents, {}",
            collection.name,
            count(collection.source_documents),
            count(collection.target_documents),
            if collection.is_equal() {
                "equal".to_owned()
            } else {
                format!("{} different", collection.different_documents)
            }
        );
        for difference in &collection.structure {
            let _ = writeln!(text, "  {difference}");
        }
        for difference in &collection.differences {
            let field = difference
                .field
                .as_deref()
                .map_or_else(String::new, |field| format!(" in {field}"));
            let _ = writeln!(
                text,
                "  {}: {}{field}",
                difference.id,
                difference.class.name()
            );
        }
        let listed = u64::try_from(collection.differences.len()).unwrap_or(u64::MAX);
        if collection.different_documents > listed {
            let _ = writeln!(
                text,
                "  and {} more",
                collection.different_documents - listed
            );
        }
        if collection.changed_meanwhile > 0 {
            let _ = writeln!(
                text,
                "  {} documents changed meanwhile, and are equal now",
                collection.changed_meanwhile
            );
        }
    }
    let changed = if comparison.source_changed {
        "; the source changed meanwhile: compare again when nothing writes"
    } else {
        ""
    };
    let equal = if comparison.equal {
        "equal"
    } else {
        "not equal"
    };
    let _ = write!(text, "The databases are {equal}{changed}");
    text
}
