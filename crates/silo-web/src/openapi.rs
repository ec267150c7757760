//! A service's description of itself.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use utoipa::IntoResponses;
use utoipa::openapi::OpenApi;

use crate::problem::ProblemBody;

/// 400: the request is malformed, for example a GET with a body or an invalid percent-encoding.
#[derive(IntoResponses)]
#[response(status = 400, content_type = "application/problem+json")]
pub struct Malformed(pub ProblemBody<'static>);

/// 503: nothing has been measured yet; retry after `Retry-After`.
#[derive(IntoResponses)]
#[response(status = 503, content_type = "application/problem+json")]
pub struct Unavailable(pub ProblemBody<'static>);

/// 404: there is nothing with this id.
#[derive(IntoResponses)]
#[response(status = 404, content_type = "application/problem+json")]
pub struct UnknownId(pub ProblemBody<'static>);

/// 400: a value is out of range; the detail names the range.
#[derive(IntoResponses)]
#[response(status = 422, content_type = "application/problem+json")]
pub struct OutOfRange(pub ProblemBody<'static>);

/// 403: the client may not start this action.
#[derive(IntoResponses)]
#[response(status = 403, content_type = "application/problem+json")]
pub struct Forbidden(pub ProblemBody<'static>);

/// 409: the action is already running.
#[derive(IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
pub struct Conflict(pub ProblemBody<'static>);

/// The description that utoipa generates from the code. It is generated when it is asked for: that takes memory, and is rare.
#[derive(Clone, Copy)]
pub struct Description(pub fn() -> OpenApi);

impl Description {
    /// The description as an answer.
    #[must_use]
    pub fn respond(&self) -> HttpResponse {
        HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "private, max-age=300"))
            .json((self.0)())
    }
}
