//! Changes of status, numbered so that a client can resume after a reconnect.

use jiff::Timestamp;
use serde::Serialize;
use silo_web::stream::broadcast::Numbered;
use utoipa::ToSchema;

use crate::status::Status;

/// Most changes that a slow client may lag behind.
pub const MAX_LAG: usize = 64;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
pub struct Change {
    /// Id of the change; ids increase.
    pub id: u64,
    /// When it was noticed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The service.
    pub name: String,
    /// Status before.
    pub from: Status,
    /// Status after.
    pub to: Status,
    /// Reason, as a stable code; `null` if the service is up.
    pub code: Option<String>,
    /// Reason, in one sentence.
    pub detail: Option<String>,
}

impl Numbered for Change {
    fn number(&self) -> u64 {
        self.id
    }
}
