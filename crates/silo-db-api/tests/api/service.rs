//! The service under test: its own binary, on a port of its own, against a server that the test started.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use mongodb::Database;
use mongodb::bson::Document;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use silo_testkit::demo::Demo;
use silo_testkit::mongo::{Kind, MongoServer};
use silo_testkit::process::Process;
use silo_testkit::wait::wait_for;
use tokio::process::Command;

pub(crate) const DATABASE: &str = "aesthetic";
/// 38 collections, some 2,600 documents.
const SCALE: f64 = 0.02;

/// A running silo-db-api.
pub(crate) struct Service {
    pub(crate) process: Process,
    address: String,
    http: reqwest::Client,
    lines: Arc<Mutex<Vec<String>>>,
}

/// An answer, with what is needed to explain a failure.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) asked: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Service {
    /// Starts it and waits until it listens; mongod need not be there.
    pub(crate) async fn start(uri: &str) -> Self {
        Self::start_with(uri, &[]).await
    }

    pub(crate) async fn start_with(uri: &str, more: &[(&str, &str)]) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let mut command = command();
        command
            .env("MONGODB_CONNECTION_STRING", uri)
            .env("MONGODB_NAME", DATABASE)
            .env("BIND", "127.0.0.1:0")
            .envs(more.iter().copied());
        let sink = Arc::new(move |line: &str| kept.lock().unwrap().push(line.to_owned()));
        let mut process = Process::start("silo-db-api", command, Some(sink)).unwrap();
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
            .build()
            .unwrap();
        Self {
            process,
            address: format!("http://127.0.0.1:{port}"),
            http,
            lines,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, |request| request).await
    }

    pub(crate) async fn send(
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
    pub(crate) async fn data(&self, path: &str) -> Value {
        self.get(path).await.ok()["data"].clone()
    }

    /// Waits until an answer satisfies `check`.
    pub(crate) async fn until(
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

    /// Its last lines without those of requests, to explain a failure.
    fn last_words(&self) -> String {
        let lines = self.lines.lock().unwrap();
        let telling = lines.iter().filter(|line| !line.contains("silo::access"));
        let telling: Vec<_> = telling.map(String::as_str).collect();
        telling[telling.len().saturating_sub(30)..].join("\n")
    }

    /// Everything it has written so far.
    pub(crate) fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// How often it has sent a command to mongod, by its own count of the driver's events.
    pub(crate) async fn commands(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").await.text;
        let line = format!("silo_mongo_commands_total{{command=\"{name}\"}} ");
        let count = metrics.lines().find_map(|found| found.strip_prefix(&line));
        count.map_or(0, |count| count.trim().parse().unwrap())
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The body, or null when it is not JSON.
    pub(crate) fn json_or_null(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body of an answer that must be 200.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:#?}");
        self.json()
    }

    pub(crate) fn state(&self) -> String {
        self.json()["meta"]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// The built binary, with nothing of this shell's settings.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_silo-db-api"));
    command.env_clear();
    command
}

/// A server with sign-in and the demo data in it.
pub(crate) async fn demo_server(kind: Kind) -> (MongoServer, Demo) {
    let mut server = MongoServer::start(kind).await.unwrap();
    let demo = Demo::new(7, SCALE, Timestamp::now());
    demo.load(&database(&server).await, |_, _, _| {})
        .await
        .unwrap();
    server.require_users(DATABASE).await.unwrap();
    (server, demo)
}

/// The database, for somebody who may do everything.
pub(crate) async fn database(server: &MongoServer) -> Database {
    server.client().await.unwrap().database(DATABASE)
}

/// The documents of one collection as they were generated.
pub(crate) fn documents(demo: &Demo, name: &str) -> Vec<Document> {
    let plan = Demo::plans().find(|plan| plan.name == name).unwrap();
    demo.documents(plan).collect()
}
