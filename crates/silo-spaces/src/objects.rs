//! Single objects: looking, reading, writing, deleting.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use rusoto_core::ByteStream;
use rusoto_s3::{
    CreateBucketRequest, DeleteObjectRequest, GetObjectRequest, HeadObjectRequest, S3,
};
use silo_core::units::count_from_i64;

use crate::Spaces;
use crate::error::{Kind, StorageError};
use crate::transport::error_of_read;

/// Metadata of an object, from a HEAD request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Size in bytes; `None` if the storage does not report it.
    pub bytes: Option<u64>,
    /// The entity tag, with its quotes.
    pub tag: Option<String>,
}

impl Spaces {
    /// Reads the metadata of an object.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it does not exist; otherwise the error of the request.
    pub async fn head(&self, bucket: &str, key: &str) -> Result<Head, StorageError> {
        let request = HeadObjectRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            ..HeadObjectRequest::default()
        };
        let head = self.s3.head_object(request).await?;
        Ok(Head {
            bytes: head.content_length.and_then(count_from_i64),
            tag: head.e_tag,
        })
    }

    /// Reads an object, or a range of its bytes, as it comes. An error in the middle ends the stream.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none, or why it cannot be read.
    pub async fn get(
        &self,
        bucket: &str,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<impl Stream<Item = Result<Bytes, StorageError>> + use<>, StorageError> {
        if range.as_ref().is_some_and(Range::is_empty) {
            return Err(StorageError::new(Kind::Refused, "the range has no bytes"));
        }
        let asked = range.map(|range| format!("{}-{}", range.start, range.end - 1));
        let request = GetObjectRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            range: asked.as_ref().map(|asked| format!("bytes={asked}")),
            ..GetObjectRequest::default()
        };
        let answer = self.s3.get_object(request).await?;
        // RFC 9110, 14.4: an answer without this range is not these bytes, whatever its status.
        let content_range = answer.content_range.as_deref().unwrap_or_default();
        if let Some(asked) = asked
            && !content_range.starts_with(&format!("bytes {asked}/"))
        {
            let detail = "the answer is not the range that was asked for";
            return Err(StorageError::new(Kind::Malformed, detail));
        }
        let body = answer.body.unwrap_or_else(|| ByteStream::from(Vec::new()));
        Ok(body.map(|piece| piece.map_err(|error| error_of_read(&error))))
    }

    /// Writes a whole object.
    ///
    /// # Errors
    /// The error of the request. The object may have been written all the same when the answer was lost.
    pub async fn put(&self, bucket: &str, key: &str, body: Bytes) -> Result<(), StorageError> {
        self.transport.put(bucket, key, &[], body).await?;
        Ok(())
    }

    /// Deletes an object. Deleting a missing object succeeds: S3 does not report the difference.
    ///
    /// # Errors
    /// The error of the request; the object may still exist.
    pub async fn delete(&self, bucket: &str, key: &str) -> Result<(), StorageError> {
        let request = DeleteObjectRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            ..DeleteObjectRequest::default()
        };
        self.s3.delete_object(request).await?;
        Ok(())
    }

    /// Creates a bucket; for local storage and tests.
    ///
    /// # Errors
    /// The error of the request.
    pub async fn create_bucket(&self, bucket: &str) -> Result<(), StorageError> {
        let request = CreateBucketRequest {
            bucket: bucket.to_owned(),
            ..CreateBucketRequest::default()
        };
        self.s3.create_bucket(request).await?;
        Ok(())
    }
}
