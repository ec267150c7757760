//! Tapes, as few fields of each as Silo needs.

use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::doc;

use super::Gateway;

/// A row of `tapes`.
pub struct TapeRow {
    /// The code, which names its video in storage.
    pub code: String,
    /// The sub of who made it; `None` for a guest's.
    pub user: Option<String>,
}

impl Gateway {
    /// Reads all tapes that have a code.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn tapes(&self) -> Result<Vec<TapeRow>, DatabaseError> {
        let mut rows = Vec::new();
        let find = doc! { "find": "tapes", "projection": { "_id": 0, "code": 1, "user": 1 } };
        self.each(find, |tape| {
            if let Some(code) = field::text(tape, "code") {
                rows.push(TapeRow {
                    code: code.to_owned(),
                    user: field::text(tape, "user").map(str::to_owned),
                });
            }
        })
        .await?;
        Ok(rows)
    }
}
