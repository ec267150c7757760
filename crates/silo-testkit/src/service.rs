//! A service under test: its own binary, on a port of its own, asked over HTTP.

#![expect(
    clippy::unwrap_used,
    reason = "only tests use this, and a test ends where something is not as it must be"
)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::Process;
use crate::tools::workspace;
use crate::wait::wait_for;

/// A running service: a built binary on a port of its own.
pub struct Service {
    /// The process.
    pub process: Process,
    /// Address of the service.
    pub address: String,
    http: reqwest::Client,
    lines: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

/// Answer with its request, to explain a failure.
#[derive(Debug)]
pub struct Reply {
    /// Method and URL of the request.
    pub asked: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub text: String,
}

impl Service {
    /// Starts a service and waits until it listens; its dependencies need not be available. The command has all settings except `BIND`; silo-db-api
    /// gets a folder of its own unless the command has one.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(name: &str, mut command: Command) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        command.env("BIND", "127.0.0.1:0");
        let folder = tempfile::tempdir().unwrap();
        let given = |name: &str| command.as_std().get_envs().any(|(it, _)| it == name);
        if !given("DB_FOLDER") {
            command.env("DB_FOLDER", folder.path());
        }
        let sink = Arc::new(move |line: &str| kept.lock().unwrap().push(line.to_owned()));
        let mut process = Process::start(name, command, Some(sink)).unwrap();
        let port = |line: &str| {
            let (_, rest) = line.split_once("listens on 127.0.0.1:")?;
            rest.split_whitespace().next()?.parse::<u16>().ok()
        };
        let port = process
            .wait_for_line(Duration::from_secs(10), port)
            .await
            .unwrap();
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            // Less than the service's: a connection that it is about to close is not used again.
            .pool_idle_timeout(Duration::from_secs(2))
            .build()
            .unwrap();
        Self {
            process,
            address: format!("http://127.0.0.1:{port}"),
            http,
            lines,
            _folder: folder,
        }
    }

    /// Asks for a path.
    ///
    /// # Panics
    /// When there is no answer at all.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, |request| request).await
    }

    /// Sends a request.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        shape: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Reply {
        let url = format!("{}{path}", self.address);
        let asked = format!("{method} {url}");
        let answer = shape(self.http.request(method, &url))
            .send()
            .await
            .unwrap_or_else(|error| panic!("{asked}: {error:?}\n{}", self.last_words()));
        let (status, headers) = (answer.status(), answer.headers().clone());
        Reply {
            asked,
            status,
            headers,
            text: answer.text().await.unwrap(),
        }
    }

    /// `data` of an answer that must be 200.
    ///
    /// # Panics
    /// When it is not.
    pub async fn data(&self, path: &str) -> Value {
        self.get(path).await.ok()["data"].clone()
    }

    /// Waits until an answer satisfies `check`.
    ///
    /// # Panics
    /// When none does in time.
    pub async fn until(
        &self,
        limit: Duration,
        path: &str,
        check: impl Fn(&Reply) -> bool,
    ) -> Reply {
        let last = Mutex::new(None);
        let found = wait_for(limit, || async {
            let reply = self.get(path).await;
            if check(&reply) {
                return Some(reply);
            }
            *last.lock().unwrap() = Some(reply);
            None
        })
        .await;
        found.unwrap_or_else(|| {
            panic!(
                "not within {limit:?}; the last answer: {last:#?}\n{}",
                self.last_words()
            )
        })
    }

    /// Last lines of output without request logs, to explain a failure.
    fn last_words(&self) -> String {
        let lines = self.lines.lock().unwrap();
        let telling = lines.iter().filter(|line| !line.contains("silo::access"));
        let telling: Vec<_> = telling.map(String::as_str).collect();
        telling[telling.len().saturating_sub(30)..].join("\n")
    }

    /// All log output so far.
    ///
    /// # Panics
    /// When a writer has panicked.
    #[must_use]
    pub fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The body, or null when it is not JSON.
    #[must_use]
    pub fn json_or_null(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A header, or nothing.
    ///
    /// # Panics
    /// When it is not text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body of an answer that must be 200.
    ///
    /// # Panics
    /// When it is not.
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:#?}");
        self.json()
    }

    /// Freshness of the answer, from `meta.state`.
    #[must_use]
    pub fn state(&self) -> String {
        self.json()["meta"]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// Checks that a service's API description contains exactly its routes, and that all its references resolve. Routes are read from the sources of two
/// tables: the service's own and the shared one.
///
/// # Panics
/// When they differ.
pub async fn assert_described(service: &Service, description: &str, table: &str) {
    let description = service.get(description).await.json();
    let version = description["openapi"].as_str().unwrap_or_default();
    assert!(version.starts_with("3.1"), "{version}");
    let paths = description["paths"].as_object().unwrap();
    let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    let sources = [table, "crates/silo-web/src/app.rs"];
    let texts = sources.map(|source| std::fs::read_to_string(workspace().join(source)).unwrap());
    let quoted = texts.iter().flat_map(|text| text.split('"'));
    let routed: BTreeSet<&str> = quoted
        .filter(|text| text.starts_with('/') && !text.contains('\n'))
        .collect();
    assert_eq!(described, routed);

    let text = description.to_string();
    let references = text.split(r##""$ref":"#"##).skip(1);
    let references: BTreeSet<_> = references
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(references.contains("/components/schemas/Problem"));
    for reference in references {
        let found = description.pointer(reference);
        assert!(found.is_some(), "{reference} is referred to and not there");
    }
    let goes_on = |path: &str| {
        let content = &paths[path]["get"]["responses"]["200"]["content"];
        content["text/event-stream"].is_object()
    };
    // Endless answers have tests of their own.
    for path in described.into_iter().filter(|path| !goes_on(path)) {
        let reply = service
            .get(&path.replace("{name}", "x").replace("{id}", "x"))
            .await;
        let code = reply.json_or_null()["code"].clone();
        assert_ne!(code, "not_found", "{path} is described and does not exist");
    }
}
