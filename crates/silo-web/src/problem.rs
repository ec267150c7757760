//! The one shape of an error: RFC 9457 `application/problem+json`.

use std::borrow::Cow;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

/// The header that carries a request's id, in and out.
pub const REQUEST_ID: &str = "X-Request-Id";

/// Kind of an error. Each variant's comment begins with its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 400: the request cannot be understood.
    Malformed,
    /// 400: a body where none belongs.
    UnexpectedBody,
    /// 401: the request has no valid credentials.
    Unauthorized,
    /// 403: the client may not do this.
    Forbidden,
    /// 404: the path or the thing it names does not exist.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 409: not now, because something else is under way.
    Conflict,
    /// 413: the body is larger than allowed.
    TooLarge,
    /// 422: understood, but a value is out of range.
    OutOfRange,
    /// 429: too often.
    TooMany,
    /// 503: temporarily not possible: nothing measured yet, a source does not answer, or too many clients.
    Unavailable,
    /// 504: the answer took longer than a handler may.
    TimedOut,
    /// 500: a fault of ours; the log has it under the request's id.
    Internal,
}

impl Kind {
    fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::UnexpectedBody => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::OutOfRange => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_request",
            Self::UnexpectedBody => "unexpected_body",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge => "body_too_large",
            Self::OutOfRange => "out_of_range",
            Self::TooMany => "too_many_requests",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Internal => "internal",
        }
    }
}

/// An error on its way to the client. `detail` is ours, never a driver's text.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    code: &'static str,
    detail: Cow<'static, str>,
    instance: Option<String>,
}

/// Body of an error answer (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Always `about:blank`: `code` identifies the problem.
    r#type: &'static str,
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// One sentence for people.
    detail: &'a str,
    /// A stable name for programs, in snake case.
    code: &'a str,
    /// The request id, as in `X-Request-Id` and the log.
    instance: Option<&'a str>,
}

impl Problem {
    /// A problem with its kind's own code.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::with_code(kind, kind.code(), detail)
    }

    /// A problem with a more specific code than its kind's.
    pub fn with_code(kind: Kind, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            code,
            detail: detail.into(),
            instance: None,
        }
    }

    /// The problem that fits a status that someone else chose: the framework's own 4xx and 5xx.
    #[must_use]
    pub fn from_status(status: StatusCode) -> Self {
        match status.as_u16() {
            404 => Self::new(Kind::NotFound, "there is nothing at this path"),
            405 => Self::new(
                Kind::MethodNotAllowed,
                "this path does not take this method; Allow lists those it takes",
            ),
            413 => Self::new(Kind::TooLarge, "the body is larger than 64 KB"),
            400..=499 => Self::new(Kind::Malformed, "the request cannot be understood"),
            _ => Self::new(
                Kind::Internal,
                "internal error; see the log for this request's id",
            ),
        }
    }

    /// The same problem for one request.
    #[must_use]
    pub fn for_request(mut self, id: &str) -> Self {
        self.instance = Some(id.to_owned());
        self
    }

    /// Machine-readable error code in snake case, as in the response body.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let body = ProblemBody {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: &self.detail,
            code: self.code,
            instance: self.instance.as_deref(),
        };
        let mut response = HttpResponseBuilder::new(status);
        response
            .insert_header((CACHE_CONTROL, "no-store"))
            .content_type("application/problem+json");
        if let Some(id) = &self.instance {
            response.insert_header((REQUEST_ID, id.as_str()));
        }
        match self.kind {
            Kind::Unavailable => drop(response.insert_header((RETRY_AFTER, "5"))),
            Kind::TooMany => drop(response.insert_header((RETRY_AFTER, "10"))),
            Kind::Unauthorized => {
                let basic = "Basic realm=\"silo\", charset=\"UTF-8\"";
                response.insert_header((WWW_AUTHENTICATE, basic));
            }
            _ => {}
        }
        response.body(serde_json::to_string(&body).unwrap_or_default())
    }
}
