//! Shape of all answers: `{"data", "meta"}`, with age and entity tag.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::web::{BufMut, Bytes, BytesMut};
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use silo_core::units::whole_millis;
use utoipa::ToSchema;

use crate::problem::{Kind, Problem};
use crate::snapshot::{Freshness, Json, Reading, SourceError};

/// A client or cache may keep an answer this long, however long it stays true: so soon it learns of a failure.
const MAX_KEEP: Duration = Duration::from_secs(60);

/// Age, completeness and errors of an answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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

impl Meta {
    /// Meta of data that is read for this answer, and asked for at this interval by those who watch it.
    #[must_use]
    pub fn now(interval: Duration) -> Self {
        Self {
            as_of: Timestamp::from_millisecond(Timestamp::now().as_millisecond()).ok(),
            ttl_ms: whole_millis(interval),
            state: Freshness::Fresh,
            errors: Vec::new(),
        }
    }
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
    data: Json,
    meta: Meta,
    age: Duration,
    live: bool,
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

    /// Answer with data that was made for it, and a meta of its own.
    ///
    /// # Errors
    /// 500 when `data` cannot be serialised.
    pub fn new(data: &impl Serialize, meta: Meta) -> Result<Self, Problem> {
        let age = meta
            .as_of
            .map(|as_of| Timestamp::now().duration_since(as_of));
        Ok(Self {
            status: StatusCode::OK,
            data: to_json(data)?,
            meta,
            // Zero for a time in the future, from a wrong clock.
            age: age.and_then(|age| age.try_into().ok()).unwrap_or_default(),
            live: true,
        })
    }

    /// The same answer with another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same answer, which contains more than a measurement: it may change at any time, and no cache may keep it.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.live = true;
        self
    }

    fn with_data<T>(reading: &Reading<T>, data: Json) -> Self {
        Self {
            status: StatusCode::OK,
            data,
            meta: reading.meta(),
            age: reading.age,
            live: false,
        }
    }

    /// Caches subtract `Age` from `max-age`, so what is left of the interval is added to the age.
    fn cache_control(&self) -> String {
        let left = Duration::from_millis(self.meta.ttl_ms).saturating_sub(self.age);
        let good = matches!(self.meta.state, Freshness::Fresh | Freshness::Partial);
        if self.live || !good || left < Duration::from_secs(1) || self.status != StatusCode::OK {
            return "private, no-cache".into();
        }
        let seconds = self.age.as_secs() + left.min(MAX_KEEP).as_secs();
        format!("private, max-age={seconds}")
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

fn to_json(data: &impl Serialize) -> Result<Json, Problem> {
    Json::of(data).map_err(|error| {
        log::error!("an answer cannot be written as JSON: {error}");
        Problem::new(Kind::Internal, "the answer cannot be written")
    })
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
        response.insert_header((AGE, self.age.as_secs().to_string()));
        response.insert_header((CACHE_CONTROL, self.cache_control()));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header(("Retry-After", "5"));
        }
        if unchanged {
            return response.finish();
        }
        match body(&self.data, &self.meta) {
            Ok(body) => response.content_type("application/json").body(body),
            Err(problem) => problem.error_response(),
        }
    }
}

/// `{"data", "meta"}`, around the data as they were serialised.
fn body(data: &Json, meta: &Meta) -> Result<Bytes, Problem> {
    let meta = to_json(meta)?;
    let mut body = BytesMut::with_capacity(data.bytes().len() + meta.bytes().len() + 32);
    for part in [
        b"{\"data\":",
        &data.bytes()[..],
        b",\"meta\":",
        &meta.bytes()[..],
        b"}",
    ] {
        body.put_slice(part);
    }
    Ok(body.freeze())
}

/// Weak entity tag over everything but the time of the measurement, which is in `Age` too: a measurement that found the same is unchanged. Weak,
/// because Caddy compresses answers.
fn entity_tag(data: &Json, meta: &Meta) -> String {
    let Meta {
        as_of,
        ttl_ms,
        state,
        errors,
    } = meta;
    let mut hasher = DefaultHasher::new();
    (data.hash(), as_of.is_some(), ttl_ms, state, errors).hash(&mut hasher);
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

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn data_of_its_own_is_as_old_as_its_meta_says() {
        let age = |ago| {
            let meta = Meta {
                as_of: Some(Timestamp::now() - jiff::SignedDuration::from_secs(ago)),
                ..Meta::now(Duration::from_secs(60))
            };
            Answer::new(&1, meta).unwrap().age.as_secs()
        };
        assert_eq!(age(3600), 3600);
        assert_eq!(age(-3600), 0, "a clock that was ahead");
    }

    fn answer(state: Freshness, age: u64, ttl: u64, as_of: i64) -> Answer {
        let meta = Meta {
            as_of: Timestamp::from_second(as_of).ok(),
            ttl_ms: ttl * 1000,
            state,
            errors: Vec::new(),
        };
        Answer {
            status: StatusCode::OK,
            data: to_json(&[1, 2]).unwrap(),
            meta,
            age: Duration::from_secs(age),
            live: false,
        }
    }

    #[test]
    fn an_answer_may_be_kept_until_the_next_measurement_and_at_most_a_minute() {
        let kept = |state, age, ttl| answer(state, age, ttl, 0).cache_control();
        assert_eq!(kept(Freshness::Fresh, 10, 60), "private, max-age=60");
        assert_eq!(kept(Freshness::Partial, 0, 60), "private, max-age=60");
        assert_eq!(
            kept(Freshness::Fresh, 3600, 21_600),
            "private, max-age=3660"
        );
        assert_eq!(kept(Freshness::Fresh, 60, 60), "private, no-cache");
        assert_eq!(kept(Freshness::Stale, 10, 60), "private, no-cache");
        let live = answer(Freshness::Fresh, 10, 60, 0).live();
        assert_eq!(live.cache_control(), "private, no-cache");
    }

    #[actix_web::test]
    async fn the_body_is_data_and_meta_and_its_tag_outlives_a_measurement_without_news() {
        let request = TestRequest::default().to_http_request();
        let first = answer(Freshness::Fresh, 0, 60, 5).respond_to(&request);
        let tag = first.headers().get(ETAG).cloned().unwrap();
        let body = to_bytes(first.into_body()).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["data"], serde_json::json!([1, 2]));
        assert_eq!(body["meta"]["asOf"], "1970-01-01T00:00:05Z");

        let request = TestRequest::default().insert_header((IF_NONE_MATCH, tag));
        let request = request.to_http_request();
        let later = answer(Freshness::Fresh, 1, 60, 65).respond_to(&request);
        assert_eq!(later.status(), StatusCode::NOT_MODIFIED);
        let stale = answer(Freshness::Stale, 1, 60, 65).respond_to(&request);
        assert_eq!(stale.status(), StatusCode::OK);
    }
}
