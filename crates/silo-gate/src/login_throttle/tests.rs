use super::*;
use crate::users::line;

/// A throttle with one user.
struct Attempts {
    throttle: LoginThrottle,
    users: Arc<Users>,
}

impl Attempts {
    async fn check(&self, from: IpAddr, name: &str, password: &str) -> LoginResult {
        self.throttle.check(&self.users, from, name, password).await
    }
}

fn attempts() -> Attempts {
    let users = Users::read(&line("jeffrey", "correct horse").unwrap()).unwrap();
    Attempts {
        throttle: LoginThrottle::default(),
        users: Arc::new(users),
    }
}

#[tokio::test]
async fn guesses_are_rate_limited_per_network() {
    let attempts = attempts();
    let (guesser, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    for guess in 0..10 {
        let outcome = attempts
            .check(guesser, "jeffrey", &format!("guess {guess}"))
            .await;
        assert_eq!(outcome, LoginResult::Denied);
    }
    let right = ("jeffrey", "correct horse");
    assert_eq!(
        attempts.check(guesser, right.0, right.1).await,
        LoginResult::RateLimited,
        "not even with the right one"
    );
    assert_eq!(
        attempts.check(other, right.0, right.1).await,
        LoginResult::Granted
    );
    assert_eq!(
        attempts.check(guesser, right.0, right.1).await,
        LoginResult::RateLimited,
        "that somebody else is signed in does not help whoever guesses"
    );
    assert_eq!(
        attempts.check(other, right.0, right.1).await,
        LoginResult::Granted,
        "who is signed in elsewhere does not notice"
    );
}

/// An open page keeps its password in the cache. The cache must not answer for guesses beyond the limit, not even from the page's own address.
#[tokio::test]
async fn a_limited_network_cannot_tell_the_right_password_while_an_operator_is_signed_in() {
    let attempts = attempts();
    let here = [192, 0, 2, 1].into();
    let signed_in = attempts.check(here, "jeffrey", "correct horse").await;
    assert_eq!(signed_in, LoginResult::Granted);
    for guess in 0..9 {
        let guess = format!("guess {guess}");
        let outcome = attempts.check(here, "jeffrey", &guess).await;
        assert_eq!(outcome, LoginResult::Denied);
    }
    for guess in ["guess 10", "correct horse", "guess 11"] {
        let outcome = attempts.check(here, "jeffrey", guess).await;
        assert_eq!(outcome, LoginResult::RateLimited, "{guess}");
    }
    // Ten seconds later.
    lock(&attempts.throttle.exhausted).insert(here, Instant::now());
    let again = attempts.check(here, "jeffrey", "correct horse").await;
    assert_eq!(again, LoginResult::Granted, "the page is signed in again");
}

/// Neither while the last try is hashed nor after a right one can the cache be asked more often than the limit allows.
#[tokio::test]
async fn the_cache_does_not_answer_beyond_the_last_try() {
    let attempts = attempts();
    let here = [192, 0, 2, 1].into();
    let right = || attempts.check(here, "jeffrey", "correct horse");
    assert_eq!(right().await, LoginResult::Granted);
    for guess in 0..8 {
        let guess = format!("guess {guess}");
        let outcome = attempts.check(here, "jeffrey", &guess).await;
        assert_eq!(outcome, LoginResult::Denied);
    }
    let last = attempts.check(here, "jeffrey", "guess 9");
    let (last, meanwhile) = futures_util::future::join(last, right()).await;
    assert_eq!(
        (last, meanwhile),
        (LoginResult::Denied, LoginResult::RateLimited)
    );
    // Ten seconds later, without another try.
    lock(&attempts.throttle.exhausted).clear();
    assert_eq!(right().await, LoginResult::Granted);
    let wrong = attempts.check(here, "jeffrey", "guess 10").await;
    assert_eq!(
        (wrong, right().await),
        (LoginResult::RateLimited, LoginResult::RateLimited)
    );
}

#[tokio::test]
async fn a_page_that_asks_for_much_at_once_signs_in_once() {
    let attempts = attempts();
    let from = [192, 0, 2, 1].into();
    let page = (0..30).map(|_| attempts.check(from, "jeffrey", "correct horse"));
    let outcomes = futures_util::future::join_all(page).await;
    assert_eq!(outcomes, [LoginResult::Granted; 30]);
    assert!(lock(&attempts.throttle.in_progress).is_empty());
    // One try of ten is used.
    for guess in 0..9 {
        let outcome = attempts.check(from, "jeffrey", &format!("{guess}")).await;
        assert_eq!(outcome, LoginResult::Denied);
    }
    assert_eq!(
        attempts.check(from, "jeffrey", "no").await,
        LoginResult::RateLimited
    );
}

#[tokio::test]
async fn a_cached_password_expires_only_without_use() {
    let Attempts {
        throttle: attempts,
        users,
    } = attempts();
    let digest = attempts.digest(&users, [192, 0, 2, 1].into(), "jeffrey", "correct horse");
    attempts.cache(digest);
    let ago = |seconds| {
        Instant::now()
            .checked_sub(Duration::from_secs(seconds))
            .unwrap()
    };
    *lock(&attempts.cached).get_mut(&digest).unwrap() = ago(599);
    assert!(attempts.is_cached(&digest));
    assert!(lock(&attempts.cached)[&digest] > ago(60), "use renews it");
    *lock(&attempts.cached).get_mut(&digest).unwrap() = ago(601);
    assert!(!attempts.is_cached(&digest));
}

#[tokio::test]
async fn an_ipv6_household_is_one_network() {
    let attempts = attempts();
    for guess in 0..10_u16 {
        let from = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, guess, 7).into();
        assert_eq!(
            attempts.check(from, "jeffrey", "no").await,
            LoginResult::Denied
        );
    }
    let from = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 9, 9, 9, 9).into();
    assert_eq!(
        attempts.check(from, "jeffrey", "no").await,
        LoginResult::RateLimited
    );
    let next_door = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 9, 9, 9, 9).into();
    assert_eq!(
        attempts.check(next_door, "jeffrey", "no").await,
        LoginResult::Denied
    );
}

#[tokio::test]
async fn a_flood_from_many_networks_does_not_lock_out_one_that_has_signed_in() {
    let attempts = attempts();
    let home = [203, 0, 113, 7].into();
    let sign_in = || attempts.check(home, "jeffrey", "correct horse");
    assert_eq!(sign_in().await, LoginResult::Granted);
    // As after the cache's lifetime.
    lock(&attempts.throttle.cached).clear();
    let guess = async |from: u8| {
        let password = format!("guess {from}");
        let from = [198, 51, 100, from].into();
        attempts.check(from, "jeffrey", &password).await
    };
    let flood = futures_util::future::join_all((0..40).map(guess));
    let (outcomes, operator) = futures_util::future::join(flood, sign_in()).await;
    let slower = outcomes
        .iter()
        .filter(|outcome| **outcome == LoginResult::RateLimited)
        .count();
    assert_eq!(slower, 40 - MAX_QUEUED, "the queue is bounded");
    assert_eq!(operator, LoginResult::Granted);
}

#[tokio::test]
async fn the_cache_keeps_the_latest_and_forgets_a_changed_password() {
    let attempts = attempts();
    let here: IpAddr = [192, 0, 2, 1].into();
    for digest in 0..=u8::try_from(MAX_CACHED).unwrap() {
        attempts.throttle.cache([digest; 32]);
    }
    assert!(!attempts.throttle.is_cached(&[0; 32]));
    assert!(attempts.throttle.is_cached(&[1; 32]));
    let granted = attempts.check(here, "jeffrey", "correct horse").await;
    assert_eq!(granted, LoginResult::Granted);
    let changed = Users::read(&line("jeffrey", "another horse").unwrap()).unwrap();
    let changed = Arc::new(changed);
    let old = attempts
        .throttle
        .check(&changed, here, "jeffrey", "correct horse");
    assert_eq!(old.await, LoginResult::Denied);
    let new = attempts
        .throttle
        .check(&changed, here, "jeffrey", "another horse");
    assert_eq!(new.await, LoginResult::Granted);
}

#[tokio::test]
async fn a_client_that_disconnects_leaves_nothing_behind() {
    let attempts = attempts();
    for guess in 0..5 {
        let guess = format!("guess {guess}");
        let check = attempts.check([192, 0, 2, 1].into(), "jeffrey", &guess);
        let ended = futures_util::FutureExt::now_or_never(check);
        assert_eq!(ended, None, "a hash takes longer");
    }
    assert!(lock(&attempts.throttle.in_progress).is_empty());
    assert_eq!(attempts.throttle.places.available_permits(), MAX_QUEUED);
}
