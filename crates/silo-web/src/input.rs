//! Strict parsing of request parameters: an invalid one is an error, never ignored.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;

use crate::problem::{Kind, Problem};

/// The longest name or id that any path takes, in bytes.
pub const LONGEST_ID: usize = 255;
/// Most ids in one request.
pub const MOST_IDS: usize = 500;

/// A query string read into `T`; an unknown or malformed parameter is 422.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = web::Query::<T>::from_query(request.query_string());
        ready(read.map(|query| Self(query.into_inner())).map_err(|error| {
            // The text comes from serde and names the parameter and the expected type.
            let detail = error.to_string().replace("Query deserialize error: ", "");
            Problem::new(
                Kind::OutOfRange,
                format!("the query string: {}", shorten(&detail)),
            )
        }))
    }
}

/// Validates `limit`.
///
/// # Errors
/// 422 with the allowed range.
pub fn limit(given: Option<u64>, default: usize, most: usize) -> Result<usize, Problem> {
    let Some(given) = given else {
        return Ok(default);
    };
    let limit = usize::try_from(given).unwrap_or(usize::MAX);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::new(
            Kind::OutOfRange,
            format!("limit must be from 1 to {most}"),
        ))
    }
}

/// `offset`: number of entries to leave out at the beginning of a list.
#[must_use]
pub fn offset(given: Option<u64>) -> usize {
    usize::try_from(given.unwrap_or_default()).unwrap_or(usize::MAX)
}

/// An id from a path, decoded, of a length that anything could have.
///
/// # Errors
/// 422 when it is longer.
pub fn id(text: String) -> Result<String, Problem> {
    if text.len() <= LONGEST_ID {
        Ok(text)
    } else {
        Err(Problem::with_code(
            Kind::OutOfRange,
            "id_too_long",
            format!("an id has at most {LONGEST_ID} bytes"),
        ))
    }
}

/// Parses ids separated by commas, at most [`MOST_IDS`].
///
/// # Errors
/// 422 when there are too many, or one is too long.
pub fn ids<'a>(parameter: &str, noun: &str, list: &'a str) -> Result<Vec<&'a str>, Problem> {
    let ids: Vec<&str> = list
        .split(',')
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .collect();
    if ids.is_empty() || ids.len() > MOST_IDS {
        let detail = format!("{parameter} must be 1 to {MOST_IDS} {noun}, separated by commas");
        return Err(Problem::new(Kind::OutOfRange, detail));
    }
    for each in &ids {
        id((*each).to_owned())?;
    }
    Ok(ids)
}

/// Checks that every `%` begins a percent-encoded byte and that the decoded bytes are UTF-8.
pub(crate) fn check_encoding(what: &str, encoded: &str) -> Result<(), Problem> {
    let bytes = encoded.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        (decoded, rest) = match (first, tail) {
            (b'%', [high, low, tail @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                decoded.push(hex(*high) << 4 | hex(*low));
                (decoded, tail)
            }
            (b'%', _) => {
                let detail =
                    format!("the {what} has a % that does not begin a percent-encoded byte");
                return Err(Problem::with_code(
                    Kind::Malformed,
                    "malformed_encoding",
                    detail,
                ));
            }
            _ => {
                decoded.push(*first);
                (decoded, tail)
            }
        };
    }
    if decoded.contains(&0) || std::str::from_utf8(&decoded).is_err() {
        let detail = format!("the {what} is not UTF-8 text when decoded");
        return Err(Problem::with_code(
            Kind::Malformed,
            "malformed_encoding",
            detail,
        ));
    }
    Ok(())
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_after_a_percent_sign_is_malformed() {
        for bad in ["/a%", "/a%2", "/a%zz", "/%ff", "/%C3%28", "/%00", "/%+1"] {
            assert_eq!(
                check_encoding("path", bad).unwrap_err().code(),
                "malformed_encoding",
                "{bad}"
            );
        }
        for good in ["/", "/auth0%7Cx", "/%C3%BC", "/a%2Fb", "/ü"] {
            check_encoding("path", good).unwrap();
        }
    }

    #[test]
    fn a_limit_out_of_range_is_an_error_and_not_clamped() {
        assert_eq!(limit(None, 20, 500).unwrap(), 20);
        assert_eq!(limit(Some(500), 20, 500).unwrap(), 500);
        assert!(limit(Some(0), 20, 500).is_err());
        assert!(limit(Some(501), 20, 500).is_err());
        assert!(limit(Some(u64::MAX), 20, 500).is_err());
    }
}
