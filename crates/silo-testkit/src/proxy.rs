//! Proxy between a client and a server that injects faults.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The largest head of a request.
const LARGEST_HEAD: usize = 64 * 1024;

/// Fault injected into one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Forward the request.
    None,
    /// Forward the request after a delay.
    Delay(Duration),
    /// Answer with this head and body.
    Answer(String),
    /// The connection is cut before any answer.
    Reset,
    /// The answer's head and the first bytes of its body come, then nothing for as long as the client waits.
    Stall,
    /// Cut the answer in the middle, with the complete length in its header.
    Truncate,
    /// Forward the request and drop the answer.
    LoseAnswer,
    /// The answer comes with another entity tag than the server's.
    WrongTag,
}

impl Fault {
    /// An answer with this status line, content type and body.
    #[must_use]
    pub fn answer(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Answer(format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
    }

    /// S3's answer to too many requests.
    #[must_use]
    pub fn slow_down() -> Self {
        Self::answer(
            "503 Slow Down",
            "Content-Type: application/xml\r\nRetry-After: 0\r\n",
            "<Error><Code>SlowDown</Code></Error>",
        )
    }

    /// S3's error answer with status 200.
    #[must_use]
    pub fn error_with_200() -> Self {
        Self::answer(
            "200 OK",
            "Content-Type: application/xml\r\n",
            "<Error><Code>InternalError</Code></Error>",
        )
    }

    /// Answer of a captive portal: an HTML page with status 200.
    #[must_use]
    pub fn html() -> Self {
        Self::answer(
            "200 OK",
            "Content-Type: text/html\r\n",
            "<html><body><h1>Welcome</h1></body></html>",
        )
    }
}

/// Chooses what happens to a request: by its number from 0, and its first line.
pub type Choose = Arc<dyn Fn(u64, &str) -> Fault + Send + Sync>;

/// A running proxy. Dropping it stops it.
pub struct Proxy {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to the server at `url` (`http://127.0.0.1:1234`).
    ///
    /// # Errors
    /// When it cannot listen, or the URL has no such form.
    pub async fn start(
        url: &str,
        choose: impl Fn(u64, &str) -> Fault + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let target: SocketAddr = url
            .strip_prefix("http://")
            .and_then(|address| address.parse().ok())
            .ok_or(io::ErrorKind::InvalidInput)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicU64::new(0));
        let (choose, counter): (Choose, _) = (Arc::new(choose), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (choose, counter) = (Arc::clone(&choose), Arc::clone(&counter));
                // A connection that breaks is what this is for.
                tokio::spawn(async move { drop(serve(client, target, &choose, &counter).await) });
            }
        });
        Ok(Self {
            address,
            requests,
            task,
        })
    }

    /// URL of the proxy.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Number of requests seen.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one request per connection, which is closed after the answer.
async fn serve(
    mut client: TcpStream,
    target: SocketAddr,
    choose: &Choose,
    counter: &AtomicU64,
) -> io::Result<()> {
    let (head, rest) = read_head(&mut client).await?;
    let first_line = head.lines().next().unwrap_or_default();
    let number = counter.fetch_add(1, Ordering::SeqCst);
    let fault = choose(number, first_line);
    match &fault {
        Fault::Reset => {
            let reset = socket_reset(&client);
            drop(client);
            return reset;
        }
        Fault::Answer(answer) => {
            read_body(&mut client, &head, &rest).await?;
            client.write_all(answer.as_bytes()).await?;
            return client.shutdown().await;
        }
        Fault::Delay(pause) => tokio::time::sleep(*pause).await,
        _ => {}
    }
    let body = read_body(&mut client, &head, &rest).await?;
    let answer = forward(target, &head, &body).await?;
    let middle = body_start(&answer) + (answer.len() - body_start(&answer)) / 2;
    match fault {
        Fault::LoseAnswer => Ok(()),
        // An answer without a body, as to HEAD, has nothing to be cut.
        Fault::Truncate if body_start(&answer) < answer.len() => {
            // The length in the head is adjusted to the body sent, so that only the document is cut.
            client.write_all(&cut(&answer, middle)).await?;
            client.shutdown().await
        }
        Fault::Stall => {
            client.write_all(&answer[..middle]).await?;
            // Until the client gives up and closes.
            let mut nothing = [0; 1];
            client.read(&mut nothing).await.map(drop)
        }
        Fault::WrongTag => {
            client.write_all(&with_another_tag(&answer)).await?;
            client.shutdown().await
        }
        _ => {
            client.write_all(&answer).await?;
            client.shutdown().await
        }
    }
}

/// The same answer with an entity tag that nothing has.
fn with_another_tag(answer: &[u8]) -> Vec<u8> {
    let start = body_start(answer);
    let head = String::from_utf8_lossy(&answer[..start]);
    let tagged = |line: &str| {
        let is_tag = line.to_ascii_lowercase().starts_with("etag:");
        let line = if is_tag {
            "ETag: \"00000000000000000000000000000000\""
        } else {
            line
        };
        format!("{line}\r\n")
    };
    let mut changed: Vec<u8> = head.lines().map(tagged).collect::<String>().into_bytes();
    changed.extend_from_slice(&answer[start..]);
    changed
}

pub(crate) fn socket_reset(client: &TcpStream) -> io::Result<()> {
    // Closing with unread bytes and no lingering sends a reset.
    rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO))?;
    Ok(())
}

/// The head of a request as text, and the bytes after it.
pub(crate) async fn read_head(
    client: &mut (impl AsyncRead + Unpin),
) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        if bytes.len() > LARGEST_HEAD || client.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

pub(crate) async fn read_body(
    client: &mut (impl AsyncRead + Unpin),
    head: &str,
    rest: &[u8],
) -> io::Result<Vec<u8>> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = rest.to_vec();
    while body.len() < length.unwrap_or(0) {
        if client.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(body)
}

/// Forwards a request on a connection of its own, and returns the answer.
async fn forward(target: SocketAddr, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(target).await?;
    // HTTP/1.0 asks for an answer that ends with the connection and is not cut into chunks.
    let (first, others) = head.split_once("\r\n").unwrap_or((head, ""));
    let first = first.replace("HTTP/1.1", "HTTP/1.0");
    server
        .write_all(format!("{first}\r\n{others}").as_bytes())
        .await?;
    server.write_all(body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn body_start(answer: &[u8]) -> usize {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    end.map_or(answer.len(), |end| end + 4)
}

/// The first bytes of an answer, with a head that calls them all.
fn cut(answer: &[u8], until: usize) -> Vec<u8> {
    let start = body_start(answer);
    let head = String::from_utf8_lossy(&answer[..start]);
    let kept: String = head
        .lines()
        .filter(|line| {
            let line = line.to_ascii_lowercase();
            !line.is_empty() && !line.starts_with("content-length") && !line.starts_with("transfer")
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    let length = until.saturating_sub(start);
    let mut cut = format!("{kept}Content-Length: {length}\r\n\r\n").into_bytes();
    cut.extend_from_slice(&answer[start..until]);
    cut
}
