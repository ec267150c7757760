//! silo-spaces against Ceph RGW, and through a proxy that breaks things.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod faults;
mod keys;
mod uploads;

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use silo_core::secret::Secret;
use silo_spaces::Spaces;
use silo_spaces::endpoint::{Addressing, Endpoint, Limits};
use silo_spaces::error::StorageError;
use silo_testkit::s3::{Account, Storage};

pub(crate) const BUCKET: &str = "test-bucket";

/// Quick to give up, so that a test of a failure is.
pub(crate) fn limits() -> Limits {
    Limits {
        requests_per_second: 1000.try_into().unwrap(),
        attempts: 4,
        first_byte: Duration::from_secs(2),
        stall: Duration::from_millis(500),
        longest_pause: Duration::from_millis(300),
    }
}

/// A client of a storage account, at its own address or a proxy's.
pub(crate) fn client(account: &Account, url: &str) -> Spaces {
    client_with(account, url, limits())
}

pub(crate) fn client_with(account: &Account, url: &str, limits: Limits) -> Spaces {
    let endpoint = Endpoint {
        url: url.to_owned(),
        region: "us-east-1".into(),
        key: Secret::new(&account.key),
        secret: Secret::new(&account.secret),
        addressing: Addressing::Path,
    };
    Spaces::new(&endpoint, limits).unwrap()
}

/// Storage with an empty bucket, and a client of it.
pub(crate) async fn server() -> (Storage, Spaces) {
    let server = Storage::new().await.unwrap();
    let spaces = client(&server.account, &server.url());
    spaces.create_bucket(BUCKET).await.unwrap();
    (server, spaces)
}

pub(crate) async fn read(spaces: &Spaces, key: &str) -> Result<Bytes, StorageError> {
    let pieces: Vec<Bytes> = spaces.get(BUCKET, key, None).await?.try_collect().await?;
    Ok(pieces.concat().into())
}

/// Every key of the bucket, page by page.
pub(crate) async fn listed(spaces: &Spaces) -> Vec<(String, u64)> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = spaces.page(BUCKET, after.as_deref()).await.unwrap();
        all.extend(
            page.objects()
                .map(|object| (object.key.to_owned(), object.bytes)),
        );
        after = page.last().map(str::to_owned).or(after);
        if !page.truncated {
            return all;
        }
    }
}
