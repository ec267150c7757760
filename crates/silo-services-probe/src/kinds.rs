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
pub mod redis;
mod reply;
pub mod session;
pub mod silo;
pub mod tcp;

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
    /// Of a Redis or Valkey server.
    Redis(redis::Redis),
    /// Of a service that takes connections.
    Tcp(tcp::Tcp),
}

/// Evaluation of a good answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Facts that the service reports; `None` if its answer is too large to be read.
    pub facts: Option<Facts>,
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
            Self::Redis | Self::Tcp => "",
        }
    }

    /// Evaluates an answer.
    ///
    /// # Errors
    /// The failure: a status, body or field that a healthy service would not send.
    pub fn evaluate(self, reply: &Reply, expect: &Expect) -> Result<Evaluation, Failure> {
        if self.reads_http() && reply.body.is_none() && expect.allows(reply.status) {
            return Ok(too_large(expect));
        }
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
            Self::Redis => {
                let redis = redis::read(reply)?;
                warnings.extend(redis.warning());
                Facts::Redis(redis)
            }
            Self::Tcp => Facts::Tcp(tcp::Tcp {}),
        };
        if !expect.json.is_empty() {
            pointers(&json(reply)?, expect)?;
        }
        if let Some(text) = &expect.text {
            contains(reply, text)?;
        }
        Ok(Evaluation {
            facts: Some(facts),
            warnings,
        })
    }
}

/// Evaluation of an answer with a good status that is larger than is read: the service is up. What was to be checked in the answer is unknown.
fn too_large(expect: &Expect) -> Evaluation {
    let unchecked = !expect.json.is_empty() || expect.text.is_some();
    let warning = || Warning {
        code: "answer_too_large",
        detail: "its answer is larger than 1 MiB, so it was not checked".into(),
    };
    Evaluation {
        facts: None,
        warnings: unchecked.then(warning).into_iter().collect(),
    }
}

/// Checks that the body contains a text.
fn contains(reply: &Reply, text: &str) -> Result<(), Failure> {
    let body = reply.body.as_deref().unwrap_or_default();
    let found = memchr::memmem::find(body, text.as_bytes()).is_some();
    let missing = || Failure::Body("the expected text is not in its answer".into());
    found.then_some(()).ok_or_else(missing)
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
