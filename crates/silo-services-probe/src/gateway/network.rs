//! Names, addresses and connections.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::select_ok;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use crate::failure::{Failure, Phase};

/// How long connecting may take, all addresses of a name together.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);
/// How many addresses of one name are tried.
const TRIED: usize = 4;

/// The addresses behind a URL.
pub(super) async fn resolve(url: &Url, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
    let port = url.port_or_known_default().unwrap_or(80);
    let name = match url.host() {
        Some(Host::Ipv4(address)) => return Ok(vec![(address, port).into()]),
        Some(Host::Ipv6(address)) => return Ok(vec![(address, port).into()]),
        Some(Host::Domain(name)) => name,
        None => return Err(Failure::NameNotFound),
    };
    match timeout_at(deadline, lookup_host((name, port))).await {
        Ok(Ok(found)) => {
            let found: Vec<_> = found.take(TRIED).collect();
            (!found.is_empty())
                .then_some(found)
                .ok_or(Failure::NameNotFound)
        }
        Ok(Err(_)) => Err(Failure::NameNotFound),
        Err(_) => Err(Failure::TimedOut(Phase::Resolve)),
    }
}

/// A connection to the address that takes one first: a name of which one address is dead is not down.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, Failure> {
    let deadline = deadline.min(Instant::now() + CONNECT);
    let tries = addresses
        .iter()
        .map(|address| Box::pin(TcpStream::connect(*address)));
    match timeout_at(deadline, select_ok(tries)).await {
        Ok(Ok((stream, _others))) => {
            // Small requests are not to wait for one another.
            drop(stream.set_nodelay(true));
            Ok(stream)
        }
        Ok(Err(error)) => Err(failure_of(&error)),
        Err(_) => Err(Failure::TimedOut(Phase::Connect)),
    }
}

/// What an error of a socket is.
pub(super) fn failure_of(error: &Error) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Refused,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => Failure::Reset,
        ErrorKind::TimedOut => Failure::TimedOut(Phase::Connect),
        _ => Failure::Unreachable,
    }
}

/// Whether an address is inside a private network or means this machine: what a redirect must not lead to (RFC 6890, without what
/// is set aside for documentation).
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private_v4(v4),
            None => {
                let first = v6.segments()[0];
                v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    // Unique local, link-local, and IPv4 behind NAT64 or 6to4.
                    || first & 0xfe00 == 0xfc00
                    || first & 0xffc0 == 0xfe80
                    || first == 0x0064
                    || first == 0x2002
            }
        },
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || first == 0
        || first >= 240
        // Shared by the customers of one carrier.
        || (first == 100 && (64..128).contains(&second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_told_from_what_is_outside() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert!(is_private(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
        ] {
            assert!(!is_private(outside.parse().unwrap()), "{outside}");
        }
    }
}
