//! Multipart upload of a stream of unknown length.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use log::warn;
use rusoto_s3::{
    CompleteMultipartUploadRequest, CompletedMultipartUpload, CompletedPart,
    CreateMultipartUploadRequest, S3,
};
use silo_core::units::count_from_usize;

use crate::Spaces;
use crate::error::{Kind, StorageError};

/// The size of each part but the last: the smallest that S3 takes. It takes at most 10,000, so an upload has at most 48 GiB.
pub const PART: usize = 5 * 1024 * 1024;
/// Room for the piece of a stream that goes over the end of a part.
const PIECE: usize = 512 * 1024;
/// The most parts that S3 takes.
const MOST_PARTS: i64 = 10_000;

impl Spaces {
    /// Uploads an object from a stream and returns its number of bytes. Less than [`PART`] is sent with one PUT, more as a multipart upload with two
    /// parts in memory. A failed upload is aborted before this returns; a dropped one is aborted in the background, as far as possible.
    ///
    /// # Errors
    /// [`Kind::Source`] when the stream fails; otherwise the error of the storage.
    pub async fn put_stream(
        &self,
        bucket: &str,
        key: &str,
        stream: impl Stream<Item = io::Result<Bytes>>,
    ) -> Result<u64, StorageError> {
        let mut parts = std::pin::pin!(Parts::new(stream));
        let first = parts.next().await?;
        if first.len() < PART {
            let bytes = count_from_usize(first.len());
            self.put(bucket, key, first).await?;
            return Ok(bytes);
        }
        let mut upload = self.begin(bucket, key).await?;
        let sent = async {
            let mut part = first;
            while !part.is_empty() {
                // The next part is collected while this one is sent, so two are in memory. When the stream fails, sending stops at once, because the
                // process may be about to end.
                ((), part) = tokio::try_join!(upload.send(part), parts.next())?;
            }
            upload.complete().await
        }
        .await;
        if sent.is_err() {
            upload.give_up().await;
        }
        sent
    }

    async fn begin(&self, bucket: &str, key: &str) -> Result<Upload, StorageError> {
        let request = CreateMultipartUploadRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            ..CreateMultipartUploadRequest::default()
        };
        let begun = self.s3.create_multipart_upload(request).await?;
        let id = begun.upload_id.filter(|id| !id.is_empty());
        Ok(Upload {
            spaces: self.clone(),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            id: id.ok_or_else(|| {
                StorageError::new(Kind::Malformed, "the storage gave the upload no id")
            })?,
            parts: Vec::new(),
            bytes: 0,
            open: true,
        })
    }
}

/// An upload in progress. Dropping it before it is complete aborts it.
struct Upload {
    spaces: Spaces,
    bucket: String,
    key: String,
    id: String,
    parts: Vec<CompletedPart>,
    bytes: u64,
    open: bool,
}

impl Upload {
    async fn send(&mut self, part: Bytes) -> Result<(), StorageError> {
        let number = i64::try_from(self.parts.len()).unwrap_or(MOST_PARTS) + 1;
        if number > MOST_PARTS {
            return Err(StorageError::new(
                Kind::Source,
                "the object has more than 10,000 parts of 5 MiB",
            ));
        }
        let bytes = count_from_usize(part.len());
        let text = number.to_string();
        let parameters = [
            ("partNumber", text.as_str()),
            ("uploadId", self.id.as_str()),
        ];
        let tag = self
            .spaces
            .transport
            .put(&self.bucket, &self.key, &parameters, part)
            .await?;
        self.parts.push(CompletedPart {
            e_tag: Some(tag),
            part_number: Some(number),
        });
        self.bytes += bytes;
        Ok(())
    }

    async fn complete(&mut self) -> Result<u64, StorageError> {
        let request = CompleteMultipartUploadRequest {
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            upload_id: self.id.clone(),
            multipart_upload: Some(CompletedMultipartUpload {
                parts: Some(std::mem::take(&mut self.parts)),
            }),
            ..CompleteMultipartUploadRequest::default()
        };
        let completed = self.spaces.s3.complete_multipart_upload(request).await;
        match completed.map_err(StorageError::from) {
            Ok(_) => {}
            // The answer to an earlier attempt may have been lost after the storage had completed the upload.
            Err(error) if error.kind == Kind::NotFound => self.check_whole().await?,
            Err(error) => return Err(error),
        }
        self.open = false;
        Ok(self.bytes)
    }

    /// Aborts it and waits for that, so that a program that ends now leaves nothing behind.
    async fn give_up(&mut self) {
        self.open = false;
        let aborted = self.spaces.abort(&self.bucket, &self.key, &self.id).await;
        if let Err(error) = aborted
            && error.kind != Kind::NotFound
        {
            self.left_behind(&error);
        }
    }

    fn left_behind(&self, why: &dyn std::fmt::Display) {
        let bucket = self.bucket.as_str();
        warn!(bucket; "an upload could not be aborted, its parts stay behind: {why}");
    }

    async fn check_whole(&self) -> Result<(), StorageError> {
        let head = self.spaces.head(&self.bucket, &self.key).await?;
        if head.bytes == Some(self.bytes) {
            return Ok(());
        }
        Err(StorageError::new(
            Kind::Refused,
            "the storage lost the upload before it was complete",
        ))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let (spaces, bucket) = (self.spaces.clone(), self.bucket.clone());
        let (key, id) = (self.key.clone(), self.id.clone());
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                if let Err(error) = spaces.abort(&bucket, &key, &id).await {
                    warn!(bucket = bucket.as_str(), code = error.kind.code(); "an upload could not be aborted, its parts stay behind: {error}");
                }
            })),
            Err(_) => warn!(bucket = bucket.as_str(); "an upload could not be aborted, its parts stay behind: the program is ending"),
        }
    }
}

/// A stream cut into parts of [`PART`] bytes; the last is smaller, and after it comes an empty one.
struct Parts<S> {
    stream: std::pin::Pin<Box<S>>,
    rest: BytesMut,
    ended: bool,
}

impl<S: Stream<Item = io::Result<Bytes>>> Parts<S> {
    fn new(stream: S) -> Self {
        Self {
            stream: Box::pin(stream),
            rest: BytesMut::new(),
            ended: false,
        }
    }

    async fn next(&mut self) -> Result<Bytes, StorageError> {
        if self.rest.len() < PART && !self.ended {
            // At once and not by doubling, which would take twice as much.
            self.rest.reserve(PART + PIECE - self.rest.len());
        }
        while !self.ended && self.rest.len() < PART {
            match self.stream.next().await {
                Some(Ok(piece)) => self.rest.extend_from_slice(&piece),
                Some(Err(_)) => {
                    return Err(StorageError::new(
                        Kind::Source,
                        "the data to be stored could not be read completely",
                    ));
                }
                None => self.ended = true,
            }
        }
        let size = self.rest.len().min(PART);
        Ok(self.rest.split_to(size).freeze())
    }
}
