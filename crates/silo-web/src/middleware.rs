//! Middleware around every request, in this order: request id, check of the request line, time limit, one shape for all errors, log line, metrics.

use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{ALLOW, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, ResponseError};
use log::{debug, error, info};

use crate::input;
use crate::problem::{Kind, Problem, REQUEST_ID};
use crate::service::Service;

/// Time limit of a handler. It lies between that of a database command (3 s) and that of Caddy (8 s).
const HANDLER_DEADLINE: Duration = Duration::from_secs(4);

/// Wraps every request: request id, time limit, logging, metrics.
pub(crate) async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let service = request.app_data::<Data<Service>>().cloned();

    let answer = match look_at(&request) {
        Ok(()) => within_deadline(request, next).await,
        Err(problem) => Err(problem.into()),
    };
    let answer = shape_errors(answer, &id);
    let elapsed = started.elapsed();
    let (route, status) = match &answer {
        Ok(response) => (response.request().match_pattern(), response.status()),
        Err(error) => (None, error.as_response_error().status_code()),
    };
    let route = route.unwrap_or_else(|| "(none)".into());
    log_access(&id, &method, &route, status, elapsed);
    if let Some(service) = service {
        service
            .metrics
            .note_request(&route, status.as_u16(), elapsed);
    }
    answer.map(|response| with_headers(response, &id, elapsed))
}

/// The id that Caddy gave the request, or a new one.
fn request_id(request: &ServiceRequest) -> String {
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    given
        .filter(plain)
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

fn look_at(request: &ServiceRequest) -> Result<(), Problem> {
    input::check_encoding("path", request.uri().path())?;
    input::check_encoding("query", request.query_string())?;
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if safe && has_body(request) {
        return Err(Problem::new(
            Kind::UnexpectedBody,
            "a GET takes no body; send the request without one",
        ));
    }
    Ok(())
}

fn has_body(request: &ServiceRequest) -> bool {
    let headers = request.headers();
    let length = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != b"0")
}

async fn within_deadline<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match tokio::time::timeout(HANDLER_DEADLINE, next.call(request)).await {
        Ok(answer) => answer.map(ServiceResponse::map_into_boxed_body),
        Err(_) => {
            Err(Problem::new(Kind::TimedOut, "the answer took longer than 4 s; ask again").into())
        }
    }
}

/// Gives every error, ours or the framework's, the one shape.
fn shape_errors(
    answer: Result<ServiceResponse<BoxBody>, Error>,
    id: &str,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match answer {
        Err(error) => Err(problem_of(&error).for_request(id).into()),
        Ok(response) => {
            let problem = match response.response().error() {
                Some(error) => problem_of(error),
                None if is_unshaped(&response) => Problem::from_status(response.status()),
                None => return Ok(response),
            };
            let allow = response.headers().get(ALLOW).cloned();
            let mut shaped = problem.for_request(id).error_response();
            if let Some(allow) = allow {
                shaped.headers_mut().insert(ALLOW, allow);
            }
            Ok(response.into_response(shaped))
        }
    }
}

/// An error status without our body: the framework's own 404 and 405.
fn is_unshaped(response: &ServiceResponse<BoxBody>) -> bool {
    let error = response.status().is_client_error() || response.status().is_server_error();
    error
        && !response
            .headers()
            .contains_key(actix_web::http::header::CONTENT_TYPE)
}

fn problem_of(error: &Error) -> Problem {
    error.as_error::<Problem>().cloned().unwrap_or_else(|| {
        let status = error.as_response_error().status_code();
        if status.is_server_error() {
            error!("a handler failed: {error}");
        }
        Problem::from_status(status)
    })
}

fn log_access(id: &str, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
    let (method, status) = (method.as_str(), status.as_u16());
    let duration_ms = silo_core::units::round(elapsed.as_secs_f64() * 1000.0, 3);
    if matches!(route, "/healthz" | "/readyz" | "/metrics") {
        debug!(target: "silo::access", request = id, status, duration_ms; "{method} {route}");
    } else {
        info!(target: "silo::access", request = id, status, duration_ms; "{method} {route}");
    }
}

fn with_headers(
    mut response: ServiceResponse<BoxBody>,
    id: &str,
    elapsed: Duration,
) -> ServiceResponse<BoxBody> {
    let timing = format!("app;dur={:.2}", elapsed.as_secs_f64() * 1000.0);
    let headers = response.headers_mut();
    for (name, value) in [
        (HeaderName::from_static("x-request-id"), id),
        (HeaderName::from_static("server-timing"), timing.as_str()),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}
