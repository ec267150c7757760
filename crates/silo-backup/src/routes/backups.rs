//! `GET /api/backup/backups`

use actix_web::Responder;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use silo_core::units::count_from_usize;
use silo_web::answer::{Answer, Envelope};
use silo_web::input::{Query, limit};
use silo_web::openapi::{Malformed, OutOfRange, Unavailable};
use silo_web::problem::Problem;
use utoipa::{IntoParams, ToSchema};

use crate::state::State;
use crate::status::BackupView;

/// The most backups that one answer has.
const MOST: usize = 500;

/// Which of them.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// The newest so many, 1 to 500.
    limit: Option<u64>,
}

/// Backups.
#[derive(Serialize, ToSchema)]
pub struct Backups {
    /// Number of backups.
    total: u64,
    /// The newest of them, the newest first.
    backups: Vec<BackupView>,
}

/// Backups in the buckets, from their manifests: a backup without one does not exist.
#[utoipa::path(get, path = "/api/backup/backups", tag = "backup", params(Which),
    responses((status = 200, body = Envelope<Backups>), Malformed, OutOfRange, Unavailable))]
pub async fn list_backups(
    state: Data<State>,
    Query(which): Query<Which>,
) -> Result<impl Responder, Problem> {
    let limit = limit(which.limit, 100, MOST)?;
    let reading = state.status.read().await?;
    let all = &reading.value.backups;
    let backups = Backups {
        total: count_from_usize(all.len()),
        backups: all.iter().take(limit).cloned().collect(),
    };
    Answer::part(&reading, &backups)
}
