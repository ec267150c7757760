//! HTTP client for checks: one connection per request, with the duration and failure of each step.
//!
//! Not reqwest, which pools connections, follows redirects to any address, and reports neither the failed step nor the details of a refused
//! certificate.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_1::body::Incoming;
use hyper_1::client::conn::http1;
use hyper_1::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper_1::{Request, Response};
use hyper_util::rt::TokioIo;
use openssl::ssl::SslConnector;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_openssl::SslStream;
use url::Url;

use super::dialer::{AddressScope, allowed, connect, failure_of, resolve};
use super::redis::{self, SignIn};
use super::tls::{Secured, connector, secure};
use crate::failure::{Failure, Phase, RedirectFault};
use crate::probe::Expect;

/// The most of a body that is read, in bytes.
pub const LARGEST_BODY: usize = 1024 * 1024;
/// Most redirects that are followed.
const REDIRECTS: usize = 3;

/// Asks services.
#[derive(Clone)]
pub struct Fetcher {
    tls: SslConnector,
}

/// Result of a request.
#[derive(Debug)]
pub struct Fetched {
    /// The answer, or why there is none.
    pub answer: Result<Reply, Failure>,
    /// Total duration, from name resolution to the end of the body.
    pub elapsed: Duration,
    /// Duration of each step, summed over redirects.
    pub steps: Timings,
    /// Days until the certificate expires; negative when it has; `None` without TLS or when none was shown.
    pub certificate_days: Option<i64>,
    /// Scope of the first address; `None` if the name was not resolved.
    pub scope: Option<AddressScope>,
}

/// Duration of each step; `None` if it was not reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Looking up the name.
    pub resolve: Option<Duration>,
    /// Connecting.
    pub connect: Option<Duration>,
    /// Agreeing on TLS.
    pub tls: Option<Duration>,
    /// Waiting for the head of the answer.
    pub answer: Option<Duration>,
    /// Reading the body.
    pub body: Option<Duration>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status; 0 where there is none.
    pub status: u16,
    /// The body; `None` when it is larger than 1 MiB, or there is none.
    pub body: Option<Bytes>,
}

/// Result of one connection.
enum Attempt {
    Reply(Reply),
    Redirect(String),
}

impl Fetcher {
    /// Client with the machine's trusted certificate authorities.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { tls: connector()? })
    }

    /// Sends a GET request within a time limit. Follows at most three redirects, unless the redirect's status is itself expected. A redirect from a
    /// public to a private address, and any to a link-local address (cloud metadata), is refused.
    pub async fn get(&self, url: &Url, expect: &Expect, limit: Duration) -> Fetched {
        self.traced(limit, async |trace| self.follow(url, expect, trace).await)
            .await
    }

    async fn follow(
        &self,
        url: &Url,
        expect: &Expect,
        trace: &mut RequestTrace,
    ) -> Result<Reply, Failure> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            match self.hop(&url, expect, trace).await? {
                Attempt::Reply(reply) => return Ok(reply),
                Attempt::Redirect(location) => {
                    let next = url.join(&location).ok();
                    let next = next.filter(|next| matches!(next.scheme(), "http" | "https"));
                    url = next.ok_or(Failure::Redirect(RedirectFault::Malformed))?;
                }
            }
        }
        Err(Failure::Redirect(RedirectFault::TooMany))
    }

    /// One connection, and a request over it.
    async fn hop(
        &self,
        url: &Url,
        expect: &Expect,
        trace: &mut RequestTrace,
    ) -> Result<Attempt, Failure> {
        match self.open(url, url.scheme() == "https", trace).await? {
            Connection::Plain(stream) => trace.ask(stream, url, expect).await,
            Connection::Tls(stream) => trace.ask(stream, url, expect).await,
        }
    }

    /// Opens a connection to a URL's host and port.
    async fn open(
        &self,
        url: &Url,
        tls: bool,
        trace: &mut RequestTrace,
    ) -> Result<Connection, Failure> {
        let step = Instant::now();
        let addresses = resolve(url, trace.deadline).await?;
        add(&mut trace.steps.resolve, step);
        let addresses = allowed(trace.scope, addresses)?;
        trace.scope.get_or_insert(AddressScope::of(&addresses));
        let step = Instant::now();
        let stream = connect(&addresses, trace.deadline).await?;
        add(&mut trace.steps.connect, step);
        if !tls {
            return Ok(Connection::Plain(stream));
        }
        let step = Instant::now();
        let host = url.host_str().unwrap_or_default();
        let Secured {
            stream,
            certificate_days,
        } = secure(&self.tls, host, stream, trace.deadline).await;
        trace.certificate_days = least(trace.certificate_days, certificate_days);
        let stream = stream?;
        add(&mut trace.steps.tls, step);
        Ok(Connection::Tls(stream))
    }

    /// Opens a connection and closes it: a service that takes connections is up.
    pub async fn connect(&self, url: &Url, limit: Duration) -> Fetched {
        self.traced(limit, async |trace| {
            self.open(url, false, trace).await?;
            Ok(Reply {
                status: 0,
                body: None,
            })
        })
        .await
    }

    /// Asks a Redis or Valkey server (`redis://`, or `rediss://` for TLS) for `INFO`, after signing in and `PING`. The body of the reply is the text of
    /// `INFO`.
    pub async fn redis(&self, url: &Url, sign_in: Option<&SignIn>, limit: Duration) -> Fetched {
        self.traced(limit, async |trace| {
            let connection = self.open(url, url.scheme() == "rediss", trace).await?;
            let step = Instant::now();
            let info = async {
                match connection {
                    Connection::Plain(stream) => redis::info(stream, sign_in).await,
                    Connection::Tls(stream) => redis::info(stream, sign_in).await,
                }
            };
            let info = timeout_at(trace.deadline, info)
                .await
                .map_err(|_late| Failure::TimedOut(Phase::Answer))??;
            add(&mut trace.steps.answer, step);
            Ok(Reply {
                status: 0,
                body: Some(info),
            })
        })
        .await
    }

    /// Runs one exchange within a time limit, and records its steps.
    async fn traced(
        &self,
        limit: Duration,
        exchange: impl AsyncFnOnce(&mut RequestTrace) -> Result<Reply, Failure>,
    ) -> Fetched {
        let started = Instant::now();
        let mut trace = RequestTrace {
            deadline: started + limit,
            steps: Timings::default(),
            certificate_days: None,
            scope: None,
        };
        let answer = exchange(&mut trace).await;
        Fetched {
            answer,
            elapsed: started.elapsed(),
            steps: trace.steps,
            certificate_days: trace.certificate_days,
            scope: trace.scope,
        }
    }
}

/// An open connection.
enum Connection {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
}

/// State of a check across redirects: deadline, durations, certificate expiry and scope.
struct RequestTrace {
    deadline: Instant,
    steps: Timings,
    certificate_days: Option<i64>,
    /// Scope of the first address, which limits where redirects may lead.
    scope: Option<AddressScope>,
}

impl RequestTrace {
    async fn ask<S>(&mut self, stream: S, url: &Url, expect: &Expect) -> Result<Attempt, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let step = Instant::now();
        // Owns the connection's task: dropping the set closes the connection.
        let mut connection = JoinSet::new();
        let head = head(stream, url, &mut connection);
        let mut response = timeout_at(self.deadline, head)
            .await
            .map_err(|_late| Failure::TimedOut(Phase::Answer))??;
        add(&mut self.steps.answer, step);
        let status = response.status().as_u16();
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        if let (301 | 302 | 303 | 307 | 308, false, Some(location)) =
            (status, expect.allows(status), location)
        {
            return Ok(Attempt::Redirect(location.to_owned()));
        }
        let step = Instant::now();
        let body = timeout_at(self.deadline, read(response.body_mut()))
            .await
            .map_err(|_late| Failure::TimedOut(Phase::Body))??;
        add(&mut self.steps.body, step);
        Ok(Attempt::Reply(Reply { status, body }))
    }
}

async fn head<S>(
    stream: S,
    url: &Url,
    connection: &mut JoinSet<()>,
) -> Result<Response<Incoming>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper_1::Error| broken(&error);
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    connection.spawn(async move { drop(driver.await) });
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let request = Request::get(target)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("silo/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json, */*;q=0.5")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_unsaid| Failure::Body("its address cannot be asked for".into()))?;
    sender.send_request(request).await.map_err(broken)
}

/// Reads a body; `None` when it is too large.
async fn read(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        if let Some(data) = frame.data_ref() {
            if read.len() + data.len() > LARGEST_BODY {
                return Ok(None);
            }
            read.extend_from_slice(data);
        }
    }
    Ok(Some(read.into()))
}

/// Maps an error of hyper to a failure.
fn broken(error: &hyper_1::Error) -> Failure {
    if error.is_parse() {
        return Failure::Body("its answer is not HTTP".into());
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<std::io::Error>() {
            return failure_of(error);
        }
        cause = inner.source();
    }
    Failure::Reset
}

fn add(step: &mut Option<Duration>, since: Instant) {
    *step = Some(step.unwrap_or_default() + since.elapsed());
}

fn least(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}
