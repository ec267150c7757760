//! Download of an archive in ranges, resumed after interruptions.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use silo_spaces::Spaces;
use silo_spaces::error::{Kind, StorageError};
use tokio::sync::mpsc;

/// Chunks buffered for the reader.
const BUFFERED: usize = 4;
/// Attempts to resume an interrupted download without receiving a byte.
const TRIES: u32 = 6;

/// Starts the download. If it cannot continue, the channel's last item is the error, with the [`StorageError`].
pub(super) fn start(
    spaces: Spaces,
    bucket: String,
    key: String,
    size: u64,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (out, chunks) = mpsc::channel(BUFFERED);
    tokio::spawn(async move {
        let mut at = 0;
        let mut tries = 0;
        while at < size {
            let before = at;
            match run(&spaces, &bucket, &key, &mut at, size, &out).await {
                Ok(()) => {}
                Err(error) => {
                    tries = if at > before { 0 } else { tries + 1 };
                    if !error.is_transient() || tries >= TRIES {
                        // If the reader has gone away, the error is not needed.
                        drop(out.send(Err(io::Error::other(error))).await);
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100 << tries)).await;
                }
            }
            if out.is_closed() {
                return;
            }
        }
    });
    chunks
}

async fn run(
    spaces: &Spaces,
    bucket: &str,
    key: &str,
    at: &mut u64,
    size: u64,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), StorageError> {
    let mut pieces = std::pin::pin!(spaces.get(bucket, key, Some(*at..size)).await?);
    let before = *at;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        *at += u64::try_from(piece.len()).unwrap_or_default();
        if out.send(Ok(piece)).await.is_err() {
            return Ok(());
        }
    }
    if *at < size {
        let detail = "the storage ended an answer before it was whole";
        let kind = if *at > before {
            Kind::Unreachable
        } else {
            Kind::Malformed
        };
        return Err(StorageError::other(kind, detail));
    }
    Ok(())
}
