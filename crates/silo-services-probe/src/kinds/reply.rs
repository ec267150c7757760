//! Checks of an answer that several kinds share.

use serde_json::Value;

use crate::failure::Failure;
use crate::gateway::fetch::Reply;
use crate::probe::Expect;

/// The body as a JSON object, of an answer with an expected status.
pub(super) fn object(reply: &Reply, expect: &Expect) -> Result<Value, Failure> {
    status(reply, expect)?;
    let value = json(reply)?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Failure::Body("its answer is not a JSON object".into()))
    }
}

/// Checks the status.
pub(super) fn status(reply: &Reply, expect: &Expect) -> Result<(), Failure> {
    if expect.allows(reply.status) {
        Ok(())
    } else {
        Err(Failure::Status(reply.status))
    }
}

/// The body as JSON.
pub(super) fn json(reply: &Reply) -> Result<Value, Failure> {
    // A body that is too large is sorted out before.
    let body = reply.body.as_deref().unwrap_or_default();
    serde_json::from_slice(body).map_err(|_unsaid| Failure::Body("its answer is not JSON".into()))
}

/// Failure: the answer has none of the expected fields.
pub(super) fn nothing_known(of: &str) -> Failure {
    Failure::Body(format!("its answer has none of the fields of {of}"))
}
