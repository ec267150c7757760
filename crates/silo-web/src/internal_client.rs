//! Asking another service of Silo, over HTTP and within a time limit.

use std::time::Duration;

use actix_web::web::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::answer::Envelope;
use crate::snapshot::SourceError;

/// Connecting takes this long at the most.
const CONNECT: Duration = Duration::from_secs(1);
/// The largest answer that is read, in bytes.
const LARGEST: usize = 4 * 1024 * 1024;

/// The way to one of them.
#[derive(Clone, Debug)]
pub struct InternalClient {
    name: &'static str,
    http: reqwest::Client,
    address: String,
}

impl InternalClient {
    /// The way to the service of this name at this address, whose answers take `limit` at the most.
    ///
    /// # Errors
    /// When an HTTP client cannot be set up on this machine.
    pub fn new(name: &'static str, address: &str, limit: Duration) -> std::io::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(limit)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self {
            name,
            http,
            address: address.trim_end_matches('/').to_owned(),
        })
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Requests `path` and returns `data` of the answer. A 404 is an error: the service is of another version, or another program.
    ///
    /// # Errors
    /// The error of the request, or of reading its answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, SourceError> {
        Ok(self.get_envelope(path).await?.data)
    }

    /// Like [`Self::get`], for a path with an id: `None` for a 404 with the code `unknown`, such as `unknown_user`.
    ///
    /// # Errors
    /// The error of the request, or of reading its answer.
    pub async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        unknown: &str,
    ) -> Result<Option<T>, SourceError> {
        match self.request(path).await? {
            Found::Answer(answer) => Ok(Some(answer.data)),
            Found::Nothing(code) if code.as_deref() == Some(unknown) => Ok(None),
            Found::Nothing(_) => Err(self.unknown_path()),
        }
    }

    /// Requests `path` and returns the whole answer with its `meta`. A 503 with data counts as an answer.
    ///
    /// # Errors
    /// The error of the request, or of reading its answer.
    pub async fn get_envelope<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Envelope<T>, SourceError> {
        match self.request(path).await? {
            Found::Answer(answer) => Ok(answer),
            Found::Nothing(_) => Err(self.unknown_path()),
        }
    }

    /// Does not name the path, which may contain an id or an e-mail address.
    fn unknown_path(&self) -> SourceError {
        let detail = "it does not know this path: it may be of another version, or another program at its address";
        SourceError::new(self.name, "unknown_path", detail)
    }

    async fn request<T: DeserializeOwned>(&self, path: &str) -> Result<Found<T>, SourceError> {
        let failed = |code: &str, detail: &str| SourceError::new(self.name, code, detail);
        let broken = |error: &reqwest::Error| {
            if error.is_timeout() {
                failed("timed_out", "it did not answer in time")
            } else {
                failed("unreachable", "it cannot be reached")
            }
        };
        let url = format!("{}{path}", self.address);
        let answer = self.http.get(url).send().await;
        let answer = answer.map_err(|error| broken(&error))?;
        let status = answer.status();
        if !matches!(
            status,
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE | StatusCode::NOT_FOUND
        ) {
            return Err(failed("refused", "it did not answer this question"));
        }
        let body = read(answer).await.map_err(|error| broken(&error))?;
        if status == StatusCode::NOT_FOUND {
            let problem = body.and_then(|body| serde_json::from_slice::<Code>(&body).ok());
            return Ok(Found::Nothing(problem.map(|problem| problem.code)));
        }
        let parsed = body.and_then(|body| serde_json::from_slice(&body).ok());
        match (parsed, status) {
            (Some(parsed), _) => Ok(Found::Answer(parsed)),
            (None, StatusCode::SERVICE_UNAVAILABLE) => {
                Err(failed("unavailable", "it does not know yet"))
            }
            (None, _) => {
                let detail = "its answer has an unexpected format";
                Err(failed("malformed_answer", detail))
            }
        }
    }
}

/// What was asked for, or the code of a 404, if it has one.
enum Found<T> {
    Answer(Envelope<T>),
    Nothing(Option<String>),
}

/// The part of a problem that is read.
#[derive(Deserialize)]
struct Code {
    code: String,
}

/// The body; `None` when it is too large.
async fn read(mut answer: reqwest::Response) -> Result<Option<Bytes>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > LARGEST {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.into()))
}
