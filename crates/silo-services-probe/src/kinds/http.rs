//! Anything that answers HTTP: well when its status is, and, where the settings say so, what stands at places of its JSON.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Facts, Judged, status, well};
use crate::failure::Failure;
use crate::gateway::fetch::Reply;
use crate::probe::Expect;

/// The URL itself is asked.
pub(super) const PATH: &str = "";

/// Facts of a plain HTTP service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Http {
    /// The status of its last good answer.
    pub status: u16,
}

/// A status that is well; the body is looked at only for conditions.
pub(super) fn judge(reply: &Reply, expect: &Expect) -> Result<Judged, Failure> {
    status(reply, expect)?;
    Ok(well(Facts::Http(Http {
        status: reply.status,
    })))
}
