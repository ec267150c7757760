//! Kinds of services: the path to request, the meaning of the answer, and the fields to read.
//!
//! Only listed fields are read, each validated; a missing or invalid one is `null`. An answer with none of them comes from something else and is a
//! failure.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::failure::Failure;
use crate::gateway::fetch::Reply;
use crate::probe::{Expect, Kind};
use crate::warning::Warning;

use self::reply::{json, object};

pub mod atproto;
mod field;
pub mod http;
pub mod lith;
pub mod oven;
mod reply;
pub mod session;
pub mod silo;

/// Facts of a service, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Facts {
    /// Of oven.
    Oven(oven::Oven),
    /// Of the session server.
    Session(session::Session),
    /// Of the AT-protocol server.
    Atproto(atproto::Atproto),
    /// Of the site.
    Lith(lith::Lith),
    /// Of a service of Silo.
    Silo(silo::Silo),
    /// Status of a plain HTTP service.
    Http(http::Http),
}

/// Evaluation of a good answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Facts that the service reports.
    pub facts: Facts,
    /// Warnings.
    pub warnings: Vec<Warning>,
}

impl Kind {
    /// Path below the probe's URL to request.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Http => http::PATH,
            Self::Oven => oven::PATH,
            Self::Session => session::PATH,
            Self::Atproto => atproto::PATH,
            Self::Lith => lith::PATH,
            Self::Silo => silo::PATH,
        }
    }

    /// Evaluates an answer.
    ///
    /// # Errors
    /// The failure: a status, body or field that a healthy service would not send.
    pub fn evaluate(self, reply: &Reply, expect: &Expect) -> Result<Evaluation, Failure> {
        let mut warnings = Vec::new();
        let facts = match self {
            Self::Http => Facts::Http(http::evaluate(reply, expect)?),
            Self::Oven => Facts::Oven(oven::read(&object(reply, expect)?)?),
            Self::Session => Facts::Session(session::read(&object(reply, expect)?)?),
            Self::Atproto => Facts::Atproto(atproto::read(&object(reply, expect)?)?),
            Self::Lith => Facts::Lith(lith::read(&object(reply, expect)?)?),
            Self::Silo => {
                let silo = silo::evaluate(reply, expect)?;
                warnings.extend(silo.warning());
                Facts::Silo(silo)
            }
        };
        if !expect.json.is_empty() {
            pointers(&json(reply)?, expect)?;
        }
        Ok(Evaluation { facts, warnings })
    }
}

/// Checks that each JSON pointer has its expected value.
fn pointers(value: &Value, expect: &Expect) -> Result<(), Failure> {
    let differs = expect
        .json
        .iter()
        .find(|(pointer, wanted)| value.pointer(pointer) != Some(wanted));
    match differs {
        None => Ok(()),
        // The actual value is foreign text, so it is not repeated.
        Some((pointer, wanted)) => Err(Failure::Body(format!(
            "{pointer} in its answer is not {wanted}"
        ))),
    }
}
