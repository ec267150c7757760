//! Endpoints for Caddy's `forward_auth`. Caddy sends method, undecoded path and client address as `X-Forwarded-*`, and passes on `Authorization`
//! and `Cookie`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderName, SET_COOKIE};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use log::warn;
use silo_web::app::get;
use silo_web::operator::OPERATOR;
use silo_web::problem::{Kind, Problem};

use crate::db_allowlist::{self, Refusal};
use crate::gateway::Gateway;
use crate::login_throttle::{LoginResult, LoginThrottle};
use crate::sessions::Sessions;
use crate::users::Users;
use crate::users_file::UsersFile;

/// State of sign-in.
pub struct SignIn {
    /// Who may sign in.
    pub users: UsersFile,
    /// Password checks.
    pub throttle: LoginThrottle,
    /// Session cookies.
    pub sessions: Sessions,
    /// Whose `X-Forwarded-For` is believed.
    pub gateway: Gateway,
}

/// Both paths.
pub fn routes(config: &mut ServiceConfig, sign_in: Data<SignIn>) {
    config
        .app_data(sign_in)
        .service(get("/gate/sign-in", get_sign_in))
        .service(get("/gate/reading", get_reading));
}

/// `GET /gate/sign-in`: 204 with the operator's name, 401, or 429. A browser gets a session cookie with it.
async fn get_sign_in(request: HttpRequest, sign_in: Data<SignIn>) -> Result<HttpResponse, Problem> {
    let (users, now) = (sign_in.users.users(), Timestamp::now());
    let mut answer = HttpResponse::NoContent();
    let session =
        header(&request, &COOKIE).and_then(|cookies| sign_in.sessions.user(cookies, &users, now));
    if let Some(name) = session {
        return Ok(answer.insert_header((OPERATOR, name)).finish());
    }
    let name = sign_in.by_password(&request, &users).await?;
    // Other programs keep no cookies.
    let is_browser = request.headers().contains_key("Sec-Fetch-Site");
    if is_browser && let Some(cookie) = sign_in.sessions.cookie(&name, &users, now) {
        answer.insert_header((SET_COOKIE, cookie));
    }
    Ok(answer.insert_header((OPERATOR, name)).finish())
}

impl SignIn {
    /// Name of the user whose password the request has.
    async fn by_password(
        &self,
        request: &HttpRequest,
        users: &Arc<Users>,
    ) -> Result<String, Problem> {
        let Some((name, password)) = header(request, &AUTHORIZATION).and_then(credentials) else {
            return Err(Problem::new(
                Kind::Unauthorized,
                "sign in with a name and a password",
            ));
        };
        let peer = request.peer_addr().map(|peer| peer.ip());
        let forwarded = header(request, &HeaderName::from_static("x-forwarded-for"));
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let from = self.gateway.client(peer, forwarded).await;
        match self.throttle.check(users, from, &name, &password).await {
            LoginResult::Granted => Ok(name),
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
