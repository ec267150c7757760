//! The built silo-gate over HTTP, with the requests that Caddy sends.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;
use silo_testkit::service::Service;
use silo_testkit::wait::wait_for;
use tokio::process::Command;

const PASSWORD: &str = "correct horse";

fn command() -> Command {
    let line = silo_gate::users::line("jeffrey", PASSWORD).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_silo-gate"));
    command.env_clear().env("SILO_USERS", line);
    command
}

async fn start() -> Service {
    Service::start("silo-gate", command()).await
}

async fn sign_in(service: &Service, from: &str, password: Option<&str>) -> Response {
    let asked = Client::new().get(format!("{}/gate/sign-in", service.address));
    let asked = asked.header("X-Forwarded-For", from);
    let asked = match password {
        Some(_) => asked.basic_auth("jeffrey", password),
        None => asked,
    };
    asked.send().await.unwrap()
}

#[tokio::test]
async fn a_signed_in_user_is_named_and_others_get_401() {
    let service = start().await;
    let nobody = sign_in(&service, "192.0.2.1", None).await;
    assert_eq!(nobody.status(), 401);
    assert_eq!(
        nobody.headers()["www-authenticate"],
        "Basic realm=\"silo\", charset=\"UTF-8\""
    );
    let problem: Value = nobody.json().await.unwrap();
    assert_eq!(problem["code"], "unauthorized");
    let known = sign_in(&service, "192.0.2.1", Some(PASSWORD)).await;
    assert_eq!(known.status(), 204);
    assert_eq!(known.headers()["x-silo-operator"], "jeffrey");
    for broken in [
        "Bearer x",
        "Basic",
        "Basic !",
        "Basic bm9jb2xvbg==",
        "basic",
    ] {
        let asked = Client::new().get(format!("{}/gate/sign-in", service.address));
        let answer = asked.header("Authorization", broken).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{broken}");
    }
}

#[tokio::test]
async fn guesses_are_counted_by_the_address_that_the_gateway_saw() {
    let service = start().await;
    for guess in 0..10 {
        // The client's own header values come before the address that Caddy appends.
        let from = format!("10.0.0.{guess}, 203.0.113.9");
        let wrong = sign_in(&service, &from, Some("wrong password")).await;
        assert_eq!(wrong.status(), 401, "{guess}");
    }
    let slower = sign_in(&service, "203.0.113.9", Some("wrong password")).await;
    assert_eq!(slower.status(), 429);
    assert_eq!(slower.headers()["retry-after"], "10");
    let other = sign_in(&service, "203.0.113.10", Some(PASSWORD)).await;
    assert_eq!(other.status(), 204);
    let log = service.log();
    assert!(log.contains("203.0.113.9"), "{log}");
    assert!(
        !log.contains("wrong password") && !log.contains(PASSWORD),
        "{log}"
    );
}

/// Without a gateway at that address, every request counts for the address it comes from, whatever its header says.
#[tokio::test]
async fn a_forwarded_address_is_believed_from_the_gateway_only() {
    let mut command = command();
    command.env("GATEWAY", "192.0.2.80");
    let service = Service::start("silo-gate", command).await;
    for guess in 0..10 {
        let wrong = sign_in(
            &service,
            &format!("203.0.113.{guess}"),
            Some("wrong password"),
        )
        .await;
        assert_eq!(wrong.status(), 401, "{guess}");
    }
    let slower = sign_in(&service, "203.0.113.99", Some("wrong password")).await;
    assert_eq!(slower.status(), 429);
}

#[tokio::test]
async fn a_browser_gets_a_session_that_a_flood_cannot_end() {
    let service = start().await;
    let at = format!("{}/gate/sign-in", service.address);
    let from = |address: &str| {
        let asked = Client::new().get(&at);
        asked.header("X-Forwarded-For", address)
    };
    let program = sign_in(&service, "192.0.2.1", Some(PASSWORD)).await;
    assert!(!program.headers().contains_key("set-cookie"));
    let browser = from("192.0.2.1").header("Sec-Fetch-Site", "none");
    let browser = browser.basic_auth("jeffrey", Some(PASSWORD));
    let browser = browser.send().await.unwrap();
    let set = browser.headers()["set-cookie"].to_str().unwrap().to_owned();
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax"] {
        assert!(set.contains(attribute), "{set}");
    }
    let cookie = set.split(';').next().unwrap();
    for guess in 0..12 {
        let wrong = sign_in(&service, "192.0.2.1", Some("wrong password")).await;
        assert_eq!(wrong.status(), if guess < 9 { 401 } else { 429 }, "{guess}");
    }
    let session = from("192.0.2.1").header("Cookie", cookie).send().await;
    let session = session.unwrap();
    assert_eq!(session.status(), 204);
    assert_eq!(session.headers()["x-silo-operator"], "jeffrey");
    assert!(
        !session.headers().contains_key("set-cookie"),
        "it is not renewed"
    );
    let forged = format!("{cookie}x");
    let forged = from("192.0.2.2").header("Cookie", forged).send().await;
    assert_eq!(forged.unwrap().status(), 401);
}

#[tokio::test]
async fn users_are_added_and_removed_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("silo_users");
    let line = |name| silo_gate::users::line(name, PASSWORD).unwrap();
    std::fs::write(&file, line("jane")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_silo-gate"));
    command.env_clear().env("SILO_USERS_FILE", &file);
    let service = Service::start("silo-gate", command).await;
    let at = format!("{}/gate/sign-in", service.address);
    let until = async |name: &str, status: u16| {
        let seen = wait_for(Duration::from_secs(10), || async {
            let asked = Client::new().get(&at).basic_auth(name, Some(PASSWORD));
            let answer = asked.header("X-Forwarded-For", format!("192.0.2.{status}"));
            (answer.send().await.unwrap().status() == status).then_some(())
        });
        assert!(seen.await.is_some(), "{name}: {status}\n{}", service.log());
    };
    until("jane", 204).await;
    std::fs::write(&file, format!("{}\n{}", line("jane"), line("jeffrey"))).unwrap();
    // Asked as seldom as the rate limit allows: another network for each.
    let joined = wait_for(Duration::from_secs(10), || async {
        let from = format!("198.51.100.{}", rand::random::<u8>());
        let answer = sign_in(&service, &from, Some(PASSWORD)).await;
        (answer.status() == 204).then_some(())
    });
    assert!(joined.await.is_some(), "{}", service.log());
    std::fs::write(&file, "nonsense").unwrap();
    let logged = wait_for(Duration::from_secs(10), || async {
        let answer = sign_in(&service, "192.0.2.1", Some(PASSWORD)).await;
        assert_eq!(answer.status(), 204, "the users of before");
        service.log().contains("line 1").then_some(())
    });
    assert!(logged.await.is_some(), "{}", service.log());
    std::fs::write(&file, line("jeffrey")).unwrap();
    until("jane", 401).await;
}

#[tokio::test]
async fn guesses_leave_no_memory_behind() {
    let service = start().await;
    let resident = || {
        let id = service.process.id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB").parse::<u64>();
        kib.unwrap()
    };
    let mut before = 0;
    for guess in 0..30 {
        let from = format!("198.51.100.{guess}");
        let wrong = sign_in(&service, &from, Some("wrong password")).await;
        assert_eq!(wrong.status(), 401, "{guess}");
        if guess == 2 {
            before = resident();
        }
    }
    // One hash takes seven.
    let grown = resident().saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB more after 27 guesses");
}

#[tokio::test]
async fn only_reading_is_let_through_to_the_database() {
    let service = start().await;
    for (method, uri, status) in [
        ("GET", "/db/db/aesthetic/moods?skip=10", 204),
        ("POST", "/db/db/aesthetic/moods", 405),
        ("GET", "/db/db/aesthetic/%64ropIndex/moods", 403),
        ("GET", "/db/db/aesthetic/moods?command[]=drop()", 403),
    ] {
        let asked = Client::new().get(format!("{}/gate/reading", service.address));
        let asked = asked
            .header("X-Forwarded-Method", method)
            .header("X-Forwarded-Uri", uri);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), status, "{method} {uri}");
    }
    let nothing = Client::new().get(format!("{}/gate/reading", service.address));
    assert_eq!(
        nothing.send().await.unwrap().status(),
        405,
        "without a forwarded method"
    );
}

#[tokio::test]
async fn without_users_it_does_not_start_and_the_health_check_fails() {
    let run = async |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_silo-gate"));
        command
            .env_clear()
            .args(arguments)
            .envs(environment.iter().copied());
        command.output().await.unwrap()
    };
    let ended = run(&[], &[("SILO_USERS", "jeffrey hunter2")]).await;
    assert_eq!(ended.status.code(), Some(78));
    let output_text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        output_text.contains("SILO_USERS: line 1") && !output_text.contains("hunter2"),
        "{output_text}"
    );
    assert_eq!(run(&["nonsense"], &[]).await.status.code(), Some(64));

    let mut service = start().await;
    let line = silo_gate::users::line("jeffrey", PASSWORD).unwrap();
    let bind = service.address.trim_start_matches("http://").to_owned();
    let check = [("SILO_USERS", &*line), ("BIND", &*bind)];
    assert_eq!(run(&["healthcheck"], &check).await.status.code(), Some(0));
    service.process.kill().await.unwrap();
    assert_eq!(run(&["healthcheck"], &check).await.status.code(), Some(1));
}

/// Hashing takes equally long for every length; a password too long for a header is refused before hashing.
#[tokio::test]
async fn a_password_of_any_length_is_rejected_without_harm() {
    let service = start().await;
    for (at, bytes) in [4_000, 60_000, 1_000_000].into_iter().enumerate() {
        let password = "x".repeat(bytes);
        let asked = Client::new()
            .get(format!("{}/gate/sign-in", service.address))
            .header("X-Forwarded-For", format!("192.0.2.{at}"))
            .basic_auth("jeffrey", Some(password));
        match asked.send().await {
            Ok(answer) if bytes < 100_000 => assert_eq!(answer.status(), 401, "{bytes}"),
            Ok(answer) => assert!(answer.status().is_client_error(), "{bytes}: {answer:?}"),
            // The connection may be closed while the rest of the header is still on its way.
            Err(closed) => assert!(bytes > 100_000, "{bytes}: {closed}"),
        }
        let known = sign_in(&service, "198.51.100.1", Some(PASSWORD)).await;
        assert_eq!(known.status(), 204, "after {bytes} bytes");
    }
}
