//! Simulated storage that lists a bucket of any size with a fixed delay per page, for measuring scans. Nothing is stored; keys are computed in AC's
//! layout: `auth0|{24 digits}/painting/{number}.png`.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The name of the one bucket.
pub const BUCKET: &str = "user-aesthetic-computer";
/// The most keys of a page.
const PAGE: u64 = 1000;

/// A bucket that is not there.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// Number of keys.
    pub keys: u64,
    /// Number of users, each with equally many keys.
    pub users: u64,
    /// Delay of each page.
    pub latency: Duration,
}

/// A running server. Dropping it stops it.
pub struct ListingServer {
    address: SocketAddr,
    pages: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Listing {
    /// Total size of all objects in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (0..self.keys).map(size).sum()
    }

    /// Starts the server.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn serve(self) -> io::Result<ListingServer> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let pages = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&pages);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                // A client may disconnect early.
                tokio::spawn(async move { drop(self.talk(client, &counter).await) });
            }
        });
        Ok(ListingServer {
            address,
            pages,
            task,
        })
    }

    /// Serves the requests of one connection.
    async fn talk(self, mut client: TcpStream, pages: &AtomicU64) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut bytes = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end + 4;
                }
                if client.read_buf(&mut bytes).await? == 0 {
                    return Ok(());
                }
            };
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes.drain(..end);
            let target = head.split(' ').nth(1).unwrap_or_default();
            let body = self.answer(target);
            if target.contains("list-type=2") {
                pages.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(self.latency).await;
            }
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n"
            );
            client.write_all(head.as_bytes()).await?;
            client.write_all(body.as_bytes()).await?;
        }
    }

    fn answer(self, target: &str) -> String {
        let (_, query) = target.split_once('?').unwrap_or((target, ""));
        let parameter = |name: &str| {
            let found = query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.filter(|value| !value.is_empty()).map(decode)
        };
        if query.contains("uploads") {
            return "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>".into();
        }
        if query.contains("versioning") {
            return "<VersioningConfiguration/>".into();
        }
        let after = parameter("continuation-token").or_else(|| parameter("start-after"));
        let first = after.map_or(0, |after| self.first_after(&after));
        let encoded = parameter("encoding-type").is_some();
        let separator = if encoded { "%7C" } else { "|" };
        let mut xml = String::with_capacity(320_000);
        xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        let last = (first + PAGE).min(self.keys);
        let truncated = if parameter("delimiter").is_some() {
            let per_user = self.keys / self.users;
            let from = first.div_ceil(per_user);
            let to = (from + PAGE).min(self.users);
            for user in from..to {
                let _written = write!(
                    xml,
                    "<CommonPrefixes><Prefix>auth0{separator}{:024x}/</Prefix></CommonPrefixes>",
                    self.user(user)
                );
            }
            to < self.users
        } else {
            for at in first..last {
                let (user, number) = (
                    self.user(at / (self.keys / self.users)),
                    at % (self.keys / self.users),
                );
                let _written = write!(
                    xml,
                    "<Contents><Key>auth0{separator}{user:024x}/painting/{number:06}.png</Key><LastModified>2026-01-31T12:00:00.000Z</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                    size(at)
                );
            }
            last < self.keys
        };
        let next = if truncated && last > 0 {
            format!(
                "<NextContinuationToken>{}</NextContinuationToken>",
                self.key(last - 1)
            )
        } else {
            String::new()
        };
        let encoding = if encoded {
            "<EncodingType>url</EncodingType>"
        } else {
            ""
        };
        let _written = write!(
            xml,
            "<Name>{BUCKET}</Name><MaxKeys>{PAGE}</MaxKeys>{encoding}<IsTruncated>{truncated}</IsTruncated>{next}</ListBucketResult>"
        );
        xml
    }

    /// A user's number, spread over all that there could be; a later user's is larger.
    fn user(self, user: u64) -> u128 {
        u128::from(user) * (u128::from(u64::MAX) / u128::from(self.users)) * 0x1_0000_0001
    }

    fn key(self, at: u64) -> String {
        let per_user = self.keys / self.users;
        format!(
            "auth0|{:024x}/painting/{:06}.png",
            self.user(at / per_user),
            at % per_user
        )
    }

    /// The place of the first key after one that need not exist.
    fn first_after(self, after: &str) -> u64 {
        let (mut low, mut high) = (0, self.keys);
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle).as_str() <= after {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl ListingServer {
    /// URL of the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Number of pages requested.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }
}

impl Drop for ListingServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn size(at: u64) -> u64 {
    at % 100_000 + 1
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_order_and_found_again() {
        let listing = Listing {
            keys: 10_000,
            users: 100,
            latency: Duration::ZERO,
        };
        let keys: Vec<_> = (0..listing.keys).map(|at| listing.key(at)).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
        for at in [0, 1, 99, 100, 5_000, 9_998] {
            assert_eq!(listing.first_after(&keys[at]), at as u64 + 1);
        }
        assert_eq!(
            (listing.first_after(""), listing.first_after("b")),
            (0, 10_000)
        );
        assert_eq!(decode("auth0%7Cx%2Fa+b"), "auth0|x/a+b");
    }
}
