//! `GET /api/storage/usage`

use actix_web::Responder;
use actix_web::web::Data;
use serde::Serialize;
use silo_core::units::{count_from_usize, whole_millis};
use silo_web::answer::{Answer, Envelope, Meta};
use silo_web::openapi::Malformed;
use silo_web::problem::Problem;
use silo_web::snapshot::Freshness;
use utoipa::ToSchema;

use crate::progress::ScanState;
use crate::state::State;
use crate::storage::Usage;

/// Totals of all buckets, and progress of the scan.
#[derive(Serialize, ToSchema)]
pub struct UsageNow {
    /// Result of the last scan; every number is `null` before the first is complete.
    #[serde(flatten)]
    usage: Usage,
    /// The scan.
    scan: ScanState,
}

/// Totals of all buckets, and progress of the scan: 200 also before the first scan is complete, so that clients can show the progress.
#[utoipa::path(get, path = "/api/storage/usage", tag = "storage",
    responses((status = 200, body = Envelope<UsageNow>), Malformed))]
pub async fn get_usage(state: Data<State>) -> Result<impl Responder, Problem> {
    let scan = state.progress.state();
    match state.storage.current() {
        Ok(reading) => {
            let usage = reading.value.usage.clone();
            Answer::part(&reading, &UsageNow { usage, scan }).map(Answer::live)
        }
        Err(error) => {
            let meta = Meta {
                as_of: None,
                ttl_ms: whole_millis(state.storage.ttl()),
                state: if scan.scanning && error.code == "not_measured_yet" {
                    Freshness::Partial
                } else {
                    Freshness::Error
                },
                errors: vec![error],
            };
            let usage = Usage {
                buckets: count_from_usize(state.scanner.buckets()),
                ..Usage::default()
            };
            Answer::new(&UsageNow { usage, scan }, meta)
        }
    }
}
