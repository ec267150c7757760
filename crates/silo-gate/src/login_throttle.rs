//! Password checks with a rate limit per client network: a burst of ten tries, then one every ten seconds. Passwords are hashed one at a time, with a
//! bounded queue, in which networks that have signed in before have places of their own, so that a flood from elsewhere does not lock them out. A correct
//! password is cached for the network it came from, so that a program without cookies costs one hash. A network without tries left gets 429 for the
//! correct password too; otherwise the cache would reveal which one is correct.

use std::collections::HashMap;
use std::hash::Hash;
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
/// Most password checks that may be queued, of networks that have not signed in before, and of those that have.
const MAX_QUEUED: usize = 8;
const MAX_QUEUED_KNOWN: usize = 4;
/// Most networks that are remembered because they have signed in.
const MAX_KNOWN: usize = 1000;
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
    users: Arc<Users>,
    name: String,
    password: String,
    answer: oneshot::Sender<bool>,
}

/// Checks queued passwords, one at a time.
fn hash(mut jobs: mpsc::Receiver<PasswordCheck>) {
    let mut memory = Memory::default();
    while let Some(job) = jobs.blocking_recv() {
        // The client may have disconnected.
        let _ = job
            .answer
            .send(job.users.is_password(&job.name, &job.password, &mut memory));
    }
}

/// Rate limiter by network, which also reports how many tries are left.
type Limiter =
    RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>;

/// Everybody's tries.
pub struct LoginThrottle {
    tries: Limiter,
    /// Networks that have used up the limit, unless with a right password, and when they have the next try.
    exhausted: Mutex<HashMap<IpAddr, Instant>>,
    hashing: mpsc::Sender<PasswordCheck>,
    places: Semaphore,
    places_of_known: Semaphore,
    /// Networks that have signed in, and when they last did.
    known: Mutex<HashMap<IpAddr, Instant>>,
    key: [u8; 32],
    cached: Mutex<HashMap<[u8; 32], Instant>>,
    /// Password checks in progress, by digest: a second request with the same password waits for the first.
    in_progress: InProgress,
}

impl Default for LoginThrottle {
    /// A throttle without any attempts yet.
    fn default() -> Self {
        let mut key = [0; 32];
        OsRng.fill_bytes(&mut key);
        let quota =
            Quota::with_period(REFILL_INTERVAL).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        let (hashing, jobs) = mpsc::channel(MAX_QUEUED + MAX_QUEUED_KNOWN);
        // One thread of its own, which has the memory to hash in.
        std::thread::spawn(move || hash(jobs));
        Self {
            tries: RateLimiter::keyed(quota.allow_burst(BURST)).with_middleware(),
            exhausted: Mutex::default(),
            hashing,
            places: Semaphore::new(MAX_QUEUED),
            places_of_known: Semaphore::new(MAX_QUEUED_KNOWN),
            known: Mutex::default(),
            key,
            cached: Mutex::default(),
            in_progress: Mutex::default(),
        }
    }
}

impl LoginThrottle {
    /// One try.
    pub async fn check(
        &self,
        users: &Arc<Users>,
        from: IpAddr,
        name: &str,
        password: &str,
    ) -> LoginResult {
        let network = network(from);
        if self.is_exhausted(network) {
            return LoginResult::RateLimited;
        }
        let digest = self.digest(users, network, name, password);
        if self.is_cached(&digest) {
            return LoginResult::Granted;
        }
        let turn = Turn::new(&self.in_progress, digest);
        let _turn = turn.mutex.lock().await;
        if self.is_cached(&digest) {
            return LoginResult::Granted;
        }
        self.verify_password(users, network, name, password, digest)
            .await
    }

    async fn verify_password(
        &self,
        users: &Arc<Users>,
        network: IpAddr,
        name: &str,
        password: &str,
        digest: [u8; 32],
    ) -> LoginResult {
        if self.tries.len() > MAX_NETWORKS {
            self.tries.retain_recent();
        }
        let is_known = lock(&self.known).contains_key(&network);
        let places = if is_known {
            &self.places_of_known
        } else {
            &self.places
        };
        let Ok(_place) = places.try_acquire() else {
            return LoginResult::RateLimited;
        };
        // From its last try on, also while that is hashed, a network gets no answer of the cache.
        let left = self.tries.check_key(&network);
        let left = left.map(|left| left.remaining_burst_capacity());
        if !matches!(left, Ok(1..)) {
            let mut exhausted = lock(&self.exhausted);
            exhausted.retain(|_, next| *next > Instant::now());
            exhausted.insert(network, Instant::now() + REFILL_INTERVAL);
        }
        if left.is_err() {
            return LoginResult::RateLimited;
        }
        let (answer, matches) = oneshot::channel();
        let job = PasswordCheck {
            users: Arc::clone(users),
            name: name.to_owned(),
            password: password.to_owned(),
            answer,
        };
        // The thread ends with the process only.
        let asked = self.hashing.send(job).await.is_ok();
        if asked && matches.await.unwrap_or(false) {
            self.cache(digest);
            put(&mut lock(&self.known), network, MAX_KNOWN);
            lock(&self.exhausted).remove(&network);
            LoginResult::Granted
        } else {
            LoginResult::Denied
        }
    }

    fn is_exhausted(&self, network: IpAddr) -> bool {
        lock(&self.exhausted)
            .get(&network)
            .is_some_and(|next| *next > Instant::now())
    }

    /// Digest of a try. A changed password hash makes it another one.
    fn digest(&self, users: &Users, network: IpAddr, name: &str, password: &str) -> [u8; 32] {
        let mut digest = Sha256::new().chain_update(self.key);
        let (network, hash) = (network.to_string(), users.hash(name).unwrap_or_default());
        for part in [&*network, hash, name, password] {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
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
        put(&mut cached, digest, MAX_CACHED);
    }
}

/// Inserts a key with the current time; if there are too many, in the place of the oldest.
fn put<K: Copy + Eq + Hash>(entries: &mut HashMap<K, Instant>, key: K, most: usize) {
    if entries.len() >= most
        && !entries.contains_key(&key)
        && let Some(oldest) = entries.iter().min_by_key(|(_, at)| **at)
    {
        let oldest = *oldest.0;
        entries.remove(&oldest);
    }
    entries.insert(key, Instant::now());
}

/// Password checks in progress, by digest.
type InProgress = Mutex<HashMap<[u8; 32], Arc<tokio::sync::Mutex<()>>>>;

/// A place among the password checks in progress, which is given up when the request ends or its client disconnects.
struct Turn<'a> {
    in_progress: &'a InProgress,
    digest: [u8; 32],
    mutex: Arc<tokio::sync::Mutex<()>>,
}

impl<'a> Turn<'a> {
    fn new(in_progress: &'a InProgress, digest: [u8; 32]) -> Self {
        let mutex = Arc::clone(lock(in_progress).entry(digest).or_default());
        Self {
            in_progress,
            digest,
            mutex,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut in_progress = lock(self.in_progress);
        // One is the map's, one is ours.
        if Arc::strong_count(&self.mutex) == 2 {
            in_progress.remove(&self.digest);
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
