//! Engine that runs mongodump as a child process and checks its exit status and its stream.
//!
//! A mongodump that dies half-way leaves a stream that looks complete, and one that cannot write its end exits with 0. So the stream is validated as
//! it arrives, success requires exit status 0, and documents are counted before and after.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::process::Stdio;

use bytes::Bytes;
use jiff::Timestamp;
use silo_mongo::collections::{self, Kind};
use silo_mongo::field;
use silo_mongo::mongodb::bson::doc;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_util::io::SyncIoBridge;

use super::request::{DumpOutcome, DumpRequest};
use crate::archive::encoding::{Chunk, Finished, Sink};
use crate::archive::reader;
use crate::archive::summary::{ArchiveSummary, SummaryBuilder};
use crate::error::Error;
use crate::progress::Reporter;
use crate::repository::manifest::Consistency;

/// Number of last output lines kept to explain a failure.
const LAST_LINES: usize = 3;

pub(super) async fn run(
    order: &DumpRequest,
    out: mpsc::Sender<Chunk>,
    tee: Option<mpsc::Sender<io::Result<Bytes>>>,
) -> Result<DumpOutcome, Error> {
    let before = counts(order).await?;
    let as_of = Timestamp::now();
    order
        .report
        .begin("reading", Some(before.values().sum()), "documents");
    // The password is in a file that only we can read, and that is gone as soon as the child is.
    let mut settings = tempfile::NamedTempFile::new()?;
    let uri = serde_json::to_string(order.uri.expose())
        .map_err(|error| Error::Engine(error.to_string()))?;
    settings.write_all(format!("uri: {uri}\n").as_bytes())?;
    let program = order
        .tools
        .as_ref()
        .map_or_else(|| "mongodump".into(), |folder| folder.join("mongodump"));
    let mut command = Command::new(&program);
    command
        .arg("--config")
        .arg(settings.path())
        .args([
            "--db",
            &order.database,
            "--archive",
            "--numParallelCollections",
            "1",
        ])
        .env_clear()
        // The droplet has 1 GB for everything.
        .envs([("GOMEMLIMIT", "48MiB"), ("GOGC", "40")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| {
        Error::Engine(format!("{} cannot be started: {error}", program.display()))
    })?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Error::Engine("mongodump has no output".into()));
    };
    let stderr_lines = tokio::spawn(last_lines(stderr));
    let sink = Sink::new(&order.encoding, out, tee)?;
    let (folder, report) = (order.folder.clone(), order.report.clone());
    let stream = SyncIoBridge::new(stdout);
    let copying = tokio::task::spawn_blocking(move || copy(stream, sink, &folder, report));
    let copied = copying
        .await
        .map_err(|_panic| Error::Engine("reading mongodump's output was interrupted".into()))?;
    let status = match &copied {
        Ok(_) => child.wait().await?,
        // The child would wait for a reader forever.
        Err(_) => {
            let ended = child.try_wait()?;
            child.kill().await?;
            match ended {
                Some(status) => status,
                None => child.wait().await?,
            }
        }
    };
    let stderr_lines = stderr_lines.await.unwrap_or_default();
    let (finished, written) = copied.map_err(|error| {
        Error::Engine(format!(
            "mongodump's stream: {error}; {status}; {stderr_lines}"
        ))
    })?;
    if !status.success() {
        return Err(Error::Engine(format!(
            "mongodump failed: {status}; {stderr_lines}"
        )));
    }
    let after = counts(order).await?;
    compare(&before, &after, &written)?;
    // The stream counts as complete only now.
    let stored = tokio::task::spawn_blocking(move || finished.end())
        .await
        .map_err(|_panic| Error::Engine("completing the archive was interrupted".into()))??;
    Ok(DumpOutcome {
        as_of,
        consistency: Consistency::Fuzzy,
        not_in_snapshot: Vec::new(),
        stored,
        written,
    })
}

/// Copies the stream to its end, and validates and summarises it.
fn copy(
    stream: impl Read,
    sink: Sink,
    folder: &std::path::Path,
    report: Reporter,
) -> Result<(Finished, ArchiveSummary), reader::Error> {
    let mut tee = Tee { stream, sink };
    let mut checker = SummaryBuilder::new(folder, report);
    reader::read(&mut tee, &mut checker)?;
    Ok((tee.sink.finish()?, checker.summary()?))
}

/// A stream of which every byte that is read is written too.
struct Tee<R> {
    stream: R,
    sink: Sink,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(into)?;
        self.sink.write_all(&into[..read])?;
        Ok(read)
    }
}

/// Number of documents in each collection, counted by the server.
async fn counts(order: &DumpRequest) -> Result<BTreeMap<String, u64>, Error> {
    let database = order.client.database(&order.database);
    let collections = collections::list(&database)
        .await
        .map_err(Error::database("listing the collections"))?;
    let mut counts = BTreeMap::new();
    for collection in collections
        .iter()
        .filter(|collection| collection.kind == Kind::Collection)
    {
        let answer = database
            .run_command(doc! { "count": &collection.name })
            .await;
        let answer = answer
            .map_err(|error| Error::database(format!("counting {}", collection.name))(&error))?;
        counts.insert(
            collection.name.clone(),
            field::count(&answer, "n").unwrap_or_default(),
        );
    }
    Ok(counts)
}

/// mongodump wrote as many documents as the server counted, give or take what came and went meanwhile.
fn compare(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
    written: &ArchiveSummary,
) -> Result<(), Error> {
    for (name, then) in before {
        let Some(now) = after.get(name) else { continue };
        let found = written.collections.iter().find(|found| found.name == *name);
        let Some(found) = found.map(|found| found.sums.documents) else {
            return Err(Error::Engine(format!("mongodump left out {name}")));
        };
        let moved = then.abs_diff(*now);
        let least = then.min(now).saturating_sub(moved);
        let most = then.max(now) + moved;
        if !(least..=most).contains(&found) {
            return Err(Error::Engine(format!(
                "mongodump wrote {found} documents of {name}, and the server counts {then} before and {now} after"
            )));
        }
    }
    Ok(())
}

/// Last output lines, to explain a failure. mongodump does not print passwords.
async fn last_lines(stderr: impl AsyncRead + Unpin) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let mut last = std::collections::VecDeque::new();
    while let Ok(Some(line)) = lines.next_line().await {
        log::debug!("mongodump says: {line}");
        last.push_back(line);
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
    last.make_contiguous().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verification::expectations::tests::collection;

    #[test]
    fn fewer_documents_than_the_server_counts_are_a_failure() {
        let counts = |count| BTreeMap::from([("users".to_owned(), count)]);
        let wrote = |count| ArchiveSummary {
            collections: vec![collection("users", count)],
            unique_indexes: 0,
            not_checked: vec![],
            duplicate: None,
        };
        assert!(compare(&counts(100), &counts(100), &wrote(100)).is_ok());
        assert!(compare(&counts(100), &counts(100), &wrote(99)).is_err());
        assert!(compare(&counts(100), &counts(110), &wrote(105)).is_ok());
        assert!(compare(&counts(100), &counts(110), &wrote(80)).is_err());
        let nothing = ArchiveSummary {
            collections: vec![],
            unique_indexes: 0,
            not_checked: vec![],
            duplicate: None,
        };
        assert!(compare(&counts(0), &counts(0), &nothing).is_err());
    }
}
