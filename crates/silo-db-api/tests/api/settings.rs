//! Settings that make no sense stop the start: every problem at once, exit code 78, no secret.

use std::process::Output;

use crate::service::command;

async fn run(variables: &[(&str, &str)]) -> Output {
    command()
        .envs(variables.iter().copied())
        .output()
        .await
        .unwrap()
}

fn message(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test]
async fn a_missing_connection_string_exits_with_78_and_names_it() {
    let output = run(&[]).await;
    assert_eq!(output.status.code(), Some(78));
    assert!(
        message(&output).contains("MONGODB_CONNECTION_STRING"),
        "{}",
        message(&output)
    );
}

#[tokio::test]
async fn all_problems_are_reported_at_once_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("silo.toml");
    std::fs::write(&file, "colour = \"pink\"\n[log]\nformat = \"xml\"\n").unwrap();
    let output = run(&[
        ("SILO_CONFIG", file.to_str().unwrap()),
        ("MONGODB_CONNECTION_STRING", "postgres://u:hunter2@h/db"),
        ("MONGODB_NAME", "a b"),
        ("BIND", "nowhere"),
    ])
    .await;
    let message = message(&output);
    assert_eq!(output.status.code(), Some(78), "{message}");
    for name in [
        "MONGODB_CONNECTION_STRING",
        "MONGODB_NAME",
        "BIND",
        "LOG_FORMAT",
        "colour",
    ] {
        assert!(message.contains(name), "{name} is not in: {message}");
    }
    assert!(!message.contains("hunter2"), "{message}");
}

#[tokio::test]
async fn a_connection_string_can_come_from_a_file_and_a_missing_file_is_reported() {
    let output = run(&[("MONGODB_CONNECTION_STRING_FILE", "/nowhere/uri")]).await;
    let message = message(&output);
    assert_eq!(output.status.code(), Some(78), "{message}");
    assert!(message.contains("/nowhere/uri"), "{message}");
}

#[tokio::test]
async fn a_port_in_use_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let output = run(&[
        ("MONGODB_CONNECTION_STRING", "mongodb://127.0.0.1:9/"),
        ("BIND", &bind),
    ])
    .await;
    let message = message(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains(&format!("cannot listen on {bind}")),
        "{message}"
    );
}
