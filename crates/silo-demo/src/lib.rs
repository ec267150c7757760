//! Demo data in real storage.

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use silo_core::secret::Secret;
use silo_spaces::Spaces;
use silo_spaces::endpoint::{Addressing, Endpoint, Limits};
use silo_spaces::error::{Kind, StorageError};
use silo_testkit::demo::{BUCKETS, Demo};

/// Concurrent uploads.
const AT_ONCE: usize = 8;

/// A client of an S3 server that needs no sparing.
///
/// # Errors
/// When the address cannot be used.
pub fn client(url: &str, key: &str, secret: &str) -> Result<Spaces> {
    let endpoint = Endpoint {
        url: url.to_owned(),
        region: "us-east-1".into(),
        key: Secret::new(key),
        secret: Secret::new(secret),
        addressing: Addressing::Path,
    };
    let limits = Limits {
        requests_per_second: 5000.try_into()?,
        ..Limits::default()
    };
    Ok(Spaces::new(&endpoint, limits)?)
}

/// Creates a bucket if it does not exist.
///
/// # Errors
/// The error of the server.
pub async fn make_bucket(spaces: &Spaces, bucket: &str) -> Result<(), StorageError> {
    match spaces.page(bucket, None).await {
        Err(fault) if fault.kind == Kind::NoSuchBucket => spaces.create_bucket(bucket).await,
        looked => looked.map(drop),
    }
}

/// Creates the demo's buckets and uploads its objects; calls `each` after each object.
///
/// # Errors
/// The error of the server.
pub async fn put(demo: &Demo, spaces: &Spaces, each: impl Fn()) -> Result<()> {
    for bucket in BUCKETS {
        make_bucket(spaces, bucket).await?;
    }
    let objects = demo.objects();
    let puts = objects.iter().map(|object| {
        let body = Bytes::from(vec![b'x'; object.bytes]);
        let each = &each;
        async move {
            spaces.put(object.bucket, &object.key, body).await?;
            each();
            Ok::<_, StorageError>(())
        }
    });
    stream::iter(puts)
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
        .context("the S3 server did not take the demo objects")
}
