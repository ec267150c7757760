//! Restore of an archive with mongorestore, to prove that it is readable without Silo.

use std::io::Read;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::archive::decoding::{self, Incoming, identity_of};
use crate::context::Context;
use crate::error::Error;
use crate::repository::Repository;
use crate::repository::manifest::Manifest;
use crate::restore::Target;

/// Path of mongorestore, if it is installed.
fn find(context: &Context) -> Option<std::path::PathBuf> {
    let named = context.settings.tools.iter().cloned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = named.chain(std::env::split_paths(&path));
    folders
        .map(|folder| folder.join("mongorestore"))
        .find(|program| program.is_file())
}

/// Number of last output lines kept to explain a failure.
const LAST_LINES: usize = 3;

/// Runs mongorestore on the decrypted and decompressed archive.
///
/// # Errors
/// [`Error::NotDrilled`] with its last output if it fails: that may be the server's fault, and is no verdict on the backup.
pub(super) async fn restore(
    context: &Context,
    repository: &Repository,
    manifest: &Manifest,
    target: &Target,
) -> Result<(), Error> {
    let program = find(context).ok_or_else(|| {
        Error::NotDrilled("mongorestore is not on the PATH, nor in MONGO_TOOLS".into())
    })?;
    let uri = context
        .settings
        .drill_mongo
        .as_ref()
        .unwrap_or(&context.settings.mongo);
    let mut settings = tempfile::NamedTempFile::new()?;
    let text =
        serde_json::to_string(uri.expose()).map_err(|error| Error::Engine(error.to_string()))?;
    std::io::Write::write_all(&mut settings, format!("uri: {text}\n").as_bytes())?;
    let (from, to) = (&manifest.source.database, target.database.name());
    let mut child = Command::new(program)
        .arg("--config")
        .arg(settings.path())
        .args([
            "--archive",
            "--stopOnError",
            "--bypassDocumentValidation",
            "--numInsertionWorkersPerCollection",
            "1",
            "--batchSize",
            "100",
        ])
        .args([
            format!("--nsInclude={from}.*"),
            format!("--nsFrom={from}.*"),
            format!("--nsTo={to}.*"),
        ])
        .env_clear()
        .envs([("GOMEMLIMIT", "48MiB"), ("GOGC", "40")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Error::Engine(format!("mongorestore cannot be started: {error}")))?;
    let stderr = child
        .stderr
        .take()
        .map(|stderr| tokio::spawn(last_lines(stderr)));
    let chunks = repository.download(&manifest.archive.key, manifest.archive.bytes);
    let (out, mut pieces) = mpsc::channel::<bytes::Bytes>(2);
    let archive = manifest.archive.clone();
    let identity = context.settings.identity.as_ref().and_then(identity_of);
    let reading = tokio::task::spawn_blocking(move || {
        let mut incoming = Incoming::new(chunks);
        let identity = identity.as_ref().filter(|_| archive.recipient.is_some());
        let mut plain = decoding::open(&mut incoming, archive.compression, identity)?;
        let mut piece = vec![0; 256 * 1024];
        loop {
            let read = plain.read(&mut piece)?;
            if read == 0
                || out
                    .blocking_send(bytes::Bytes::copy_from_slice(&piece[..read]))
                    .is_err()
            {
                return Ok::<_, std::io::Error>(());
            }
        }
    });
    if let Some(mut stdin) = child.stdin.take() {
        while let Some(piece) = pieces.recv().await {
            // mongorestore closed its stdin; its exit status, checked below, has the reason.
            if stdin.write_all(&piece).await.is_err() {
                break;
            }
        }
    }
    drop(pieces);
    let read = reading
        .await
        .map_err(|_panic| Error::Engine("reading the archive was interrupted".into()))?;
    let status = child.wait().await?;
    if !status.success() {
        let lines = match stderr {
            Some(lines) => lines.await.unwrap_or_default(),
            None => String::new(),
        };
        return Err(Error::NotDrilled(format!(
            "mongorestore failed: {status}; {lines}"
        )));
    }
    read.map_err(|error| {
        Error::Inconclusive(format!("the archive could not be read to its end: {error}"))
    })
}

/// Last lines of the output. mongorestore does not print passwords.
async fn last_lines(stderr: impl AsyncRead + Unpin) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let mut last = std::collections::VecDeque::new();
    while let Ok(Some(line)) = lines.next_line().await {
        last.push_back(line);
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
    last.make_contiguous().join(" / ")
}
