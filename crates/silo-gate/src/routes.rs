//! Endpoints for Caddy's `forward_auth`. Caddy sends method, undecoded path and client address as `X-Forwarded-*`, and passes on `Authorization`.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::http::header::{AUTHORIZATION, HeaderName};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use log::warn;
use silo_web::app::get;
use silo_web::operator::OPERATOR;
use silo_web::problem::{Kind, Problem};

use crate::db_allowlist::{self, Refusal};
use crate::login_throttle::{LoginResult, LoginThrottle};

/// Both paths.
pub fn routes(config: &mut ServiceConfig, attempts: Data<LoginThrottle>) {
    config
        .app_data(attempts)
        .service(get("/gate/sign-in", get_sign_in))
        .service(get("/gate/reading", get_reading));
}

/// `GET /gate/sign-in`: 204 with the operator's name, 401, or 429.
async fn get_sign_in(
    request: HttpRequest,
    attempts: Data<LoginThrottle>,
) -> Result<HttpResponse, Problem> {
    let Some((name, password)) = header(&request, &AUTHORIZATION).and_then(credentials) else {
        return Err(Problem::new(
            Kind::Unauthorized,
            "sign in with a name and a password",
        ));
    };
    let from = client(&request);
    match attempts.check(from, &name, &password).await {
        LoginResult::Granted => Ok(HttpResponse::NoContent()
            .insert_header((OPERATOR, name))
            .finish()),
        LoginResult::Denied => {
            warn!(client:% = from; "a wrong name or password");
            Err(Problem::new(
                Kind::Unauthorized,
                "the name or the password is wrong",
            ))
        }
        LoginResult::RateLimited => {
            warn!(client:% = from; "too many tries to sign in");
            Err(Problem::new(
                Kind::TooMany,
                "too many tries; retry in ten seconds",
            ))
        }
    }
}

/// `GET /gate/reading`: 204 if a request to `/db` only reads, else 403 or 405.
async fn get_reading(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let forwarded =
        |name: &'static str| header(&request, &HeaderName::from_static(name)).unwrap_or_default();
    let refused = |kind, code, detail| Err(Problem::with_code(kind, code, detail));
    match db_allowlist::only_reads(
        forwarded("x-forwarded-method"),
        forwarded("x-forwarded-uri"),
    ) {
        Ok(()) => Ok(HttpResponse::NoContent().finish()),
        Err(Refusal::Method) => refused(
            Kind::MethodNotAllowed,
            "read_only",
            "/db is for reading: GET and HEAD",
        ),
        Err(Refusal::Path) => refused(
            Kind::Forbidden,
            "read_only",
            "/db is for reading: this page would change, export or import something",
        ),
        Err(Refusal::Query) => refused(
            Kind::Forbidden,
            "read_only",
            "/db is for reading: pages, sorting and simple searches",
        ),
    }
}

fn header<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// Name and password of `Basic` (RFC 7617).
fn credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// Client address: the last entry of `X-Forwarded-For`, which Caddy itself appended.
fn client(request: &HttpRequest) -> IpAddr {
    let forwarded = header(request, &HeaderName::from_static("x-forwarded-for"));
    let last = forwarded.and_then(|list| list.rsplit(',').next()?.trim().parse().ok());
    let peer = || request.peer_addr().map(|peer| peer.ip());
    last.or_else(peer)
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}
