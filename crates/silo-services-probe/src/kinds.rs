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

pub mod atproto;
mod field;
pub mod http;
pub mod lith;
pub mod oven;
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
    /// Nothing but that it answers.
    Http(http::Http),
}

/// Warning about a service that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A stable name.
    pub code: &'static str,
    /// One sentence for people.
    pub detail: String,
}

/// A good answer.
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
        let judged = match self {
            Self::Silo => silo::evaluate(reply, expect)?,
            Self::Http => http::evaluate(reply, expect)?,
            Self::Oven => well(Facts::Oven(oven::read(&object(reply, expect)?)?)),
            Self::Session => well(Facts::Session(session::read(&object(reply, expect)?)?)),
            Self::Atproto => well(Facts::Atproto(atproto::read(&object(reply, expect)?)?)),
            Self::Lith => well(Facts::Lith(lith::read(&object(reply, expect)?)?)),
        };
        if !expect.json.is_empty() {
            pointers(&json(reply)?, expect)?;
        }
        Ok(judged)
    }
}

fn well(facts: Facts) -> Evaluation {
    Evaluation {
        facts,
        warnings: Vec::new(),
    }
}

/// The body as a JSON object, of an answer whose status is well.
fn object(reply: &Reply, expect: &Expect) -> Result<Value, Failure> {
    status(reply, expect)?;
    let value = json(reply)?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Failure::Body("its answer is not a JSON object".into()))
    }
}

fn status(reply: &Reply, expect: &Expect) -> Result<(), Failure> {
    if expect.allows(reply.status) {
        Ok(())
    } else {
        Err(Failure::Status(reply.status))
    }
}

fn json(reply: &Reply) -> Result<Value, Failure> {
    let too_large = || Failure::Body("its answer is larger than 1 MiB".into());
    let body = reply.body.as_ref().ok_or_else(too_large)?;
    serde_json::from_slice(body).map_err(|_unsaid| Failure::Body("its answer is not JSON".into()))
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

/// Failure: the answer has none of the expected fields.
fn nothing_known(of: &str) -> Failure {
    Failure::Body(format!("its answer has nothing of what {of} says"))
}
