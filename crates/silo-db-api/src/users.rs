//! Users and their handles: how many, and who is who.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_core::units::count_from_usize;
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::gateway::{Gateway, HandleRow, UserRow, VerificationRow, source_error};

/// The document in `users` that is no person: it holds the guest account's AT-protocol credentials.
const GUEST: &str = "art-guest";

/// Number of users, handles and verified addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Users {
    /// Registered users, without the guest account.
    pub users: u64,
    /// Handles, of AC and of sotce.net.
    pub handles: u64,
    /// Handles that belong to sotce.net.
    pub sotce_handles: u64,
    /// Users whose address was verified at least once. Users from before verification have no record and are not among them.
    pub verified: u64,
    /// Users without a handle.
    pub without_handle: u64,
    /// Users that registered lately.
    pub new: New,
    /// Directory of users, for lookups; not serialised.
    #[serde(skip)]
    pub directory: Directory,
}

/// Number of new users by period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct New {
    /// In the last 24 hours.
    pub last_day: u64,
    /// In the last 7 days.
    pub last_7_days: u64,
    /// In the last 30 days.
    pub last_30_days: u64,
}

/// One person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    /// The Auth0 user id.
    pub sub: String,
    /// The handle, without `@`; `null` when there is none.
    pub handle: Option<String>,
    /// The user code; `null` when there is none.
    pub code: Option<String>,
}

/// Subs, handles and codes. Memory grows with users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    users: HashMap<String, (Option<String>, Option<String>)>,
    by_handle: HashMap<String, String>,
    by_code: HashMap<String, String>,
}

/// Reads all users, handles and verifications, a few fields of each.
pub async fn measure(gateway: Gateway) -> Result<Measured<Users>, SourceError> {
    let at = |collection: &'static str| move |error| source_error(collection, error);
    let users = gateway.users().await.map_err(at("users"))?;
    let handles = gateway.handles().await.map_err(at("@handles"))?;
    let verifications = gateway.verifications().await.map_err(at("verifications"))?;
    Ok(count(users, handles, &verifications, Timestamp::now()).into())
}

fn count(
    users: Vec<UserRow>,
    handles: Vec<HandleRow>,
    verifications: &[VerificationRow],
    now: Timestamp,
) -> Users {
    let users: Vec<_> = users.into_iter().filter(|user| user.sub != GUEST).collect();
    let times = || users.iter().filter_map(|user| user.when);
    let since = |days: i64| {
        let start = now - SignedDuration::from_hours(24 * days);
        count_from_usize(times().filter(|when| (start..=now).contains(when)).count())
    };
    let new = New {
        last_day: since(1),
        last_7_days: since(7),
        last_30_days: since(30),
    };
    let counted = count_from_usize(users.len());
    let sotce_handles = count_from_usize(
        handles
            .iter()
            .filter(|row| row.sub.starts_with("sotce-"))
            .count(),
    );
    let handles_counted = count_from_usize(handles.len());
    let verified = verifications
        .iter()
        .filter(|row| row.count.is_some_and(|count| count > 0))
        .count();
    let subs: Vec<String> = users.iter().map(|user| user.sub.clone()).collect();
    let directory = Directory::new(users, handles);
    let without_handle = subs
        .iter()
        .filter(|sub| directory.handle(sub).is_none())
        .count();
    Users {
        users: counted,
        handles: handles_counted,
        sotce_handles,
        verified: count_from_usize(verified),
        without_handle: count_from_usize(without_handle),
        new,
        directory,
    }
}

impl Directory {
    fn new(users: Vec<UserRow>, handles: Vec<HandleRow>) -> Self {
        let mut directory = Self::default();
        for UserRow { sub, code, .. } in users {
            if let Some(code) = &code {
                directory.by_code.insert(code.clone(), sub.clone());
            }
            directory.users.insert(sub, (None, code));
        }
        for HandleRow { sub, handle } in handles {
            directory
                .by_handle
                .insert(handle.to_lowercase(), sub.clone());
            directory.users.entry(sub).or_default().0 = Some(handle);
        }
        directory
    }

    /// Finds the user of a sub, an `@handle` or a user code. Handles are compared without regard to case, as in AC.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<User> {
        let sub = match id.strip_prefix('@') {
            Some(handle) => self.by_handle.get(&handle.to_lowercase())?,
            None => self
                .users
                .get_key_value(id)
                .map(|(sub, _)| sub)
                .or_else(|| self.by_code.get(id))?,
        };
        let (handle, code) = self.users.get(sub)?.clone();
        Some(User {
            sub: sub.clone(),
            handle,
            code,
        })
    }

    /// The handle of a sub.
    #[must_use]
    pub fn handle(&self, sub: &str) -> Option<&str> {
        self.users.get(sub)?.0.as_deref()
    }

    /// Handles by sub; `None` for a sub without a handle, or of no user.
    #[must_use]
    pub fn handles<'a>(
        &self,
        subs: impl Iterator<Item = &'a str>,
    ) -> BTreeMap<String, Option<String>> {
        subs.map(|sub| (sub.to_owned(), self.handle(sub).map(str::to_owned)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(sub: &str, code: &str, when: &str) -> UserRow {
        UserRow {
            sub: sub.into(),
            code: Some(code.into()),
            when: when.parse().ok(),
        }
    }

    fn handle(sub: &str, handle: &str) -> HandleRow {
        HandleRow {
            sub: sub.into(),
            handle: handle.into(),
        }
    }

    fn users() -> Users {
        let users = vec![
            user("auth0|a", "ac25aaa", "2026-01-31T00:00:00Z"),
            user("auth0|b", "ac25bbb", "2026-01-20T00:00:00Z"),
            user("art-guest", "ac25ccc", "2026-01-31T00:00:00Z"),
            user("auth0|c", "ac27ddd", "2027-01-01T00:00:00Z"),
        ];
        let handles = vec![handle("auth0|a", "Jane"), handle("sotce-auth0|z", "zed")];
        let verifications = [
            VerificationRow { count: Some(1) },
            VerificationRow { count: Some(0) },
            VerificationRow { count: None },
        ];
        count(
            users,
            handles,
            &verifications,
            "2026-01-31T12:00:00Z".parse().unwrap(),
        )
    }

    #[test]
    fn the_guest_account_is_no_user_and_the_future_is_not_new() {
        let users = users();
        assert_eq!((users.users, users.handles, users.sotce_handles), (3, 2, 1));
        assert_eq!((users.verified, users.without_handle), (1, 2));
        assert_eq!(
            users.new,
            New {
                last_day: 1,
                last_7_days: 1,
                last_30_days: 2
            }
        );
    }

    #[test]
    fn sub_handle_and_code_find_the_same_person() {
        let directory = users().directory;
        let jane = User {
            sub: "auth0|a".into(),
            handle: Some("Jane".into()),
            code: Some("ac25aaa".into()),
        };
        for id in ["auth0|a", "@jane", "@JANE", "ac25aaa"] {
            assert_eq!(directory.find(id).as_ref(), Some(&jane), "{id}");
        }
        for nobody in ["jane", "@", "", "auth0|zz", "@nobody"] {
            assert_eq!(directory.find(nobody), None, "{nobody}");
        }
        assert_eq!(directory.find("@zed").unwrap().sub, "sotce-auth0|z");
    }
}
