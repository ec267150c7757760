//! Failures of checks, by cause.

use std::fmt;

/// Step of a check, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking up the name.
    Resolve,
    /// Connecting.
    Connect,
    /// Agreeing on TLS.
    Tls,
    /// Waiting for the head of the answer.
    Answer,
    /// Reading its body.
    Body,
}

/// Problem with a certificate or with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate has expired, or is not valid yet.
    Expired,
    /// The certificate is for another name.
    WrongName,
    /// The certificate is not signed by a trusted authority.
    Untrusted,
    /// The other side does not speak TLS, or no version that is still allowed.
    Handshake,
}

/// Reason for not following a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectFault {
    /// More than three.
    TooMany,
    /// The redirect leads to a private or link-local address.
    Private,
    /// To nothing that can be asked.
    Malformed,
}

/// Cause of a failed check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// DNS answered that the name does not exist.
    NameNotFound,
    /// No DNS server answered, or it failed.
    ResolverFailed,
    /// The connection was refused.
    Refused,
    /// There is no way there.
    Unreachable,
    /// The connection was cut before the answer was whole.
    Reset,
    /// TLS.
    Tls(TlsFault),
    /// Timeout, with the step in which it happened.
    TimedOut(Phase),
    /// A status that is not well.
    Status(u16),
    /// A redirect that is not followed.
    Redirect(RedirectFault),
    /// The answer is not one of this kind of service.
    Body(String),
}

impl Failure {
    /// A stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NameNotFound => "name_not_found",
            Self::ResolverFailed => "resolver_failed",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Tls(TlsFault::Expired) => "tls_expired",
            Self::Tls(TlsFault::WrongName) => "tls_wrong_name",
            Self::Tls(TlsFault::Untrusted) => "tls_untrusted",
            Self::Tls(TlsFault::Handshake) => "tls_handshake",
            Self::TimedOut(Phase::Resolve) => "timed_out_resolving",
            Self::TimedOut(Phase::Connect) => "timed_out_connecting",
            Self::TimedOut(Phase::Tls) => "timed_out_tls",
            Self::TimedOut(Phase::Answer) => "timed_out_answering",
            Self::TimedOut(Phase::Body) => "timed_out_reading",
            Self::Status(_) => "status",
            Self::Redirect(_) => "redirect",
            Self::Body(_) => "body",
        }
    }

    /// `true` if nothing came back from the network, not even a refusal: the prober itself may be offline.
    #[must_use]
    pub fn is_network_error(&self) -> bool {
        matches!(
            self,
            Self::ResolverFailed
                | Self::Unreachable
                | Self::TimedOut(Phase::Resolve | Phase::Connect)
        )
    }
}

/// One sentence for people.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameNotFound => f.write_str("its name is not known to DNS"),
            Self::ResolverFailed => {
                f.write_str("its name could not be looked up: DNS did not answer")
            }
            Self::Refused => f.write_str("connection refused: nothing listens at its address"),
            Self::Unreachable => f.write_str("there is no route to its address"),
            Self::Reset => f.write_str("it closed the connection during the response"),
            Self::Tls(TlsFault::Expired) => {
                f.write_str("its certificate is not valid at this time")
            }
            Self::Tls(TlsFault::WrongName) => f.write_str("its certificate is for another name"),
            Self::Tls(TlsFault::Untrusted) => {
                f.write_str("its certificate is not signed by a trusted authority")
            }
            Self::Tls(TlsFault::Handshake) => f.write_str("the TLS handshake failed"),
            Self::TimedOut(phase) => {
                let step = match phase {
                    Phase::Resolve => "looking up its name",
                    Phase::Connect => "connecting",
                    Phase::Tls => "the TLS handshake",
                    Phase::Answer => "waiting for its answer",
                    Phase::Body => "reading its answer",
                };
                write!(f, "it took too long while {step}")
            }
            Self::Status(status) => write!(f, "it answered with status {status}"),
            Self::Redirect(RedirectFault::TooMany) => {
                f.write_str("it redirected more than three times")
            }
            Self::Redirect(RedirectFault::Private) => {
                f.write_str("it redirected into a private network, which is not followed")
            }
            Self::Redirect(RedirectFault::Malformed) => {
                f.write_str("its redirect location is invalid")
            }
            Self::Body(why) => write!(f, "{why}"),
        }
    }
}
