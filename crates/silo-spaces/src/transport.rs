//! HTTP transport below rusoto: addresses, signs, rate-limits, sends, checks and retries every request.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use hyper::client::HttpConnector;
use hyper_tls::HttpsConnector;
use log::debug;
use rusoto_core::credential::AwsCredentials;
use rusoto_core::request::{
    DispatchSignedRequest, DispatchSignedRequestFuture, HttpClient, HttpConfig, HttpDispatchError,
    HttpResponse,
};
use rusoto_core::{ByteStream, Region};
use rusoto_signature::SignedRequest;

use crate::endpoint::{Addressing, Endpoint, Limits};
use crate::error::{Kind, StorageError};
use crate::rate_limit::RateLimiter;
use crate::request::Request;
use crate::traffic::Traffic;
use crate::xml;

/// Time limit for opening a connection, without name resolution and TLS.
const CONNECT: Duration = Duration::from_secs(3);
/// The largest document that answers anything but a listing.
const LARGEST_DOCUMENT: usize = 1024 * 1024;
/// As much of an error's document as is read.
const LARGEST_ERROR: usize = 64 * 1024;
/// The first pause before a request is repeated; each later one is twice as long, and every one is a random part of that.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The transport. Clones share connections and limits.
#[derive(Clone)]
pub(crate) struct Transport(Arc<Inner>);

struct Inner {
    http: HttpClient<HttpsConnector<HttpConnector>>,
    region: Region,
    credentials: AwsCredentials,
    addressing: Addressing,
    limits: Limits,
    rate_limiter: RateLimiter,
    traffic: Arc<Traffic>,
}

impl Transport {
    pub(crate) fn new(endpoint: &Endpoint, limits: Limits) -> Result<Self, StorageError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let tls = hyper_tls::native_tls::TlsConnector::new().map_err(|_text| {
            StorageError::new(Kind::Refused, "TLS cannot be set up on this machine")
        })?;
        let connector = HttpsConnector::from((connector, tls.into()));
        let mut config = HttpConfig::new();
        config.pool_idle_timeout(Duration::from_secs(20));
        let region = Region::Custom {
            name: endpoint.region.clone(),
            endpoint: endpoint.url.trim_end_matches('/').to_owned(),
        };
        let (key, secret) = (endpoint.key.expose(), endpoint.secret.expose());
        Ok(Self(Arc::new(Inner {
            http: HttpClient::from_connector_with_config(connector, config),
            region,
            credentials: AwsCredentials::new(key, secret, None, None),
            addressing: endpoint.addressing,
            limits,
            rate_limiter: RateLimiter::new(limits.requests_per_second),
            traffic: Arc::default(),
        })))
    }

    pub(crate) fn region(&self) -> Region {
        self.0.region.clone()
    }

    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.0.traffic)
    }

    /// Sends a request once. Any status is an answer.
    pub(crate) async fn reach(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<(), StorageError> {
        let answer = tokio::time::timeout(limit, self.send_once(request)).await;
        match answer.unwrap_or_else(|_| Err(timed_out(limit))) {
            Err(error) if matches!(error.kind, Kind::Unreachable | Kind::TimedOut) => Err(error),
            _ => Ok(()),
        }
    }

    /// A whole document of at most `largest` bytes, read by `parse`; asked for again when it cannot be read.
    pub(crate) async fn document<T>(
        &self,
        request: &Request,
        largest: usize,
        parse: impl Fn(&[u8]) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        self.with_retries(|| async {
            let answer = self.send_once(request).await?;
            parse(&self.gather(answer.body, largest).await?)
        })
        .await
    }

    /// Writes an object or a part of one, and returns its entity tag.
    pub(crate) async fn put(
        &self,
        bucket: &str,
        key: &str,
        parameters: &[(&str, &str)],
        body: Bytes,
    ) -> Result<String, StorageError> {
        let request = Request::put(bucket, key, parameters, body);
        self.with_retries(|| async {
            let answer = self.send_once(&request).await?;
            let tag = answer.headers.get("etag").cloned();
            self.gather(answer.body, LARGEST_DOCUMENT).await?;
            // S3 always sends one. An error with status 200, or the page of a proxy, has none.
            let missing = || StorageError::new(Kind::Malformed, "the answer has no entity tag");
            tag.ok_or_else(missing)
        })
        .await
    }

    /// Any answer that rusoto is going to read: an object's bytes as they come, a document whole and checked.
    async fn answer(&self, request: &Request) -> Result<HttpResponse, StorageError> {
        self.with_retries(|| async {
            let answer = self.send_once(request).await?;
            if request.reads_object() {
                let body = self.with_read_timeout(answer.body);
                return Ok(HttpResponse {
                    body: ByteStream::new(body),
                    ..answer
                });
            }
            let body = self.gather(answer.body, LARGEST_DOCUMENT).await?;
            let body = match request.answered_with() {
                [] => Bytes::new(), // rusoto gets nothing to stumble over
                roots => check_document(body, roots)?,
            };
            Ok(HttpResponse {
                body: ByteStream::from(body.to_vec()),
                ..answer
            })
        })
        .await
    }

    /// Tries until it succeeds, cannot succeed, or has been tried often enough.
    async fn with_retries<T, F, Fut>(&self, ask: F) -> Result<T, StorageError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StorageError>>,
    {
        let limits = self.0.limits;
        let times = usize::try_from(limits.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(limits.longest_pause)
            .with_max_times(times)
            .with_jitter();
        ask.retry(pauses)
            .when(StorageError::is_transient)
            .adjust(|error: &StorageError, pause| {
                // As long as the storage asks for, when that is longer than our own pause; nothing when there is no try left.
                let asked = error.retry_after.unwrap_or_default();
                pause.map(|pause| pause.max(asked).min(limits.longest_pause))
            })
            .notify(|error: &StorageError, pause| {
                self.count(error);
                debug!(code = error.kind.code(), pause_ms = silo_core::units::whole_millis(pause); "retrying a request to storage: {error}");
            })
            .await
            .inspect_err(|error| self.count(error))
    }

    fn count(&self, error: &StorageError) {
        let traffic = &self.0.traffic;
        match error.kind {
            Kind::Throttled => traffic.throttles.fetch_add(1, Ordering::Relaxed),
            _ if error.is_transient() => traffic.failures.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// One try: an answer with a good status, its body not read yet.
    async fn send_once(&self, request: &Request) -> Result<HttpResponse, StorageError> {
        let inner = &self.0;
        inner.rate_limiter.wait().await;
        inner.traffic.requests.fetch_add(1, Ordering::Relaxed);
        let signed = request.sign(&inner.region, inner.addressing, &inner.credentials);
        let answer = inner.http.dispatch(signed, None);
        let limit = inner.limits.first_byte + time_to_send(request);
        let answer = tokio::time::timeout(limit, answer)
            .await
            .map_err(|_text| timed_out(limit))?
            // rusoto's text contains the endpoint and the system's error.
            .map_err(|_text| {
                StorageError::new(
                    Kind::Unreachable,
                    "the storage cannot be reached, or closed the connection",
                )
            })?;
        let date = answer.headers.get("date").map(String::as_str);
        if let Some(ahead) = date.and_then(clock_ahead) {
            inner.traffic.clock_ahead.store(ahead, Ordering::Relaxed);
        }
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(self.error_of(request, answer).await)
    }

    async fn error_of(&self, request: &Request, answer: HttpResponse) -> StorageError {
        let header = |name: &str| answer.headers.get(name).cloned();
        let (status, date) = (answer.status.as_u16(), header("date"));
        let retry_after = header("retry-after")
            .and_then(|seconds| seconds.trim().parse().ok())
            .map(Duration::from_secs);
        let body = match request.method.as_str() {
            "HEAD" => Bytes::new(),
            _ => self
                .gather(answer.body, LARGEST_ERROR)
                .await
                .unwrap_or_default(),
        };
        let mut error = StorageError::of_status(status, &xml::error_code(&body));
        error.retry_after = retry_after;
        if error.kind == Kind::ClockSkewed
            && let Some(ahead) = date.as_deref().and_then(clock_ahead)
        {
            let way = if ahead > 0 { "ahead of" } else { "behind" };
            let minutes = ahead.unsigned_abs() / 60;
            error.detail = format!("this machine's clock is {minutes} min {way} the storage's");
        }
        error
    }

    /// A body as a whole, of at most `largest` bytes.
    async fn gather(&self, body: ByteStream, largest: usize) -> Result<Bytes, StorageError> {
        let mut whole = BytesMut::new();
        let mut pieces = std::pin::pin!(self.with_read_timeout(body));
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| error_of_read(&error))?;
            if whole.len() + piece.len() > largest {
                return Err(StorageError::new(
                    Kind::Malformed,
                    "the answer is larger than any answer to this request",
                ));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The same bytes; a pause that is too long becomes an error.
    fn with_read_timeout(&self, body: ByteStream) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let limit = self.0.limits.stall;
        futures_util::stream::unfold(Some(body), move |body| async move {
            let mut body = body?;
            match tokio::time::timeout(limit, body.next()).await {
                Ok(Some(Ok(piece))) => Some((Ok(piece), Some(body))),
                Ok(Some(Err(error))) => Some((Err(error), None)),
                Ok(None) => None,
                Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
            }
        })
    }
}

impl DispatchSignedRequest for Transport {
    /// The time limit is the transport's own: rusoto gives none.
    fn dispatch(&self, request: SignedRequest, _: Option<Duration>) -> DispatchSignedRequestFuture {
        let transport = self.clone();
        Box::pin(async move {
            let answer = match Request::from_rusoto(request) {
                Ok(request) => transport.answer(&request).await,
                Err(error) => Err(error),
            };
            answer.map_err(|error| HttpDispatchError::new(error.encode()))
        })
    }
}

/// Accepts a document with one of these roots, and recognises S3's error document with status 200.
fn check_document(body: Bytes, roots: &[&str]) -> Result<Bytes, StorageError> {
    let code = xml::error_code(&body);
    match code.as_str() {
        "" => match xml::check(&body, roots) {
            Ok(()) => Ok(body),
            Err(why) => Err(StorageError::new(Kind::Malformed, why)),
        },
        "SlowDown" => Err(StorageError::of_status(503, &code)),
        _ => Err(StorageError::of_status(500, &code)),
    }
}

/// Time that the body of a request may take on a slow line: a part of 5 MiB has 20 s.
fn time_to_send(request: &Request) -> Duration {
    const BYTES_A_SECOND: usize = 256 * 1024;
    let bytes = request.body.as_ref().map_or(0, Bytes::len);
    Duration::from_secs(u64::try_from(bytes / BYTES_A_SECOND).unwrap_or_default())
}

fn timed_out(limit: Duration) -> StorageError {
    let seconds = limit.as_secs();
    StorageError::new(
        Kind::TimedOut,
        format!("the storage did not answer within {seconds} s"),
    )
}

/// Error of reading the body of an answer.
pub(crate) fn error_of_read(error: &io::Error) -> StorageError {
    if error.kind() == io::ErrorKind::TimedOut {
        StorageError::new(
            Kind::TimedOut,
            "the storage stopped in the middle of an answer",
        )
    } else {
        StorageError::new(
            Kind::Unreachable,
            "the connection broke in the middle of an answer",
        )
    }
}

/// Seconds by which this machine's clock is ahead of an HTTP date.
fn clock_ahead(date: &str) -> Option<i64> {
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(jiff::Timestamp::now().as_second() - theirs.as_second())
}
