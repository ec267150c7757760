//! Listing of buckets, page by page.

use std::time::Duration;

use crate::Spaces;
use crate::error::{Kind, StorageError};
use crate::page::{LARGEST, MOST, Page};
use crate::request::Request;

impl Spaces {
    /// Lists one page of a bucket: the keys after `after`, at most [`MOST`].
    ///
    /// # Errors
    /// The error of the last attempt.
    pub async fn page(&self, bucket: &str, after: Option<&str>) -> Result<Page, StorageError> {
        self.list(bucket, None, after, None).await
    }

    /// Like [`Spaces::page`], with the keys that begin with `prefix` only.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub async fn page_below(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Page, StorageError> {
        self.list(bucket, Some(prefix), after, None).await
    }

    /// Like [`Spaces::page`], with keys grouped up to `delimiter` in [`Page::prefixes`].
    ///
    /// # Errors
    /// The error of the last attempt.
    pub async fn prefixes(
        &self,
        bucket: &str,
        after: Option<&str>,
        delimiter: &str,
    ) -> Result<Page, StorageError> {
        self.list(bucket, None, after, Some(delimiter)).await
    }

    /// Asks once, without retries, whether the endpoint answers at all; an error status is an answer too.
    ///
    /// # Errors
    /// [`Kind::Unreachable`], or [`Kind::TimedOut`] after `limit`.
    pub async fn reach(&self, bucket: &str, limit: Duration) -> Result<(), StorageError> {
        let request = Request::get_bucket(bucket, &[("list-type", "2"), ("max-keys", "1")]);
        self.transport.reach(&request, limit).await
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: Option<&str>,
        after: Option<&str>,
        delimiter: Option<&str>,
    ) -> Result<Page, StorageError> {
        let most = MOST.to_string();
        let mut parameters = vec![("list-type", "2"), ("max-keys", most.as_str())];
        parameters.extend(prefix.map(|prefix| ("prefix", prefix)));
        parameters.extend(after.map(|after| ("start-after", after)));
        parameters.extend(delimiter.map(|delimiter| ("delimiter", delimiter)));
        let plain = self.ask(bucket, &parameters, after).await?;
        if !plain.has_controls() {
            return Ok(plain);
        }
        // Servers and XML readers disagree about control characters, but not about percent-encoding.
        parameters.push(("encoding-type", "url"));
        let encoded = self.ask(bucket, &parameters, after).await?;
        // Some servers claim to encode and do not: then the unencoded answer has the correct keys.
        Ok(if encoded.was_encoded { encoded } else { plain })
    }

    async fn ask(
        &self,
        bucket: &str,
        parameters: &[(&str, &str)],
        after: Option<&str>,
    ) -> Result<Page, StorageError> {
        let request = Request::get_bucket(bucket, parameters);
        self.transport
            .document(&request, LARGEST, |document| {
                Page::parse(document, after).map_err(|why| StorageError::new(Kind::Malformed, why))
            })
            .await
    }
}
