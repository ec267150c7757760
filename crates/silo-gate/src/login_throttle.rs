//! Password checks with a rate limit per client network: a burst of ten tries, then one every ten seconds. Passwords are hashed one at a time, with a
//! bounded queue. A correct password is cached for the network it came from, so that a page costs one hash. A network without tries left gets 429 for
//! the correct password too; otherwise the cache would reveal which one is correct.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::rand_core::{OsRng, RngCore};
use governor::clock::DefaultClock;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::users::{Memory, Users};

/// Tries that a network may use in a burst.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Interval after which one more try is allowed.
pub const REFILL_INTERVAL: Duration = Duration::from_secs(10);
/// Most password checks that may be queued.
const MAX_QUEUED: usize = 8;
/// Lifetime of a cached correct password after its last use. The cache has a digest of it and its network, keyed per process.
const CACHE_LIFETIME: Duration = Duration::from_secs(600);
/// Most cached passwords.
const MAX_CACHED: usize = 64;
/// Number of networks in the rate limiter above which unused ones are removed.
const MAX_NETWORKS: usize = 10_000;

/// Result of a password check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginResult {
    /// Name and password are right.
    Granted,
    /// Name or password is wrong.
    Denied,
    /// Too many tries from there, or too many at once.
    RateLimited,
}

/// A password check in the queue.
struct PasswordCheck {
    name: String,
    password: String,
    answer: oneshot::Sender<bool>,
}

/// Checks queued passwords, one at a time.
fn hash(users: &Users, mut jobs: mpsc::Receiver<PasswordCheck>) {
    let mut memory = Memory::default();
    while let Some(job) = jobs.blocking_recv() {
        // The client may have disconnected.
        let _ = job
            .answer
            .send(users.is_password(&job.name, &job.password, &mut memory));
    }
}

/// Rate limiter by network, which also reports how many tries are left.
type Limiter =
    RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>;

/// Everybody's tries.
pub struct LoginThrottle {
    tries: Limiter,
    /// Networks whose last try was wrong and used up the limit, and when they have the next one.
    exhausted: Mutex<HashMap<IpAddr, Instant>>,
    hashing: mpsc::Sender<PasswordCheck>,
    waiting: Semaphore,
    key: [u8; 32],
    cached: Mutex<HashMap<[u8; 32], Instant>>,
    /// Password checks in progress, by digest: a second request with the same password waits for the first.
    in_progress: Mutex<HashMap<[u8; 32], Arc<tokio::sync::Mutex<()>>>>,
}

impl LoginThrottle {
    /// A throttle without any attempts yet.
    #[must_use]
    pub fn new(users: Users) -> Self {
        let mut key = [0; 32];
        OsRng.fill_bytes(&mut key);
        let quota =
            Quota::with_period(REFILL_INTERVAL).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        let (hashing, jobs) = mpsc::channel(MAX_QUEUED);
        // One thread of its own, which has the memory to hash in.
        std::thread::spawn(move || hash(&users, jobs));
        Self {
            tries: RateLimiter::keyed(quota.allow_burst(BURST)).with_middleware(),
            exhausted: Mutex::default(),
            hashing,
            waiting: Semaphore::new(MAX_QUEUED),
            key,
            cached: Mutex::default(),
            in_progress: Mutex::default(),
        }
    }

    /// One try.
    pub async fn check(&self, from: IpAddr, name: &str, password: &str) -> LoginResult {
        let network = network(from);
        if self.is_exhausted(network) {
            return LoginResult::RateLimited;
        }
        let digest = self.digest(network, name, password);
        if self.is_cached(&digest) {
            return LoginResult::Granted;
        }
        let turn = Arc::clone(lock(&self.in_progress).entry(digest).or_default());
        let outcome = {
            let _turn = turn.lock().await;
            if self.is_cached(&digest) {
                LoginResult::Granted
            } else {
                self.verify_password(network, name, password, digest).await
            }
        };
        let mut in_progress = lock(&self.in_progress);
        // One is the map's, one is ours.
        if Arc::strong_count(&turn) == 2 {
            in_progress.remove(&digest);
        }
        outcome
    }

    async fn verify_password(
        &self,
        network: IpAddr,
        name: &str,
        password: &str,
        digest: [u8; 32],
    ) -> LoginResult {
        if self.tries.len() > MAX_NETWORKS {
            self.tries.retain_recent();
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return LoginResult::RateLimited;
        };
        let Ok(left) = self.tries.check_key(&network) else {
            return LoginResult::RateLimited;
        };
        let (answer, matches) = oneshot::channel();
        let job = PasswordCheck {
            name: name.to_owned(),
            password: password.to_owned(),
            answer,
        };
        // The thread ends with the process only.
        let asked = self.hashing.send(job).await.is_ok();
        if asked && matches.await.unwrap_or(false) {
            self.cache(digest);
            LoginResult::Granted
        } else {
            if left.remaining_burst_capacity() == 0 {
                let mut exhausted = lock(&self.exhausted);
                exhausted.retain(|_, next| *next > Instant::now());
                exhausted.insert(network, Instant::now() + REFILL_INTERVAL);
            }
            LoginResult::Denied
        }
    }

    fn is_exhausted(&self, network: IpAddr) -> bool {
        lock(&self.exhausted)
            .get(&network)
            .is_some_and(|next| *next > Instant::now())
    }

    fn digest(&self, network: IpAddr, name: &str, password: &str) -> [u8; 32] {
        let digest = Sha256::new()
            .chain_update(self.key)
            .chain_update(network.to_string())
            .chain_update([0])
            .chain_update(name.len().to_le_bytes());
        digest
            .chain_update(name)
            .chain_update(password)
            .finalize()
            .into()
    }

    fn is_cached(&self, digest: &[u8; 32]) -> bool {
        let mut cached = lock(&self.cached);
        let Some(used) = cached
            .get_mut(digest)
            .filter(|used| used.elapsed() < CACHE_LIFETIME)
        else {
            return false;
        };
        *used = Instant::now();
        true
    }

    fn cache(&self, digest: [u8; 32]) {
        let mut cached = lock(&self.cached);
        cached.retain(|_, used| used.elapsed() < CACHE_LIFETIME);
        if cached.len() < MAX_CACHED {
            cached.insert(digest, Instant::now());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Network of a client: the address for IPv4, the /64 for IPv6, because a household has a whole one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests;
