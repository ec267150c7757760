//! Shape of all answers: `{"data", "meta"}`, with age and entity tag.

use std::hash::{DefaultHasher, Hash, Hasher};

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, Responder};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use silo_core::units::whole_millis;
use utoipa::ToSchema;

use crate::problem::{Kind, Problem};
use crate::snapshot::{Freshness, Reading, SourceError};

/// Age, completeness and errors of an answer.
#[derive(Clone, Debug, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// When the data was measured; `null` when it never was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub as_of: Option<Timestamp>,
    /// Interval between measurements, in milliseconds.
    pub ttl_ms: u64,
    /// Freshness of the data.
    pub state: Freshness,
    /// Errors by source. A `null` in `data` has its reason here.
    pub errors: Vec<SourceError>,
}

/// Shape of every answer, for the API description and for clients in other services.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Envelope<T> {
    /// The requested data.
    pub data: T,
    /// Age, completeness and errors of `data`.
    pub meta: Meta,
}

/// An answer on its way to the client.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    data: Bytes,
    meta: Meta,
    age_seconds: u64,
}

impl Answer {
    /// Answer with a whole reading, serialised when it was measured.
    #[must_use]
    pub fn whole<T>(reading: &Reading<T>) -> Self {
        Self::with_data(reading, reading.json.clone())
    }

    /// Answer with data derived from a reading, such as a row or another order.
    ///
    /// # Errors
    /// 500 when `data` cannot be serialised.
    pub fn part<T>(reading: &Reading<T>, data: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self::with_data(reading, to_json(data)?))
    }

    /// Answer with data and a meta of its own.
    ///
    /// # Errors
    /// 500 when `data` cannot be serialised.
    pub fn new(data: &impl Serialize, meta: Meta, age_seconds: u64) -> Result<Self, Problem> {
        Ok(Self {
            status: StatusCode::OK,
            data: to_json(data)?,
            meta,
            age_seconds,
        })
    }

    /// The same answer with another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    fn with_data<T>(reading: &Reading<T>, data: Bytes) -> Self {
        Self {
            status: StatusCode::OK,
            data,
            meta: reading.meta(),
            age_seconds: reading.age.as_secs(),
        }
    }
}

impl<T> Reading<T> {
    /// Meta of this reading.
    #[must_use]
    pub fn meta(&self) -> Meta {
        Meta {
            as_of: Some(self.as_of),
            ttl_ms: whole_millis(self.ttl),
            state: self.state,
            errors: self.errors.clone(),
        }
    }
}

fn to_json(data: &impl Serialize) -> Result<Bytes, Problem> {
    let json = serde_json::to_vec(data).map_err(|error| {
        log::error!("an answer cannot be written as JSON: {error}");
        Problem::new(Kind::Internal, "the answer cannot be written")
    })?;
    Ok(json.into())
}

impl Responder for Answer {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let tag = entity_tag(&self.data, &self.meta);
        let unchanged = self.status == StatusCode::OK && client_has(request, &tag);
        let mut response = HttpResponse::build(if unchanged {
            StatusCode::NOT_MODIFIED
        } else {
            self.status
        });
        response.insert_header((ETAG, tag));
        response.insert_header((AGE, self.age_seconds.to_string()));
        response.insert_header((
            CACHE_CONTROL,
            format!("private, max-age={}", self.meta.ttl_ms / 1000),
        ));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header(("Retry-After", "5"));
        }
        if unchanged {
            response.finish()
        } else {
            response
                .content_type("application/json")
                .body(body(&self.data, &self.meta))
        }
    }
}

fn body(data: &Bytes, meta: &Meta) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        data: &'a RawValue,
        meta: &'a Meta,
    }
    // `data` came out of a serialiser, so it is JSON; were it not, an empty body shows the fault at once.
    let data = std::str::from_utf8(data)
        .ok()
        .and_then(|text| serde_json::from_str(text).ok());
    data.and_then(|data| serde_json::to_vec(&Body { data, meta }).ok())
        .unwrap_or_default()
        .into()
}

/// Weak entity tag over the whole body. Weak, because Caddy compresses answers.
fn entity_tag(data: &Bytes, meta: &Meta) -> String {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    meta.hash(&mut hasher);
    format!("W/\"{:016x}\"", hasher.finish())
}

fn client_has(request: &HttpRequest, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    request
        .headers()
        .get_all(IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}
