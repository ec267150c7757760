//! Check of this machine's own connectivity: while it is offline, the status of every service is unknown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_ok;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::dialer::CONNECT;

/// Lifetime of a cached result.
const CACHE_LIFETIME: Duration = Duration::from_secs(4);

/// An answer of a service outside proves for so long that this machine is online.
const PROOF_LIFETIME: Duration = Duration::from_secs(10);

/// Addresses of which at least one takes connections when this machine is connected. None: it always is.
#[derive(Clone, Debug)]
pub struct Connectivity {
    addresses: Vec<SocketAddr>,
    last: Arc<Mutex<Option<(Instant, bool)>>>,
    proved: Arc<Mutex<Option<Instant>>>,
}

impl Connectivity {
    /// A check of these addresses.
    #[must_use]
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self {
            addresses,
            last: Arc::default(),
            proved: Arc::default(),
        }
    }

    /// A service outside answered, or refused.
    pub async fn prove(&self) {
        *self.proved.lock().await = Some(Instant::now());
    }

    /// `true` if this machine is online: a service outside has just answered, or one of the addresses takes connections. The result is cached for
    /// four seconds.
    pub async fn is_online(&self) -> bool {
        let proved = *self.proved.lock().await;
        if self.addresses.is_empty() || proved.is_some_and(|at| at.elapsed() < PROOF_LIFETIME) {
            return true;
        }
        let mut last = self.last.lock().await;
        if let Some((when, found)) = *last
            && when.elapsed() < CACHE_LIFETIME
        {
            return found;
        }
        let tries = self
            .addresses
            .iter()
            .map(|address| Box::pin(TcpStream::connect(*address)));
        let found = matches!(timeout(CONNECT, select_ok(tries)).await, Ok(Ok(_)));
        *last = Some((Instant::now(), found));
        found
    }
}
