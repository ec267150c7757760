//! `silo-mongod certificate`: installs the certificate that Caddy has obtained for mongod, now and after every renewal.
//!
//! mongod needs key and chain in one file, and reloads it on `rotateCertificates`; open connections stay open. Until Caddy has a certificate, mongod
//! gets a self-signed one, because it would not start without any.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use silo_mongo::commands::Commands;
use silo_mongo::connect::connect;
use silo_mongo::error::DatabaseError;
use silo_mongo::mongodb::bson::doc;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::error::Error;
use crate::pem::Pair;
use crate::settings::Certificate as Settings;

/// The file that mongod reads.
const FILE: &str = "mongod.pem";
/// The file that clients on this machine read.
const AUTHORITIES: &str = "ca.pem";
/// CA bundle of Debian's and distroless's images.
const SYSTEM_CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Time to wait for Caddy's certificate at the start, before mongod gets a self-signed one.
const CADDY_WITHIN: Duration = Duration::from_secs(8);
/// Interval of checks for a new certificate.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// Share of a certificate's lifetime below which an error is logged: Caddy renews when a third is left.
const MIN_LIFE_LEFT: f64 = 1.0 / 6.0;
/// Time limit for an answer of mongod.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// mongod presents the newest certificate.
    Unchanged,
    /// The certificate was installed and mongod presents it.
    Reloaded,
    /// The certificate was installed but mongod does not present it yet, with the reason; the next check retries.
    Pending(String),
}

/// Checks for new certificates until `stop`.
///
/// # Errors
/// When mongod cannot get any certificate.
pub async fn run(settings: &Settings, stop: impl Future<Output = ()>) -> Result<(), Error> {
    install_first(settings).await?;
    tokio::pin!(stop);
    loop {
        match check(settings).await {
            Ok(CheckResult::Unchanged) => {}
            Ok(CheckResult::Reloaded) => log::info!("mongod answers with the new certificate"),
            Ok(CheckResult::Pending(reason)) => {
                log::warn!("mongod does not answer with its certificate yet: {reason}")
            }
            Err(error) => log::error!("{error}"),
        }
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
        }
    }
}

/// Provides a certificate for mongod's start, and the CA file for its clients.
///
/// # Errors
/// When the folders cannot be written to.
pub async fn install_first(settings: &Settings) -> Result<(), Error> {
    let began = Instant::now();
    let host = &settings.common.host;
    let pair = loop {
        match from_caddy(settings)? {
            Some((pair, _)) => break pair,
            None if began.elapsed() < CADDY_WITHIN => {
                tokio::time::sleep(Duration::from_millis(200)).await
            }
            None => match installed(settings)? {
                Some(installed) => break installed,
                None => {
                    log::warn!(
                        "Caddy has no certificate for {host} yet; mongod begins with one of our own"
                    );
                    break Pair::own(host).map_err(Error::tls("making a certificate"))?;
                }
            },
        }
    };
    install_certificate(settings, &pair)?;
    Ok(())
}

/// One check: installs a newer certificate, if there is one, and makes mongod present it.
///
/// # Errors
/// When a file cannot be read or written.
pub async fn check(settings: &Settings) -> Result<CheckResult, Error> {
    let installed = installed(settings)?;
    let newest = match from_caddy(settings)? {
        Some((pair, _)) => pair,
        None => match installed {
            Some(installed) => installed,
            None => Pair::own(&settings.common.host).map_err(Error::tls("making a certificate"))?,
        },
    };
    install_certificate(settings, &newest)?;
    if newest.life_left().is_ok_and(|left| left < MIN_LIFE_LEFT) {
        let host = &settings.common.host;
        log::error!(
            "the certificate of {host} expires soon and Caddy does not renew it; see Caddy's log"
        );
    }
    let wanted = newest
        .leaf()
        .map_err(Error::tls("reading the certificate"))?;
    match presented_certificate(settings).await {
        Ok(presented) if presented == wanted => return Ok(CheckResult::Unchanged),
        Ok(_) => {}
        Err(reason) => return Ok(CheckResult::Pending(reason)),
    }
    if let Err(reason) = rotate(settings).await {
        return Ok(CheckResult::Pending(reason));
    }
    Ok(match presented_certificate(settings).await {
        Ok(presented) if presented == wanted => CheckResult::Reloaded,
        Ok(_) => CheckResult::Pending("mongod still presents the previous certificate".into()),
        Err(reason) => CheckResult::Pending(reason),
    })
}

/// Health check: mongod has a certificate to start with, which the other services wait for.
#[must_use]
pub fn is_healthy(settings: &Settings) -> bool {
    let left = installed(settings)
        .ok()
        .flatten()
        .and_then(|pair| pair.life_left().ok());
    left.is_some_and(|left| left > 0.0) && settings.ca.join(AUTHORITIES).exists()
}

/// Caddy's newest certificate for the host, from any authority, and that authority's folder.
fn from_caddy(settings: &Settings) -> Result<Option<(Pair, PathBuf)>, Error> {
    let host = &settings.common.host;
    let mut newest: Option<(SystemTime, Pair, PathBuf)> = None;
    let folder = settings.caddy.join("certificates");
    let Ok(authorities) = std::fs::read_dir(&folder) else {
        return Ok(None);
    };
    for authority in authorities.filter_map(Result::ok) {
        let file = authority.path().join(host).join(host);
        let (chain, key) = (
            file.with_file_name(format!("{host}.crt")),
            file.with_file_name(format!("{host}.key")),
        );
        let read = |path: &Path| {
            std::fs::read(path).map_err(Error::io(format!("reading {}", path.display())))
        };
        let modified = match std::fs::metadata(&chain).and_then(|metadata| metadata.modified()) {
            Ok(modified) => modified,
            Err(_) => continue,
        };
        // Only one of the two files was replaced so far: retry at the next check.
        let Ok(Some(pair)) = Pair::read(&read(&chain)?, &read(&key)?) else {
            continue;
        };
        if newest
            .as_ref()
            .is_none_or(|(before, ..)| *before < modified)
        {
            newest = Some((modified, pair, authority.path()));
        }
    }
    Ok(newest.map(|(_, pair, folder)| (pair, folder)))
}

/// Certificate and key that mongod uses now.
fn installed(settings: &Settings) -> Result<Option<Pair>, Error> {
    let path = settings.tls.join(FILE);
    match std::fs::read(&path) {
        // A file that is not a certificate is replaced.
        Ok(file) => Ok(Pair::read(&file, &file).ok().flatten()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("reading {}", path.display()))(error)),
    }
}

/// Installs a certificate for mongod, and writes the CA file for its clients.
fn install_certificate(settings: &Settings, pair: &Pair) -> Result<(), Error> {
    let file = pair.file().map_err(Error::tls("writing the certificate"))?;
    write(&settings.tls.join(FILE), &file, 0o640)?;
    // Public authorities, Caddy's local authority, and a self-signed certificate itself.
    let mut trusted = std::fs::read(SYSTEM_CA_BUNDLE).unwrap_or_default();
    let local = settings.caddy.join("pki/authorities/local/root.crt");
    trusted.extend(std::fs::read(local).unwrap_or_default());
    if pair.is_own() {
        trusted.extend(
            pair.authority()
                .map_err(Error::tls("writing the certificate"))?,
        );
    }
    write(&settings.ca.join(AUTHORITIES), &trusted, 0o644)
}

/// Replaces a file atomically if its content differs.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    if std::fs::read(path).is_ok_and(|existing| existing == bytes) {
        return Ok(());
    }
    let io_error = || Error::io(format!("writing {}", path.display()));
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io_error())?;
    file.write_all(bytes).map_err(io_error())?;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(mode))
        .map_err(io_error())?;
    file.as_file().sync_all().map_err(io_error())?;
    file.persist(path)
        .map_err(|error| io_error()(error.error))?;
    Ok(())
}

/// The certificate that mongod presents in a TLS handshake, in DER.
async fn presented_certificate(settings: &Settings) -> Result<Vec<u8>, String> {
    let host = &settings.common.host;
    let handshake = async {
        let mut connector =
            SslConnector::builder(SslMethod::tls_client()).map_err(|error| error.to_string())?;
        // Verification is off, because expired and self-signed certificates must be seen too.
        connector.set_verify(SslVerifyMode::NONE);
        let ssl = connector
            .build()
            .configure()
            .and_then(|ssl| ssl.verify_hostname(false).into_ssl(host));
        let stream = TcpStream::connect((host.as_str(), settings.common.port))
            .await
            .map_err(|error| format!("it cannot be reached: {error}"))?;
        let ssl = ssl.map_err(|error| error.to_string())?;
        let mut stream = SslStream::new(ssl, stream).map_err(|error| error.to_string())?;
        std::pin::Pin::new(&mut stream)
            .connect()
            .await
            .map_err(|error| format!("it does not speak TLS: {error}"))?;
        let presented = stream
            .ssl()
            .peer_certificate()
            .and_then(|certificate| certificate.to_der().ok());
        presented.ok_or_else(|| "it showed no certificate".to_owned())
    };
    tokio::time::timeout(ANSWER_WITHIN, handshake)
        .await
        .unwrap_or_else(|_| Err("it does not answer".into()))
}

/// Makes mongod reload its certificate file.
async fn rotate(settings: &Settings) -> Result<(), String> {
    let client = connect(&settings.mongo, crate::NAME, Commands::default().into()).await;
    let client = client.map_err(|error| format!("MONGODB_CONNECTION_STRING {error}"))?;
    let reply = client
        .database("admin")
        .run_command(doc! { "rotateCertificates": 1, "message": "Caddy has a new one" })
        .await;
    reply.map(drop).map_err(|error| {
        format!(
            "rotateCertificates failed: {}",
            DatabaseError::from(&error).detail()
        )
    })
}
