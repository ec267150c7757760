//! One request before it is signed; it can be sent again.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusoto_core::Region;
use rusoto_core::credential::AwsCredentials;
use rusoto_signature::{SignedRequest, SignedRequestPayload};

use crate::endpoint::Addressing;
use crate::error::{Kind, StorageError};

/// A request, not signed.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// `/bucket` or `/bucket/key`, not encoded.
    pub(crate) path: String,
    pub(crate) parameters: BTreeMap<String, Option<String>>,
    pub(crate) headers: BTreeMap<String, Vec<Vec<u8>>>,
    pub(crate) body: Option<Bytes>,
}

impl Request {
    /// A GET of a bucket with parameters.
    pub(crate) fn get_bucket(bucket: &str, parameters: &[(&str, &str)]) -> Self {
        let parameters = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
            .collect();
        Self {
            method: "GET".into(),
            path: format!("/{bucket}"),
            parameters,
            headers: BTreeMap::new(),
            body: None,
        }
    }

    /// A PUT of an object, or of a part of one. rusoto would send it as a stream, which is not signed and cannot be sent again.
    pub(crate) fn put(bucket: &str, key: &str, parameters: &[(&str, &str)], body: Bytes) -> Self {
        Self {
            method: "PUT".into(),
            path: format!("/{bucket}/{key}"),
            body: Some(body),
            ..Self::get_bucket(bucket, parameters)
        }
    }

    /// Converts a request of rusoto. A streaming body cannot be retried, so this crate never passes one to rusoto.
    pub(crate) fn from_rusoto(request: SignedRequest) -> Result<Self, StorageError> {
        let body = match request.payload {
            None => None,
            Some(SignedRequestPayload::Buffer(bytes)) => Some(bytes),
            Some(SignedRequestPayload::Stream(_)) => {
                return Err(StorageError::new(
                    Kind::Refused,
                    "a body that is a stream cannot be sent again",
                ));
            }
        };
        Ok(Self {
            method: request.method,
            path: request.path,
            parameters: request.params,
            headers: request.headers,
            body,
        })
    }

    /// `true` if the answer is an object's content and not an XML document.
    pub(crate) fn reads_object(&self) -> bool {
        let has_key = self.path.trim_start_matches('/').contains('/');
        self.method == "GET" && has_key && !self.parameters.contains_key("uploadId")
    }

    /// The root element of the document that answers this, by each name that it has somewhere; none where no document answers.
    pub(crate) fn answered_with(&self) -> &'static [&'static str] {
        let has = |name: &str| self.parameters.contains_key(name);
        match self.method.as_str() {
            "POST" if has("uploads") => &["InitiateMultipartUploadResult"],
            "POST" if has("uploadId") => &["CompleteMultipartUploadResult"],
            "GET" if has("uploads") => &["ListMultipartUploadsResult"],
            "GET" if has("versioning") => &["VersioningConfiguration"],
            "GET" if has("uploadId") => &["ListPartsResult", "ListPartsResponse"],
            _ => &[],
        }
    }

    /// This request signed for now.
    pub(crate) fn sign(
        &self,
        region: &Region,
        addressing: Addressing,
        credentials: &AwsCredentials,
    ) -> SignedRequest {
        let mut signed = SignedRequest::new(&self.method, "s3", region, &self.path);
        if addressing == Addressing::VirtualHost {
            let (bucket, key) = split_path(&self.path);
            let host = signed.hostname();
            signed.set_hostname(Some(format!("{bucket}.{host}")));
            signed.path = format!("/{key}");
        }
        signed.params = self.parameters.clone();
        signed.headers = self.headers.clone();
        signed.payload = self.body.clone().map(SignedRequestPayload::Buffer);
        signed.sign(credentials);
        signed
    }
}

/// Bucket and key of `/bucket/key`; the key keeps slashes of its own.
fn split_path(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_once('/').unwrap_or((path, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(path: &str, addressing: Addressing) -> SignedRequest {
        let region = Region::Custom {
            name: "us-east-1".into(),
            endpoint: "https://sfo3.example.com".into(),
        };
        let mut request = Request::get_bucket("", &[]);
        request.path = path.into();
        request.sign(
            &region,
            addressing,
            &AwsCredentials::new("k", "s", None, None),
        )
    }

    #[test]
    fn a_bucket_is_named_in_the_path_or_in_the_host() {
        let path = signed("/b.c/a//b c", Addressing::Path);
        assert_eq!(
            (path.hostname().as_str(), path.canonical_uri.as_str()),
            ("sfo3.example.com", "/b.c/a//b%20c")
        );
        let host = signed("/bucket//a//b c", Addressing::VirtualHost);
        assert_eq!(
            (host.hostname().as_str(), host.canonical_uri.as_str()),
            ("bucket.sfo3.example.com", "//a//b%20c")
        );
        let whole = signed("/bucket", Addressing::VirtualHost);
        assert_eq!(whole.canonical_uri, "/");
    }
}
