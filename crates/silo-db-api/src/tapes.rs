//! Owners of tapes: a tape's video is stored in Spaces under its code only.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use silo_core::units::count_from_usize;
use silo_web::snapshot::{Measured, SourceError};
use utoipa::ToSchema;

use crate::gateway::{Gateway, source_error};

/// The tapes, by code. Memory grows with tapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tapes {
    /// Number of tapes with a code.
    pub tapes: u64,
    /// Code to sub; `None` for a tape of a guest. Stays inside.
    #[serde(skip)]
    owners: HashMap<String, Option<String>>,
}

/// One tape's owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TapeOwner {
    /// `true` if the tape exists.
    pub known: bool,
    /// The sub of who made it; `null` for a guest's.
    pub sub: Option<String>,
}

/// Reads code and user of every tape.
pub async fn measure(gateway: Gateway) -> Result<Measured<Tapes>, SourceError> {
    let rows = gateway.tapes().await;
    let rows = rows.map_err(|error| source_error("tapes", error))?;
    let owners: HashMap<_, _> = rows.into_iter().map(|row| (row.code, row.user)).collect();
    let tapes = count_from_usize(owners.len());
    Ok(Tapes { tapes, owners }.into())
}

impl Tapes {
    /// The owners of some tapes.
    #[must_use]
    pub fn owners<'a>(&self, codes: impl Iterator<Item = &'a str>) -> BTreeMap<String, TapeOwner> {
        let owner = |code: &str| {
            let found = self.owners.get(code);
            TapeOwner {
                known: found.is_some(),
                sub: found.cloned().flatten(),
            }
        };
        codes.map(|code| (code.to_owned(), owner(code))).collect()
    }
}
