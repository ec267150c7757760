//! Access control.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use reqwest::{Client, Method};
use silo_testkit::wait::wait_for;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::droplet::compose::{Droplet, SIGN_IN, SITE};

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"];
/// Headers that every answer has.
const HEADERS: [&str; 6] = [
    "content-security-policy",
    "strict-transport-security",
    "x-content-type-options",
    "referrer-policy",
    "permissions-policy",
    "x-request-id",
];

/// Existing paths, and paths that an attacker would try.
fn paths() -> Vec<String> {
    let known = [
        "/",
        "/main.js",
        "/db",
        "/db/",
        "/db/db/aesthetic/users",
        "/db/public/css/style.css",
        "/db/public/css/nothing.css",
        "/api/overview",
        "/api/db/collections",
        "/api/db/users/count",
        "/api/storage/usage",
        "/api/storage/rescan",
        "/api/services",
        "/api/services/events",
        "/api/services/oven/badge.svg",
        "/api/backup/status",
        "/api/backup/run",
        "/api/kidlisp/stats",
        "/version",
        "/metrics",
        "/readyz",
        "/gate/sign-in",
        "/gate/reading",
        "/oauth2/auth",
        "/.env",
        "/Caddyfile",
    ];
    let mut paths: Vec<String> = known.iter().map(|path| (*path).to_owned()).collect();
    let mut random = SmallRng::seed_from_u64(500);
    while paths.len() < 500 {
        let base = known[random.random_range(0..known.len())];
        let written: String = base
            .chars()
            .map(|letter| match random.random_range(0..12) {
                0 if letter != '/' => format!("%{:02x}", u32::from(letter)),
                1 => letter.to_ascii_uppercase().to_string(),
                2 if letter == '/' => "//".into(),
                3 if letter == '/' => "/./".into(),
                4 if letter == '/' => "/healthz/../".into(),
                5 if letter == '/' => "/status.txt/%2e%2e/".into(),
                6 if letter == '/' => "/db/public/%2e%2e/%2e%2e/".into(),
                _ => letter.to_string(),
            })
            .collect();
        let end = [
            "",
            "/",
            "?x=1",
            "%00",
            ";/healthz",
            "?/healthz",
            "/status.txt",
        ][random.random_range(0..7)];
        paths.push(format!("{written}{end}"));
    }
    paths
}

/// Paths tried concurrently.
const AT_ONCE: usize = 8;

pub(super) async fn is_refused(droplet: &Droplet<'_>) -> Result<()> {
    let paths = paths();
    let tried = stream::iter(&paths).map(|path| async move {
        let mut answers = Vec::new();
        for method in METHODS {
            answers.push((method, raw(droplet.https, method, path).await?));
        }
        Ok::<_, anyhow::Error>((path, answers))
    });
    let tried: Vec<_> = tried.buffer_unordered(AT_ONCE).try_collect().await?;
    let mut refused = 0;
    for (path, answers) in tried {
        for (method, status) in answers {
            // Caddy rejects malformed requests with 400. A path that resolves to a public one is public; silo-gate refuses unusual
            // spellings of mongo-express's.
            let open = is_open(path) && matches!(status, 200 | 403 | 404 | 405);
            ensure!(
                matches!(status, 401 | 400) || open,
                "{method} {path} without signing in: {status}"
            );
            refused += usize::from(status == 401);
        }
    }
    ensure!(
        refused > 2500,
        "only {refused} of 3000 were refused for want of a password"
    );
    for path in ["/healthz", "/status.txt"] {
        let status = raw(droplet.https, "GET", path).await?;
        ensure!(status == 200, "{path}: {status}");
    }
    Ok(())
}

/// `true` if a path resolves to a public path, after dots and doubled slashes.
fn is_open(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .to_lowercase();
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    matches!(
        segments[..],
        ["healthz" | "status.txt"] | ["db", "public", "css", "style.css"]
    )
}

/// The status of a request that is sent as it is written: a client for people would tidy the path up.
async fn raw(port: u16, method: &str, path: &str) -> Result<u16> {
    // Made once: it reads every certificate authority of this machine.
    static CONNECTOR: OnceLock<SslConnector> = OnceLock::new();
    let connector = match CONNECTOR.get() {
        Some(connector) => connector,
        None => {
            let mut connector = SslConnector::builder(SslMethod::tls_client())?;
            // Certificate verification is tested elsewhere.
            connector.set_verify(SslVerifyMode::NONE);
            CONNECTOR.get_or_init(|| connector.build())
        }
    };
    let ssl = connector
        .configure()?
        .verify_hostname(false)
        .into_ssl(SITE)?;
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut stream = SslStream::new(ssl, stream)?;
    std::pin::Pin::new(&mut stream).connect().await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    let text = String::from_utf8_lossy(&head).into_owned();
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|status| status.parse().ok());
    status.with_context(|| format!("{method} {path}: {text}"))
}

pub(super) async fn is_safe(droplet: &Droplet<'_>) -> Result<()> {
    let client = droplet.client().await?;
    let (user, password) = SIGN_IN;
    for (path, status) in [
        ("/", 200),
        ("/main.js", 200),
        ("/nothing.js", 404),
        ("/api/overview", 200),
        ("/api/nothing", 404),
        ("/api/storage/rescan", 405),
        ("/db/", 200),
        ("/db/checkValid", 403),
        ("/healthz", 200),
    ] {
        let signed_in = droplet
            .ask(&client, Method::GET, path)
            .basic_auth(user, Some(password))
            .send()
            .await?;
        ensure!(
            signed_in.status() == status,
            "{path}: {}",
            signed_in.status()
        );
        let nobody = droplet.ask(&client, Method::GET, path).send().await?;
        for answer in [signed_in, nobody] {
            for name in HEADERS {
                ensure!(
                    answer.headers().contains_key(name),
                    "{path} {}: no {name}",
                    answer.status()
                );
            }
            for name in ["server", "x-powered-by", "via"] {
                ensure!(
                    !answer.headers().contains_key(name),
                    "{path} {}: {name}",
                    answer.status()
                );
            }
        }
    }
    let plain = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .resolve(SITE, ([127, 0, 0, 1], droplet.http).into())
        .build()?;
    let redirected = plain
        .get(format!("http://{SITE}:{}/", droplet.http))
        .send()
        .await?;
    ensure!(
        redirected.status() == 308,
        "without TLS: {}",
        redirected.status()
    );
    for (version, good) in [
        ("-tls1", false),
        ("-tls1_1", false),
        ("-tls1_2", true),
        ("-tls1_3", true),
    ] {
        let spoken = handshake(droplet.https, version).await?;
        ensure!(spoken == good, "Caddy and {version}: {spoken}");
    }
    Ok(())
}

/// `true` if a port accepts this version of TLS, with any cipher that OpenSSL still has.
pub(super) async fn handshake(port: u16, version: &str) -> Result<bool> {
    let address = format!("127.0.0.1:{port}");
    let spoken = crate::droplet::engine::command(&[
        "openssl",
        "s_client",
        "-connect",
        &address,
        "-servername",
        SITE,
        version,
        "-cipher",
        "ALL:@SECLEVEL=0",
        "-verify_quiet",
    ])
    .output()
    .await?;
    Ok(spoken.status.success())
}

pub(super) async fn is_slow(droplet: &Droplet<'_>) -> Result<()> {
    let client = droplet.client().await?;
    let (user, password) = SIGN_IN;
    let sign_in = async || {
        let asked = droplet.ask(&client, Method::GET, "/api/overview");
        let answer = asked.basic_auth(user, Some(password)).send().await?;
        Ok::<_, anyhow::Error>(answer.status())
    };
    let first = sign_in().await?;
    ensure!(first == 200, "the right password: {first}");
    let began = Instant::now();
    let mut statuses = Vec::new();
    for guess in 0..40 {
        let answer = droplet
            .ask(&client, Method::GET, "/api/overview")
            .basic_auth("demo", Some(format!("guess {guess}")))
            .send()
            .await?;
        statuses.push(answer.status().as_u16());
    }
    let looked_at = statuses.iter().filter(|status| **status == 401).count();
    let slowed = statuses.iter().filter(|status| **status == 429).count();
    ensure!(looked_at + slowed == 40 && slowed >= 20, "{statuses:?}");
    // After too many tries, the correct password gets the same answer as a wrong one, although it is cached.
    let known = sign_in().await?;
    ensure!(known == 429, "the right password after 40 guesses: {known}");
    let again = wait_for(Duration::from_secs(30), || async {
        let status = sign_in().await.ok()?;
        (status == 200).then_some(())
    });
    again.await.context("one more try every ten seconds")?;
    ensure!(
        began.elapsed() < Duration::from_secs(60),
        "it took {:?}",
        began.elapsed()
    );
    Ok(())
}
