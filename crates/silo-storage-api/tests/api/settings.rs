//! Settings that are wrong stop the start.

use crate::stage::command;

#[tokio::test]
async fn missing_settings_are_all_reported_with_exit_code_78() {
    let output = command().env("SPACES_SECRET", "").output().await.unwrap();
    assert_eq!(output.status.code(), Some(78));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    for name in ["SPACES_ENDPOINT", "SPACES_KEY", "SPACES_SECRET"] {
        assert!(message.contains(&format!("{name}: missing")), "{message}");
    }
}
