//! Users, handles and verifications, as few fields of each as Silo needs.

use jiff::Timestamp;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::doc;

use super::Gateway;

/// A row of `users`.
pub struct UserRow {
    /// The sub.
    pub sub: String,
    /// The user code, such as `ac25wilaf`.
    pub code: Option<String>,
    /// When the account was made.
    pub when: Option<Timestamp>,
}

/// A row of `@handles`.
pub struct HandleRow {
    /// The sub; with `sotce-` before it for a user of sotce.net.
    pub sub: String,
    /// The handle, without `@`.
    pub handle: String,
}

/// A row of `verifications`.
pub struct VerificationRow {
    /// Number of verifications of the address.
    pub count: Option<u64>,
}

impl Gateway {
    /// Reads all users.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn users(&self) -> Result<Vec<UserRow>, DatabaseError> {
        let mut rows = Vec::new();
        let find = doc! { "find": "users", "projection": { "code": 1, "when": 1 } };
        self.each(find, |user| {
            if let Some(sub) = field::text(user, "_id") {
                let code = field::text(user, "code").map(str::to_owned);
                rows.push(UserRow {
                    sub: sub.to_owned(),
                    code,
                    when: field::time(user, "when"),
                });
            }
        })
        .await?;
        Ok(rows)
    }

    /// Reads all handles.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn handles(&self) -> Result<Vec<HandleRow>, DatabaseError> {
        let mut rows = Vec::new();
        self.each(
            doc! { "find": "@handles", "projection": { "handle": 1 } },
            |row| {
                if let (Some(sub), Some(handle)) =
                    (field::text(row, "_id"), field::text(row, "handle"))
                {
                    rows.push(HandleRow {
                        sub: sub.to_owned(),
                        handle: handle.to_owned(),
                    });
                }
            },
        )
        .await?;
        Ok(rows)
    }

    /// Reads all verifications.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn verifications(&self) -> Result<Vec<VerificationRow>, DatabaseError> {
        let mut rows = Vec::new();
        let find = doc! { "find": "verifications", "projection": { "_id": 0, "count": 1 } };
        self.each(find, |row| {
            rows.push(VerificationRow {
                count: field::count(row, "count"),
            })
        })
        .await?;
        Ok(rows)
    }
}
