//! Caddy with the repository's own Caddyfile, before upstreams that answer with the request they got.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::process::Stdio;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use silo_testkit::tools::{Tool, workspace};
use silo_testkit::wait::wait_for;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// An upstream that answers each request with a head, and with the request's head as the body.
async fn upstream(head: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(connection.read_u8().await?);
                }
                let length = request.len();
                let head =
                    format!("{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                connection.write_all(head.as_bytes()).await?;
                connection.write_all(&request).await
            });
        }
    });
    address
}

/// Caddy, with its settings.
struct Caddy {
    address: String,
    http: Client,
    _process: Child,
    _folder: TempDir,
}

impl Caddy {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("silo-caddy-").unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://127.0.0.1:{}", port.local_addr().unwrap().port());
        drop(port);
        let file = workspace().join("Caddyfile");
        let mut command = Command::new(Tool::Caddy.installed().unwrap());
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(file)
            .env_clear()
            .envs(["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"].map(|name| (name, folder.path())))
            .env("SILO_ADMIN_SOCKET", folder.path().join("caddy.sock"))
            .env("SILO_STATUS", folder.path())
            .env("SILO_SITE", &address)
            .env("SILO_BIND", "127.0.0.1")
            .envs(settings.iter().copied())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        std::fs::write(folder.path().join("status.txt"), "silo at ...").unwrap();
        let process = command.spawn().unwrap();
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        let up = wait_for(Duration::from_secs(20), || async {
            let health = http.get(format!("{address}/healthz")).send().await.ok()?;
            (health.status() == 200).then_some(())
        });
        assert!(up.await.is_some(), "Caddy does not start");
        Self {
            address,
            http,
            _process: process,
            _folder: folder,
        }
    }

    fn ask(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.address))
    }
}

/// Value of a header of the request that the upstream got.
async fn received(answer: Response, name: &str) -> Option<String> {
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap().to_lowercase();
    let prefix = format!("{name}: ");
    text.lines()
        .find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}

const OK: &str = "HTTP/1.1 200 OK";

#[tokio::test]
async fn the_identity_provider_alone_names_the_operator() {
    let service = upstream(OK).await;
    for (head, name) in [
        (
            "HTTP/1.1 202 Accepted\r\nX-Auth-Request-Email: jane@example.com",
            Some("jane@example.com"),
        ),
        ("HTTP/1.1 202 Accepted", None),
        ("HTTP/1.1 202 Accepted\r\nX-Auth-Request-Email: ", None),
    ] {
        let provider = upstream(head).await;
        let settings = [
            ("SILO_ACCESS", "sso"),
            ("SILO_SSO", &*provider),
            ("SILO_DB_API", &*service),
        ];
        let caddy = Caddy::start(&settings).await;
        let forged = caddy.ask("/api/db/x").header("X-Silo-Operator", "root");
        let seen = received(forged.send().await.unwrap(), "x-silo-operator").await;
        assert_eq!(seen.as_deref(), name, "{head}");
    }
}

#[tokio::test]
async fn a_signed_out_browser_is_sent_to_the_identity_provider_and_a_script_is_told() {
    let provider = upstream("HTTP/1.1 401 Unauthorized").await;
    let settings = [("SILO_ACCESS", "sso"), ("SILO_SSO", &*provider)];
    let caddy = Caddy::start(&settings).await;
    let page = caddy
        .ask("/api/db/x?a=1&rd=https://evil.example")
        .header("Sec-Fetch-Mode", "navigate");
    let page = page.send().await.unwrap();
    assert_eq!(page.status(), 302);
    assert_eq!(
        page.headers()["location"],
        "/oauth2/start?rd=%2Fapi%2Fdb%2Fx%3Fa%3D1%26rd%3Dhttps%3A%2F%2Fevil.example"
    );
    let script = caddy.ask("/api/db/x").header("Sec-Fetch-Mode", "cors");
    let script = script.send().await.unwrap();
    assert_eq!(script.status(), 401);
    assert_eq!(script.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn a_session_cookie_reaches_the_browser_and_no_service() {
    let gate = upstream(
        "HTTP/1.1 204 No Content\r\nX-Silo-Operator: jane\r\nSet-Cookie: __Host-silo=new; Path=/",
    )
    .await;
    let (service, browser) = (upstream(OK).await, upstream(OK).await);
    let settings = [
        ("SILO_GATE", &*gate),
        ("SILO_DB_API", &*service),
        ("SILO_MONGO_EXPRESS", &*browser),
    ];
    let caddy = Caddy::start(&settings).await;
    let ask = |path| {
        let asked = caddy.ask(path).header("X-Silo-Operator", "root");
        asked
            .header("Cookie", "__Host-silo=old; mongo-express=1")
            .header("X-HTTP-Method-Override", "DELETE")
            .send()
    };
    let answer = ask("/api/db/x").await.unwrap();
    assert_eq!(answer.headers()["set-cookie"], "__Host-silo=new; Path=/");
    let operator = received(answer, "x-silo-operator").await;
    assert_eq!(operator.as_deref(), Some("jane"));
    let cookie = received(ask("/api/db/x").await.unwrap(), "cookie").await;
    assert_eq!(cookie, None);
    let cookie = received(ask("/db/").await.unwrap(), "cookie").await;
    assert_eq!(cookie, None);
    let (known, unknown) = ("/db/public/js/vendor.js", "/db/public/js/vendor.jsx");
    for (path, operator) in [(known, None), (unknown, Some("new"))] {
        let answer = ask(path).await.unwrap();
        let set = answer.headers().get("set-cookie");
        let set = set.and_then(|set| set.to_str().ok());
        assert_eq!(
            set.is_some_and(|set| set.contains("__Host-silo=new")),
            operator.is_some(),
            "{path}"
        );
    }
    for name in ["x-http-method-override", "x-silo-operator"] {
        let seen = received(ask("/db/").await.unwrap(), name).await;
        assert_eq!(seen, None, "{name}");
    }
}

#[tokio::test]
async fn paths_without_sign_in_are_chosen_by_a_setting() {
    let gate = upstream("HTTP/1.1 401 Unauthorized").await;
    let service = upstream(OK).await;
    let badge = "/api/services/oven/badge.svg";
    for (paths, status, badge_status) in [
        (None, 200, 401),
        (Some(""), 401, 401),
        (Some("/status.txt /api/services/*/badge.svg"), 200, 200),
    ] {
        let mut settings = vec![("SILO_GATE", &*gate), ("SILO_SERVICES_PROBE", &*service)];
        settings.extend(paths.map(|paths| ("SILO_PUBLIC_PATHS", paths)));
        let caddy = Caddy::start(&settings).await;
        let seen = async |path: &str| caddy.ask(path).send().await.unwrap();
        assert_eq!(seen("/status.txt").await.status(), status, "{paths:?}");
        let answer = seen(badge).await;
        assert_eq!(answer.status(), badge_status, "{paths:?}");
        let policy = &answer.headers()["cross-origin-resource-policy"];
        assert_eq!(policy, "cross-origin", "a page elsewhere may show it");
        assert_eq!(seen("/healthz").await.status(), 200);
        for path in ["/metrics/db", "/metrics/backup"] {
            assert_eq!(seen(path).await.status(), 401, "{path}");
        }
        let page = seen("/").await;
        assert_eq!(page.status(), 401);
        assert_eq!(
            page.headers()["cross-origin-resource-policy"],
            "same-origin"
        );
        let forged = caddy.ask(badge).header("X-Silo-Operator", "root").send();
        if badge_status == 200 {
            assert_eq!(
                received(forged.await.unwrap(), "x-silo-operator").await,
                None
            );
        }
    }
}

#[tokio::test]
async fn one_can_sign_out_where_there_is_a_sign_in() {
    let (gate, service) = (
        upstream("HTTP/1.1 204 No Content").await,
        upstream(OK).await,
    );
    for (access, offered) in [("signed_in", true), ("sso", true), ("open", false)] {
        let settings = [
            ("SILO_ACCESS", access),
            ("SILO_GATE", &*gate),
            ("SILO_SSO", &*gate),
            ("SILO_SERVICES_PROBE", &*service),
        ];
        let caddy = Caddy::start(&settings).await;
        let version = caddy.ask("/version").send().await.unwrap();
        let link = version.headers().get("x-silo-sign-out");
        assert_eq!(link.is_some(), offered, "{access}");
        let out = caddy.ask("/sign-out").send().await.unwrap();
        let header = |name| {
            out.headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        match access {
            "signed_in" => {
                assert_eq!(out.status(), 401);
                assert!(header("www-authenticate").unwrap().starts_with("Basic "));
                assert!(header("set-cookie").unwrap().starts_with("__Host-silo=; "));
            }
            "sso" => assert_eq!(header("location"), Some("/oauth2/sign_out")),
            _ => assert_eq!(out.status(), 404),
        }
    }
}
