//! Name of the signed-in operator, from Caddy, and protection against requests that other sites' pages send (CSRF).

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{HOST, HeaderMap, ORIGIN};
use actix_web::{FromRequest, HttpRequest};

use crate::problem::{Kind, Problem};

/// The header that Caddy sets from the signed-in user, whatever the client sent.
pub const OPERATOR: &str = "X-Silo-Operator";

/// The user that signed in at Caddy. Handlers that change anything take one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator(pub String);

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(operator(request.headers()))
    }
}

fn operator(headers: &HeaderMap) -> Result<Operator, Problem> {
    if is_cross_site(headers) {
        let detail = "a page of another site asked for this; only this site's own pages may";
        return Err(Problem::with_code(Kind::Forbidden, "cross_site", detail));
    }
    match text(headers, OPERATOR) {
        Some(name) if !name.is_empty() => Ok(Operator(name.to_owned())),
        _ => {
            let detail = "this needs a signed-in operator; use the gateway";
            Err(Problem::with_code(Kind::Forbidden, "no_operator", detail))
        }
    }
}

/// Browsers send the origin of a request; other programs may not.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let elsewhere = match text(headers, "Sec-Fetch-Site") {
        Some(site) => !matches!(site, "same-origin" | "none"),
        None => headers.contains_key("Sec-Fetch-Site"),
    };
    let (origin, host) = (text(headers, ORIGIN.as_str()), text(headers, HOST.as_str()));
    let other_origin = match origin {
        // Caddy forwards the Host header unchanged.
        Some(origin) => origin.split_once("://").map(|(_, host)| host) != host,
        None => headers.contains_key(ORIGIN),
    };
    elsewhere || other_origin
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Result<String, &'static str> {
        let mut request = TestRequest::post().insert_header((HOST, "silo.example"));
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        let request = request.to_http_request();
        match operator(request.headers()) {
            Ok(Operator(name)) => Ok(name),
            Err(problem) => Err(problem.code()),
        }
    }

    #[test]
    fn actions_need_an_operator_and_the_same_site() {
        let jane = (OPERATOR, "jane");
        assert_eq!(asked(&[jane]), Ok("jane".into()));
        assert_eq!(
            asked(&[
                jane,
                ("Sec-Fetch-Site", "same-origin"),
                ("Origin", "https://silo.example")
            ]),
            Ok("jane".into())
        );
        assert_eq!(asked(&[]), Err("no_operator"));
        assert_eq!(asked(&[(OPERATOR, "")]), Err("no_operator"));
        for (name, value) in [
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
        ] {
            assert_eq!(asked(&[jane, (name, value)]), Err("cross_site"), "{value}");
        }
    }
}
