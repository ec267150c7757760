//! Address of the client. Its header is believed from the gateway only: anybody else on the network could invent an address for every guess.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Interval after which the gateway's name is resolved again.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(10);
/// The same for a request from an unknown address, which may be a restarted gateway's.
const UNKNOWN_INTERVAL: Duration = Duration::from_secs(1);

/// Addresses of the gateway.
pub struct Gateway {
    host: String,
    known: Mutex<Known>,
}

#[derive(Clone, Default)]
struct Known {
    addresses: HashSet<IpAddr>,
    resolved: Option<Instant>,
}

impl Gateway {
    /// The gateway at a host name or address.
    #[must_use]
    pub fn new(host: String) -> Self {
        Self {
            host,
            known: Mutex::default(),
        }
    }

    /// Address of the client of a request: the last entry of `X-Forwarded-For`, which the gateway has appended, or the peer if that is not the gateway.
    pub async fn client(&self, peer: IpAddr, forwarded: Option<&str>) -> IpAddr {
        let peer = peer.to_canonical();
        let last = forwarded.and_then(|list| list.rsplit(',').next()?.trim().parse().ok());
        match last {
            Some(client) if self.is_gateway(peer).await => client,
            _ => peer,
        }
    }

    async fn is_gateway(&self, peer: IpAddr) -> bool {
        let known = self.known().clone();
        let is_known = known.addresses.contains(&peer);
        let interval = if is_known {
            RESOLVE_INTERVAL
        } else {
            UNKNOWN_INTERVAL
        };
        if known.resolved.is_some_and(|at| at.elapsed() < interval) {
            return is_known;
        }
        let Ok(found) = tokio::net::lookup_host((self.host.as_str(), 0)).await else {
            self.known().resolved = Some(Instant::now());
            return is_known;
        };
        let mut known = self.known();
        known.addresses = found.map(|address| address.ip().to_canonical()).collect();
        known.resolved = Some(Instant::now());
        known.addresses.contains(&peer)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_header_is_believed_from_the_gateway_only() {
        let gateway = Gateway::new("127.0.0.1".into());
        let (here, other): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [10, 0, 0, 9].into());
        let client: IpAddr = [203, 0, 113, 9].into();
        let header = Some("192.0.2.1, 203.0.113.9");
        assert_eq!(gateway.client(here, header).await, client);
        assert_eq!(gateway.client(other, header).await, other);
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(gateway.client(mapped, header).await, client);
        for unusable in [None, Some(""), Some("nonsense"), Some("203.0.113.9, ")] {
            assert_eq!(gateway.client(here, unusable).await, here, "{unusable:?}");
        }
        let unknown = Gateway::new("gateway.invalid".into());
        assert_eq!(unknown.client(here, header).await, here);
    }
}
