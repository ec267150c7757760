//! Session cookies. A browser that has signed in is recognised by its cookie, so that neither a flood of guesses nor a full queue locks it out, and no
//! password is checked again.
//!
//! Lax, because a click in `/db`, whose pages are sandboxed, counts as one from another site; what changes something is protected on its own
//! (`silo_web::operator`).
//!
//! A cookie is `NAME.EXPIRY.MAC`: the user, base64url; seconds since 1970; HMAC-SHA256 over both and the user's password hash, base64url. There is no
//! list of sessions: a removed user or a changed password ends them, as does a restart, after which browsers send the password again.

use std::time::Duration;

use argon2::password_hash::rand_core::{OsRng, RngCore};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use crate::users::Users;

/// Name of the cookie. Browsers accept the prefix `__Host-` only with `Secure`, `Path=/` and without `Domain` (RFC 6265bis).
const COOKIE: &str = "__Host-silo";
/// Lifetime of a session, however it is used; after it browsers send the password again.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// Makes and verifies session cookies.
pub struct Sessions {
    key: [u8; 32],
}

impl Default for Sessions {
    /// With a key of this process.
    fn default() -> Self {
        let mut key = [0; 32];
        OsRng.fill_bytes(&mut key);
        Self { key }
    }
}

impl Sessions {
    /// Value of `Set-Cookie` for a user who has just signed in; `None` for one who no longer exists.
    #[must_use]
    pub fn cookie(&self, name: &str, users: &Users, now: Timestamp) -> Option<String> {
        let expiry = now.as_second() + i64::try_from(LIFETIME.as_secs()).ok()?;
        let mac = self.mac(name, expiry, users)?.finalize().into_bytes();
        let (name, mac) = (URL_SAFE_NO_PAD.encode(name), URL_SAFE_NO_PAD.encode(mac));
        let lifetime = LIFETIME.as_secs();
        Some(format!(
            "{COOKIE}={name}.{expiry}.{mac}; Path=/; Max-Age={lifetime}; Secure; HttpOnly; SameSite=Lax"
        ))
    }

    /// The user of a `Cookie` header, if one of its cookies is valid.
    #[must_use]
    pub fn user(&self, header: &str, users: &Users, now: Timestamp) -> Option<String> {
        let values = header.split(';').filter_map(|cookie| {
            let (name, value) = cookie.trim().split_once('=')?;
            (name == COOKIE).then_some(value)
        });
        // A browser sends one; each costs an HMAC.
        values
            .take(2)
            .find_map(|value| self.verified(value, users, now))
    }

    fn verified(&self, value: &str, users: &Users, now: Timestamp) -> Option<String> {
        let [name, expiry, mac] = value.split('.').collect::<Vec<_>>().try_into().ok()?;
        let name = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
        let expiry: i64 = expiry.parse().ok()?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        self.mac(&name, expiry, users)?.verify_slice(&mac).ok()?;
        (now.as_second() < expiry).then_some(name)
    }

    fn mac(&self, name: &str, expiry: i64, users: &Users) -> Option<Hmac<Sha256>> {
        let hash = users.hash(name)?;
        let mut mac = Hmac::new_from_slice(&self.key).ok()?;
        for part in [name.as_bytes(), &expiry.to_le_bytes(), hash.as_bytes()] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::line;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_session_ends_with_its_time_its_user_and_its_password() {
        let (jane, john) = (
            line("jane", "correct horse").unwrap(),
            line("john", "battery staple").unwrap(),
        );
        let users = Users::read(&format!("{jane}\n{john}")).unwrap();
        let sessions = Sessions::default();
        let set = sessions.cookie("jane", &users, at(1_000)).unwrap();
        let (cookie, attributes) = set.split_once("; ").unwrap();
        assert_eq!(
            attributes,
            "Path=/; Max-Age=43200; Secure; HttpOnly; SameSite=Lax"
        );
        let named = |now, users: &Users| sessions.user(cookie, users, at(now));
        let jane = Some("jane".to_owned());
        assert_eq!(named(1_001, &users), jane);
        assert_eq!(named(1_000 + 43_199, &users), jane);
        assert_eq!(named(1_000 + 43_200, &users), None);
        let header = format!("a=b; {cookie}; c=d");
        assert_eq!(sessions.user(&header, &users, at(1_001)), jane);

        let without = Users::read(&john).unwrap();
        assert_eq!(named(1_001, &without), None);
        let changed = line("jane", "correct horse").unwrap();
        assert_eq!(named(1_001, &Users::read(&changed).unwrap()), None);
        assert_eq!(Sessions::default().user(cookie, &users, at(1_001)), None);
        assert_eq!(sessions.cookie("nobody", &users, at(1_000)), None);
    }

    #[test]
    fn a_changed_cookie_is_no_session() {
        let users = Users::read(&line("jane", "correct horse").unwrap()).unwrap();
        let sessions = Sessions::default();
        let set = sessions.cookie("jane", &users, at(1_000)).unwrap();
        let cookie = set.split(';').next().unwrap();
        for at_byte in COOKIE.len() + 1..cookie.len() {
            let mut changed = cookie.as_bytes().to_vec();
            changed[at_byte] = if changed[at_byte] == b'9' { b'8' } else { b'9' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(
                sessions.user(&changed, &users, at(1_001)),
                None,
                "{changed}"
            );
        }
        for nonsense in [
            "",
            "=",
            "__Host-silo=",
            "__Host-silo=..",
            "__Host-silo=a.b.c.d",
        ] {
            assert_eq!(
                sessions.user(nonsense, &users, at(1_001)),
                None,
                "{nonsense}"
            );
        }
    }
}
