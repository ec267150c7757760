//! TLS handshake, and the certificate's expiry, also for a refused certificate.

use std::sync::{Arc, Mutex, PoisonError};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::X509VerifyResult;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_openssl::SslStream;

use super::dialer::failure_of;
use crate::failure::{Failure, Phase, TlsFault};

/// Result of the TLS handshake: the connection or the failure, and the days until the certificate expires if one was received.
pub(super) struct Secured {
    pub(super) stream: Result<SslStream<TcpStream>, Failure>,
    pub(super) certificate_days: Option<i64>,
}

/// Certificate details recorded during verification.
#[derive(Default)]
struct CertificateDetails {
    days: Option<i64>,
    fault: Option<TlsFault>,
}

/// Connector with the machine's trusted certificate authorities, for TLS 1.2 or later.
pub(super) fn connector() -> Result<SslConnector, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    Ok(builder.build())
}

/// Agrees on TLS with a service of this name.
pub(super) async fn secure(
    connector: &SslConnector,
    host: &str,
    stream: TcpStream,
    deadline: Instant,
) -> Secured {
    let seen = Arc::<Mutex<CertificateDetails>>::default();
    let handshake = handshake(connector, host, stream, Arc::clone(&seen));
    let outcome = timeout_at(deadline, handshake).await;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let stream = match (outcome, seen.fault) {
        (Ok(Ok(stream)), _) => Ok(stream),
        (Ok(Err(_)), Some(fault)) => Err(Failure::Tls(fault)),
        (Ok(Err(failure)), None) => Err(failure),
        (Err(_), _) => Err(Failure::TimedOut(Phase::Tls)),
    };
    Secured {
        stream,
        certificate_days: seen.days,
    }
}

async fn handshake(
    connector: &SslConnector,
    host: &str,
    stream: TcpStream,
    seen: Arc<Mutex<CertificateDetails>>,
) -> Result<SslStream<TcpStream>, Failure> {
    let unusable = |_: ErrorStack| Failure::Tls(TlsFault::Handshake);
    let mut asked = connector.configure().map_err(unusable)?;
    asked.set_verify_callback(SslVerifyMode::PEER, move |ok, context| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if context.error_depth() == 0
            && let Some(certificate) = context.current_cert()
        {
            seen.days = days_until(certificate.not_after());
        }
        if !ok {
            seen.fault = Some(fault_of(context.error()));
        }
        ok
    });
    // A host in brackets is an IPv6 address, which certificates name without them.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ssl = asked.into_ssl(host).map_err(unusable)?;
    let mut stream = SslStream::new(ssl, stream).map_err(unusable)?;
    match std::pin::Pin::new(&mut stream).connect().await {
        Ok(()) => Ok(stream),
        Err(error) => Err(error
            .io_error()
            .map_or(Failure::Tls(TlsFault::Handshake), failure_of)),
    }
}

fn days_until(time: &Asn1TimeRef) -> Option<i64> {
    let now = Asn1Time::days_from_now(0).ok()?;
    let left = now.diff(time).ok()?;
    // Less than a day past is past.
    let past = i64::from(left.secs < 0);
    Some(i64::from(left.days) - past)
}

fn fault_of(result: X509VerifyResult) -> TlsFault {
    // The numbers are OpenSSL's X509_V_ERR_*, which the crate does not name.
    match result.as_raw() {
        9 | 10 => TlsFault::Expired,
        62 | 64 => TlsFault::WrongName,
        _ => TlsFault::Untrusted,
    }
}
