//! Any HTTP service: up if its status is expected and, if configured, values in its JSON body are.

use serde::Serialize;
use utoipa::ToSchema;

use super::reply::status;
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

/// Evaluates the status; the body is read for conditions only.
pub(super) fn evaluate(reply: &Reply, expect: &Expect) -> Result<Http, Failure> {
    status(reply, expect)?;
    Ok(Http {
        status: reply.status,
    })
}
