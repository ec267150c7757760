//! Names, addresses and connections.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::select_ok;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use crate::failure::{Failure, Phase, RedirectFault};

/// Time limit for connecting, for all addresses of a name together.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);
/// Most addresses of one name that are tried.
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
        Ok(Err(error)) => Err(lookup_failure(&error.to_string())),
        Err(_) => Err(Failure::TimedOut(Phase::Resolve)),
    }
}

/// Texts of `gai_strerror` for `EAI_NONAME` and `EAI_NODATA`, of glibc and of musl. std has no code for errors of a lookup.
const NO_SUCH_NAME: [&str; 4] = [
    "Name or service not known",
    "No address associated with hostname",
    "Name does not resolve",
    "Name has no usable address",
];

fn lookup_failure(text: &str) -> Failure {
    if NO_SUCH_NAME.iter().any(|known| text.contains(known)) {
        Failure::NameNotFound
    } else {
        Failure::ResolverFailed
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
            // Without Nagle's algorithm, which delays small requests.
            drop(stream.set_nodelay(true));
            Ok(stream)
        }
        Ok(Err(error)) => Err(failure_of(&error)),
        Err(_) => Err(Failure::TimedOut(Phase::Connect)),
    }
}

/// Maps a socket error to a failure.
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

/// Reachability of a URL's addresses: public or private.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressScope {
    /// At least one address is on the internet.
    Public,
    /// All addresses are in a private network or of this machine.
    Private,
}

impl AddressScope {
    /// A name with addresses of both kinds is public: from there nothing private may be reached.
    pub(super) fn of(addresses: &[SocketAddr]) -> Self {
        if addresses.iter().all(|address| is_private(address.ip())) {
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// Addresses that may be connected to. `first` is the reachability of the check's first URL; `None` for that URL itself, which comes from the
/// settings and may have any address. A redirect from a public address may lead to public ones only, and none may lead to a link-local address, where
/// cloud providers serve their metadata (169.254.169.254).
pub(super) fn allowed(
    first: Option<AddressScope>,
    addresses: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, Failure> {
    let Some(first) = first else {
        return Ok(addresses);
    };
    let may = |address: &SocketAddr| match first {
        AddressScope::Public => !is_private(address.ip()),
        AddressScope::Private => !is_link_local(address.ip()),
    };
    // All of them, because any address of a name may be used.
    if addresses.iter().all(may) {
        Ok(addresses)
    } else {
        Err(Failure::Redirect(RedirectFault::Private))
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// `true` for an address in a private network or of this machine, which a redirect must not lead to (RFC 6890, without the documentation ranges).
fn is_private(address: IpAddr) -> bool {
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
    fn a_redirect_leads_from_public_to_public_and_never_to_metadata() {
        let (public, private) = ("1.1.1.1:443", "127.0.0.1:7104");
        let (metadata, metadata_v6) = ("169.254.169.254:80", "[fe80::a9fe:a9fe]:80");
        for (first, then, is_allowed) in [
            (&[public][..], &[public][..], true),
            (&[public], &[private], false),
            (&[public], &[public, private], false),
            (&[public], &[metadata], false),
            // Of a name with both, one might be connected to and the other trusted.
            (&[public, private], &[private], false),
            (&[private], &[private], true),
            (&[private], &[public], true),
            (&[private], &[metadata], false),
            (&[private], &[private, metadata_v6], false),
        ] {
            let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            let first_addresses: Vec<SocketAddr> = allowed(None, parse(first)).unwrap();
            let second = allowed(Some(AddressScope::of(&first_addresses)), parse(then));
            assert_eq!(second.is_ok(), is_allowed, "{first:?}, then {then:?}");
            if let Err(refused) = second {
                assert_eq!(refused, Failure::Redirect(RedirectFault::Private));
            }
        }
        let configured = allowed(None, vec![metadata.parse().unwrap()]);
        assert!(configured.is_ok(), "the settings may name any address");
    }

    #[tokio::test]
    async fn a_name_with_one_dead_address_is_not_down() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = listener.local_addr().unwrap();
        let dead: SocketAddr = (std::net::Ipv6Addr::LOCALHOST, alive.port()).into();
        let deadline = Instant::now() + Duration::from_secs(10);
        let stream = connect(&[dead, alive], deadline).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
        let none = connect(&[dead], deadline).await;
        assert!(none.is_err(), "{none:?}");
    }

    #[test]
    fn a_name_that_does_not_exist_is_no_failure_of_the_resolver() {
        let known = "failed to lookup address information: Name or service not known";
        assert_eq!(lookup_failure(known), Failure::NameNotFound);
        for text in ["Temporary failure in name resolution", "System error"] {
            assert_eq!(lookup_failure(text), Failure::ResolverFailed);
        }
    }

    #[test]
    fn private_and_public_addresses_are_distinguished() {
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
