//! silo-spaces against real S3 servers, and through a proxy that breaks things. Every test runs on both servers, unless it says why not.

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
use silo_spaces::fault::Fault;
use silo_testkit::s3::{KEY, Kind, S3Server, SECRET};

pub(crate) const BUCKET: &str = "test-bucket";
pub(crate) const BOTH: [Kind; 2] = [Kind::Files, Kind::Memory];

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

pub(crate) fn client(url: &str) -> Spaces {
    client_with(url, limits())
}

pub(crate) fn client_with(url: &str, limits: Limits) -> Spaces {
    let endpoint = Endpoint {
        url: url.to_owned(),
        region: "us-east-1".into(),
        key: Secret::new(KEY),
        secret: Secret::new(SECRET),
        addressing: Addressing::Path,
    };
    Spaces::new(&endpoint, limits).unwrap()
}

/// A server with an empty bucket, and a client of it.
pub(crate) async fn server(kind: Kind) -> (S3Server, Spaces) {
    let server = S3Server::start(kind).await.unwrap();
    let spaces = client(&server.url());
    spaces.create_bucket(BUCKET).await.unwrap();
    (server, spaces)
}

pub(crate) async fn read(spaces: &Spaces, key: &str) -> Result<Bytes, Fault> {
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
