//! Unfinished multipart uploads: listing, size, abort. And whether a bucket keeps older versions of its objects.

use jiff::Timestamp;
use rusoto_s3::{
    AbortMultipartUploadRequest, GetBucketVersioningRequest, ListMultipartUploadsRequest,
    ListPartsRequest, S3,
};
use silo_core::units::count_from_i64;

use crate::Spaces;
use crate::error::{Kind, StorageError};

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

/// The most unfinished uploads that are listed of a bucket, so that memory is bounded.
pub const MAX_UPLOADS: usize = 10_000;

impl Spaces {
    /// Lists unfinished uploads to a bucket, at most [`MAX_UPLOADS`]; with a prefix, of keys that begin with it.
    ///
    /// # Errors
    /// [`Kind::NotSupported`] if the storage cannot list them; otherwise the error of the request.
    pub async fn unfinished(
        &self,
        bucket: &str,
        prefix: Option<&str>,
    ) -> Result<Vec<UnfinishedUpload>, StorageError> {
        let mut found = Vec::new();
        let mut after = (None, None);
        loop {
            let request = ListMultipartUploadsRequest {
                bucket: bucket.to_owned(),
                prefix: prefix.map(str::to_owned),
                key_marker: after.0.clone(),
                upload_id_marker: after.1.clone(),
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
            let uploads = listed.uploads.unwrap_or_default();
            let empty = uploads.is_empty();
            found.extend(uploads.into_iter().filter_map(known));
            let next = (listed.next_key_marker, listed.next_upload_id_marker);
            let more = listed.is_truncated == Some(true) && found.len() < MAX_UPLOADS;
            if !more {
                found.truncate(MAX_UPLOADS);
                return Ok(found);
            }
            // Otherwise the same page would be asked for again and again.
            if empty || next.0.is_none() || next == after {
                let detail = "the list of unfinished uploads does not go on where it ended";
                return Err(StorageError::other(Kind::Malformed, detail));
            }
            after = next;
        }
    }

    /// `true` if the bucket keeps, or once kept, older versions of its objects: versioning is enabled or suspended.
    ///
    /// # Errors
    /// [`Kind::NotSupported`] if the storage has no versions; otherwise the error of the request.
    pub async fn keeps_versions(&self, bucket: &str) -> Result<bool, StorageError> {
        let request = GetBucketVersioningRequest {
            bucket: bucket.to_owned(),
            ..GetBucketVersioningRequest::default()
        };
        let versioning = self.s3.get_bucket_versioning(request).await?;
        Ok(versioning.status.is_some())
    }

    /// Stored bytes of an unfinished upload.
    ///
    /// # Errors
    /// The error of the request.
    pub async fn stored(
        &self,
        bucket: &str,
        upload: &UnfinishedUpload,
    ) -> Result<u64, StorageError> {
        let mut bytes = 0;
        let mut after = None;
        loop {
            let request = ListPartsRequest {
                bucket: bucket.to_owned(),
                key: upload.key.clone(),
                upload_id: upload.id.clone(),
                part_number_marker: after,
                ..ListPartsRequest::default()
            };
            let listed = self.s3.list_parts(request).await?;
            let parts = listed.parts.unwrap_or_default();
            let sizes = parts.iter().filter_map(|part| part.size);
            bytes += sizes.filter_map(count_from_i64).sum::<u64>();
            let last = parts.iter().filter_map(|part| part.part_number).max();
            if listed.is_truncated != Some(true) || last <= after {
                return Ok(bytes);
            }
            after = last;
        }
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
