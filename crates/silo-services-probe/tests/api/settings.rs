//! Settings that make no sense stop the start, all named at once, and no password is repeated.

use crate::stage::command;

#[tokio::test]
async fn invalid_settings_prevent_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("silo.toml");
    let toml = "[[probes]]\nname = \"a\"\nkind = \"ping\"\nurl = \"http://a.example\"\n\
        [[probes]]\nname = \"b\"\nurl = \"https://me:hunter2@b.example\"\ninterval_seconds = 4\n\
        [[probes]]\nname = \"b\"\nurl = \"https://b.example\"\n";
    std::fs::write(&file, toml).unwrap();
    let output = command()
        .env("SILO_CONFIG", &file)
        .env("PROBE_FOLDER", folder.path())
        .output()
        .await
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{message}");
    for part in [
        "4 settings are wrong",
        "kind `ping`",
        "interval_seconds must be from 5",
        "`b` occurs twice",
        "no user and no password",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("hunter2"), "{message}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = command()
        .env("BIND", "127.0.0.1:0")
        .env("PROBE_FOLDER", &file)
        .output()
        .await
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("PROBE_FOLDER"), "{message}");
}
