//! `silo-<service> healthcheck`: whether the process that listens beside this one lives. For containers, which have no shell and no curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// Command-line argument for a health check.
pub const VERB: &str = "healthcheck";
/// Time limit for connecting, and for the answer.
const WITHIN: Duration = Duration::from_secs(2);

/// `true` if the first command-line argument is `healthcheck`.
#[must_use]
pub fn is_asked() -> bool {
    std::env::args().nth(1).as_deref() == Some(VERB)
}

/// Requests `/healthz` of the service with the setting `bind`, over the loopback interface if that means all addresses.
#[must_use]
pub fn ask(bind: SocketAddr) -> ExitCode {
    if answers(bind).unwrap_or(false) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn answers(bind: SocketAddr) -> std::io::Result<bool> {
    let host = if bind.ip().is_unspecified() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        bind.ip()
    };
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(host, bind.port()), WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(&status == b"HTTP/1.1 200")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_status_200_is_healthy() {
        for (answer, well) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            ("", false),
        ] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 16];
                stream.read_exact(&mut asked).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            });
            assert_eq!(answers(address).unwrap_or(false), well, "{answer}");
            server.join().unwrap();
            assert!(answers(address).is_err(), "nobody listens any more");
        }
    }
}
