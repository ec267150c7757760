//! Service of Silo: `/readyz` reports the outside systems that answer it. A running service without some of them is degraded, not down.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::field::word;
use super::reply::{json, nothing_known, object};
use crate::failure::Failure;
use crate::gateway::fetch::Reply;
use crate::probe::Expect;
use crate::warning::Warning;

pub(super) const PATH: &str = "/readyz";

/// Facts that the service reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Silo {
    /// `true` if all its sources answer.
    pub ready: bool,
    /// Names of the sources that do not answer.
    pub missing: Vec<String>,
}

pub(super) fn evaluate(reply: &Reply, expect: &Expect) -> Result<Silo, Failure> {
    let not_ready = reply.status == 503;
    // A 503 of something else, such as a gateway, has no such body.
    let value = if not_ready {
        json(reply).map_err(|_unsaid| Failure::Status(503))?
    } else {
        object(reply, expect)?
    };
    let ready = match value["status"].as_str() {
        Some("ready") if !not_ready => true,
        Some("not ready") => false,
        _ if not_ready => return Err(Failure::Status(503)),
        _ => return Err(nothing_known("a service of Silo")),
    };
    let missing = missing(&value["checks"]);
    Ok(Silo { ready, missing })
}

impl Silo {
    /// Warning that sources do not answer.
    pub(super) fn warning(&self) -> Option<Warning> {
        (!self.ready).then(|| Warning {
            code: "not_ready",
            detail: if self.missing.is_empty() {
                "it runs, but something it needs does not answer".into()
            } else {
                format!(
                    "it runs, but gets no answer from: {}",
                    self.missing.join(", ")
                )
            },
        })
    }
}

fn missing(checks: &Value) -> Vec<String> {
    let failing = checks.as_object().into_iter().flatten();
    failing
        .filter(|(_, check)| check["ok"] == false)
        .filter_map(|(name, _)| word(&Value::String(name.clone())))
        .collect()
}
