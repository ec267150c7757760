//! Redis' protocol (RESP 2), as much of it as `AUTH`, `PING` and `INFO` need. Source: redis.io, "Redis serialization protocol specification".

use bytes::Bytes;
use silo_core::secret::Secret;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::dialer::failure_of;
use crate::failure::Failure;

/// The longest line of a reply, in bytes.
const MAX_LINE: u64 = 512;
/// The largest text of `INFO`, in bytes.
const MAX_INFO: usize = 256 * 1024;

/// User and password.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The user; `default` where there are no users.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// Signs in, checks that the server answers `PING`, and returns the text of `INFO`.
pub(super) async fn info<S>(stream: S, sign_in: Option<&SignIn>) -> Result<Bytes, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    if let Some(SignIn { user, password }) = sign_in {
        let password = password.expose();
        let answer = ask(&mut stream, &["AUTH", user, password]).await?;
        expect(&answer, b"+OK", "it did not accept the user and password")?;
    }
    let answer = ask(&mut stream, &["PING"]).await?;
    if answer.starts_with(b"-NOAUTH") {
        let detail = "it requires a password: set password_file of this probe";
        return Err(Failure::Body(detail.into()));
    }
    expect(&answer, b"+PONG", "it does not answer PING with PONG")?;
    let answer = ask(&mut stream, &["INFO"]).await?;
    let unexpected = || Failure::Body("it does not answer INFO".into());
    let length = answer.strip_prefix(b"$").and_then(|length| {
        let length = std::str::from_utf8(length).ok()?;
        length.parse().ok().filter(|length| *length <= MAX_INFO)
    });
    let mut text = vec![0; length.ok_or_else(unexpected)?];
    stream
        .read_exact(&mut text)
        .await
        .map_err(|error| failure_of(&error))?;
    Ok(text.into())
}

/// Sends a command, and returns the first line of the reply without its end.
async fn ask<S>(stream: &mut BufReader<S>, words: &[&str]) -> Result<Vec<u8>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    let broken = |error: std::io::Error| failure_of(&error);
    stream.write_all(command.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut line = Vec::new();
    let mut limited = stream.take(MAX_LINE);
    limited.read_until(b'\n', &mut line).await.map_err(broken)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(line.to_vec()),
        None if line.is_empty() => Err(Failure::Reset),
        None => Err(Failure::Body("its answer is not Redis' protocol".into())),
    }
}

fn expect(answer: &[u8], wanted: &[u8], otherwise: &str) -> Result<(), Failure> {
    if answer == wanted {
        Ok(())
    } else {
        // The answer itself is foreign text, so it is not repeated.
        Err(Failure::Body(otherwise.into()))
    }
}
