//! Simulators of aesthetic.computer's own services, which cannot run here. They answer like the real ones with made-up figures, can be made to hang,
//! fail or answer with other content, and record the requests.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openssl::ssl::{Ssl, SslAcceptor};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_openssl::SslStream;

use crate::proxy::{read_body, read_head, socket_reset};

mod answers;

pub use answers::Role;

/// Behaviour of a simulated service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Normal,
    /// Accept the request and never answer.
    Hang,
    /// Answer correctly after a delay.
    Slow(Duration),
    /// Answer with this status and a useless body.
    Fail(u16),
    /// Reset the connection.
    Reset,
    /// Answer 200 with this content type and body.
    Respond(&'static str, String),
    /// Redirect to this address.
    Redirect(String),
    /// Answer 200 with an endless body.
    Endless,
    /// Answer 200 and send nothing of the promised body.
    Stall,
    /// Answer 200 and send the body byte by byte.
    Drip,
}

impl Behaviour {
    /// Ten megabytes of JSON.
    #[must_use]
    pub fn huge() -> Self {
        let filling = "x".repeat(10_000_000);
        Self::Respond("application/json", format!("{{\"filling\":\"{filling}\"}}"))
    }

    /// A page for people.
    #[must_use]
    pub fn html() -> Self {
        let page = "<!doctype html><html><body><h1>Welcome</h1></body></html>";
        Self::Respond("text/html", page.into())
    }

    /// Answer of a Silo service, fresh, as of 2026-01-01.
    #[must_use]
    pub fn silo_service(data: &serde_json::Value) -> Self {
        let meta = serde_json::json!({"asOf": "2026-01-01T00:00:00Z", "ttlMs": 1000, "state": "fresh", "errors": []});
        let body = serde_json::json!({"data": data, "meta": meta});
        Self::Respond("application/json", body.to_string())
    }

    /// Behaviour named by a word, as sent to a running simulator.
    fn from_word(word: &str) -> Option<Self> {
        match word {
            "normal" => Some(Self::Normal),
            "hang" => Some(Self::Hang),
            "slow" => Some(Self::Slow(Duration::from_millis(1500))),
            "fail" => Some(Self::Fail(500)),
            "reset" => Some(Self::Reset),
            "html" => Some(Self::html()),
            _ => None,
        }
    }
}

/// A running simulator. Dropping it stops it. `PUT /_behaviour/{normal,hang,slow,fail,reset,html}` changes how it behaves, from outside.
pub struct Simulator {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    role: Role,
    behaviour: Mutex<Behaviour>,
    requests: AtomicU64,
    received: Mutex<Vec<Received>>,
}

/// Request received by a simulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The method and the path, separated by a blank.
    pub line: String,
    /// The body.
    pub body: String,
}

impl Simulator {
    /// Starts one.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(role: Role) -> io::Result<Self> {
        Self::serve(role, None, (Ipv4Addr::LOCALHOST, 0)).await
    }

    /// Starts one at an address of its own, for a stack whose parts find each other by fixed ports.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start_at(role: Role, address: (Ipv4Addr, u16)) -> io::Result<Self> {
        Self::serve(role, None, address).await
    }

    /// Starts one that speaks TLS.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start_tls(role: Role, tls: SslAcceptor) -> io::Result<Self> {
        Self::serve(role, Some(tls), (Ipv4Addr::LOCALHOST, 0)).await
    }

    async fn serve(
        role: Role,
        tls: Option<SslAcceptor>,
        address: (Ipv4Addr, u16),
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            role,
            behaviour: Mutex::new(Behaviour::Normal),
            requests: AtomicU64::new(0),
            received: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                // A client may disconnect early.
                tokio::spawn(async move { drop(shared.welcome(client, tls).await) });
            }
        });
        Ok(Self {
            address,
            scheme,
            shared,
            task,
        })
    }

    /// URL of the simulator.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Changes how it behaves, from the next question on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.behave(behaviour);
    }

    /// The requests that it has received so far, in their order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Number of requests received.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn behave(&self, behaviour: Behaviour) {
        *self
            .behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    fn behaviour(&self) -> Behaviour {
        self.behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn welcome(&self, client: TcpStream, tls: Option<SslAcceptor>) -> io::Result<()> {
        let Some(tls) = tls else {
            if self.behaviour() == Behaviour::Reset {
                self.requests.fetch_add(1, Ordering::SeqCst);
                return socket_reset(&client);
            }
            return self.talk(client).await;
        };
        let ssl = Ssl::new(tls.context())?;
        let mut stream = SslStream::new(ssl, client)?;
        let accepted = Pin::new(&mut stream).accept().await;
        accepted.map_err(io::Error::other)?;
        self.talk(stream).await
    }

    /// One connection, one question.
    async fn talk(&self, mut client: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let (head, rest) = read_head(&mut client).await?;
        let mut words = head.split(' ');
        let (method, path) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        if let ("PUT", Some(word)) = (method, path.strip_prefix("/_behaviour/")) {
            let behaviour = Behaviour::from_word(word);
            let answer = if behaviour.is_some() {
                answer("204 No Content", "", "")
            } else {
                answer("404 Not Found", "", "")
            };
            behaviour
                .into_iter()
                .for_each(|behaviour| self.behave(behaviour));
            return send(client, &answer).await;
        }
        let body = read_body(&mut client, &head, &rest).await?;
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Received {
                line: format!("{method} {path}"),
                body: String::from_utf8_lossy(&body).into_owned(),
            });
        self.requests.fetch_add(1, Ordering::SeqCst);
        let usual = || match self.role.answer(path) {
            Some(body) => answer("200 OK", "Content-Type: application/json\r\n", &body),
            None => answer(
                "404 Not Found",
                "Content-Type: application/json\r\n",
                "{\"error\":\"Not found\"}",
            ),
        };
        match self.behaviour() {
            Behaviour::Normal => send(client, &usual()).await,
            Behaviour::Slow(pause) => {
                tokio::time::sleep(pause).await;
                send(client, &usual()).await
            }
            Behaviour::Fail(status) => {
                let text = format!("{status} Failed");
                send(
                    client,
                    &answer(
                        &text,
                        "Content-Type: application/json\r\n",
                        "{\"error\":\"it failed\"}",
                    ),
                )
                .await
            }
            Behaviour::Respond(kind, body) => {
                let kind = format!("Content-Type: {kind}\r\n");
                send(client, &answer("200 OK", &kind, &body)).await
            }
            Behaviour::Redirect(location) => {
                let location = format!("Location: {location}\r\n");
                send(client, &answer("301 Moved Permanently", &location, "")).await
            }
            Behaviour::Endless => {
                client.write_all(HEAD_OF_A_BODY).await?;
                loop {
                    client.write_all(&[b' '; 4096]).await?;
                }
            }
            Behaviour::Drip => {
                client.write_all(HEAD_OF_A_BODY).await?;
                loop {
                    client.write_all(b" ").await?;
                    client.flush().await?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Behaviour::Stall => {
                client.write_all(HEAD_OF_A_BODY).await?;
                client.read(&mut [0; 1]).await.map(drop)
            }
            Behaviour::Reset => Ok(()),
            // Until the client gives up and closes.
            Behaviour::Hang => client.read(&mut [0; 1]).await.map(drop),
        }
    }
}

/// The head of an answer whose body ends with the connection.
const HEAD_OF_A_BODY: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

async fn send(mut client: impl AsyncWrite + Unpin, answer: &str) -> io::Result<()> {
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}
