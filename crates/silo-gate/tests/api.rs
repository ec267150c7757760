//! The built silo-gate over HTTP, with the requests that Caddy sends.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use reqwest::{Client, Response};
use serde_json::Value;
use silo_testkit::service::Service;
use tokio::process::Command;

const PASSWORD: &str = "correct horse";

async fn start() -> Service {
    let line = silo_gate::users::line("jeffrey", PASSWORD).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_silo-gate"));
    command.env_clear().env("SILO_USERS", line);
    Service::start("silo-gate", command).await
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
