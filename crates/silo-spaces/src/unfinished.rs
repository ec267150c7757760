//! Unfinished multipart uploads: listing, size, abort.

use jiff::Timestamp;
use rusoto_s3::{AbortMultipartUploadRequest, ListMultipartUploadsRequest, ListPartsRequest, S3};
use silo_core::units::count_from_i64;

use crate::Spaces;
use crate::error::StorageError;

/// An upload that was begun and neither completed nor aborted. Its parts cost as much as objects do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// The key it is for.
    pub key: String,
    /// Upload id.
    pub id: String,
    /// When it was begun.
    pub begun: Option<Timestamp>,
}

impl Spaces {
    /// Lists unfinished uploads to a bucket, at most a thousand; with a prefix, of keys that begin with it.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotSupported`] if the storage cannot list them; otherwise the error of the request.
    pub async fn unfinished(
        &self,
        bucket: &str,
        prefix: Option<&str>,
    ) -> Result<Vec<UnfinishedUpload>, StorageError> {
        let request = ListMultipartUploadsRequest {
            bucket: bucket.to_owned(),
            prefix: prefix.map(str::to_owned),
            ..ListMultipartUploadsRequest::default()
        };
        let listed = self.s3.list_multipart_uploads(request).await?;
        let known = |upload: rusoto_s3::MultipartUpload| {
            Some(UnfinishedUpload {
                key: upload.key?,
                id: upload.upload_id?,
                begun: upload.initiated.and_then(|time| time.parse().ok()),
            })
        };
        Ok(listed
            .uploads
            .unwrap_or_default()
            .into_iter()
            .filter_map(known)
            .collect())
    }

    /// Stored bytes of an unfinished upload, in its first thousand parts.
    ///
    /// # Errors
    /// The error of the request.
    pub async fn stored(
        &self,
        bucket: &str,
        upload: &UnfinishedUpload,
    ) -> Result<u64, StorageError> {
        let request = ListPartsRequest {
            bucket: bucket.to_owned(),
            key: upload.key.clone(),
            upload_id: upload.id.clone(),
            ..ListPartsRequest::default()
        };
        let parts = self.s3.list_parts(request).await?.parts.unwrap_or_default();
        let sizes = parts
            .iter()
            .filter_map(|part| part.size.and_then(count_from_i64));
        Ok(sizes.sum())
    }

    /// Aborts an upload, so that its parts are deleted.
    ///
    /// # Errors
    /// The error of the request; the parts may still exist.
    pub async fn abort(&self, bucket: &str, key: &str, id: &str) -> Result<(), StorageError> {
        let request = AbortMultipartUploadRequest {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            upload_id: id.to_owned(),
            ..AbortMultipartUploadRequest::default()
        };
        self.s3.abort_multipart_upload(request).await?;
        Ok(())
    }
}
