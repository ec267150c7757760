//! A service's description of itself.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use utoipa::IntoResponses;
use utoipa::openapi::OpenApi;

use crate::problem::ProblemBody;

/// What every path answers to a request that cannot be understood: a body on a GET, an encoding that is none.
#[derive(IntoResponses)]
#[response(status = 400, content_type = "application/problem+json")]
pub struct Malformed(pub ProblemBody<'static>);

/// What a path that reads a measurement answers when there is none yet; `Retry-After` says when to ask again.
#[derive(IntoResponses)]
#[response(status = 503, content_type = "application/problem+json")]
pub struct Unavailable(pub ProblemBody<'static>);

/// What a path answers when nothing has the id it names.
#[derive(IntoResponses)]
#[response(status = 404, content_type = "application/problem+json")]
pub struct UnknownId(pub ProblemBody<'static>);

/// What a path answers when a value is out of its range; the detail says the range.
#[derive(IntoResponses)]
#[response(status = 422, content_type = "application/problem+json")]
pub struct OutOfRange(pub ProblemBody<'static>);

/// What a path that does something answers to whoever may not ask for it.
#[derive(IntoResponses)]
#[response(status = 403, content_type = "application/problem+json")]
pub struct Forbidden(pub ProblemBody<'static>);

/// What a path that does something answers while it is being done already.
#[derive(IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
pub struct Conflict(pub ProblemBody<'static>);

/// The description, serialised once.
#[derive(Clone)]
pub struct Description(actix_web::web::Bytes);

impl Description {
    /// Serialises a description that utoipa generated from the code.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn new(api: &OpenApi) -> Result<Self, serde_json::Error> {
        Ok(Self(serde_json::to_vec(api)?.into()))
    }

    /// The description as an answer.
    #[must_use]
    pub fn respond(&self) -> HttpResponse {
        HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "private, max-age=300"))
            .content_type("application/json")
            .body(self.0.clone())
    }
}
