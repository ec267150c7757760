use std::io::Write;

use super::*;
use crate::variables::{
    BIND, LOG_FORMAT, MONGODB_CONNECTION_STRING, MONGODB_NAME, REFRESH_SECONDS,
};

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_default() {
    let file = file("[mongodb]\nname = \"from-file\"\nconnection_string = \"mongodb://file\"\n");
    let path = file.path().to_str().unwrap();
    let mut settings = SettingsReader::from_map(&environment(&[
        (CONFIG_FILE, path),
        (MONGODB_CONNECTION_STRING.name, "mongodb://environment"),
    ]));
    assert_eq!(settings.text(MONGODB_NAME), "from-file");
    assert_eq!(
        settings.secret(MONGODB_CONNECTION_STRING).expose(),
        "mongodb://environment"
    );
    assert_eq!(settings.log_format(), LogFormat::Text);
    settings.finish().unwrap();
}

#[test]
fn all_problems_are_reported_at_once_without_secrets() {
    let file = file("[mongodb]\nname = [\"a\"]\nnmae = \"typo\"\n[nonsense]\nx = 1\n");
    let path = file.path().to_str().unwrap();
    let mut settings = SettingsReader::from_map(&environment(&[
        (CONFIG_FILE, path),
        (MONGODB_CONNECTION_STRING.name, "mongodb://u:hunter2@host"),
        ("MONGODB_CONNECTION_STRING_FILE", "/run/secrets/mongo"),
        (BIND.name, "7101"),
        (LOG_FORMAT.name, "xml"),
    ]));
    settings.text(MONGODB_NAME);
    settings.secret(MONGODB_CONNECTION_STRING);
    settings.socket_address(BIND, "127.0.0.1:7101".parse().unwrap());
    settings.log_format();
    let message = settings.finish().unwrap_err().to_string();
    for part in [
        "mongodb.nmae: no such setting",
        "nonsense.x: no such setting",
        "MONGODB_NAME (mongodb.name): must be a single value",
        "MONGODB_CONNECTION_STRING: set here and in MONGODB_CONNECTION_STRING_FILE",
        "BIND: `7101` is not an address and port",
        "LOG_FORMAT: `xml` is not one of text, json",
    ] {
        assert!(message.contains(part), "{part:?} is missing in:\n{message}");
    }
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn a_value_can_come_from_a_file_without_its_last_line_break() {
    let file = file("mongodb://secret\n");
    let path = file.path().to_str().unwrap();
    let mut settings =
        SettingsReader::from_map(&environment(&[("MONGODB_CONNECTION_STRING_FILE", path)]));
    assert_eq!(
        settings.secret(MONGODB_CONNECTION_STRING).expose(),
        "mongodb://secret"
    );
    settings.finish().unwrap();
}

#[test]
fn an_empty_file_counts_as_not_set() {
    let file = file("\n");
    let path = file.path().to_str().unwrap();
    let mut settings =
        SettingsReader::from_map(&environment(&[("MONGODB_CONNECTION_STRING_FILE", path)]));
    settings.secret(MONGODB_CONNECTION_STRING);
    let message = settings.finish().unwrap_err().to_string();
    assert!(message.contains("MONGODB_CONNECTION_STRING"), "{message}");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let mut settings = SettingsReader::from_map(&environment(&[
        (MONGODB_NAME.name, ""),
        (MONGODB_CONNECTION_STRING.name, ""),
    ]));
    assert_eq!(settings.text(MONGODB_NAME), "aesthetic");
    settings.secret(MONGODB_CONNECTION_STRING);
    let message = settings.finish().unwrap_err().to_string();
    assert!(
        message.contains("MONGODB_CONNECTION_STRING: missing"),
        "{message}"
    );
}

#[test]
fn a_broken_file_names_its_line_and_not_its_content() {
    let file = file("[mongodb]\nconnection_string = \"mongodb://u:hunter2@host\n");
    let path = file.path().to_str().unwrap();
    let message = SettingsReader::from_map(&environment(&[(CONFIG_FILE, path)]))
        .finish()
        .unwrap_err()
        .to_string();
    assert!(message.contains("not valid TOML (line 2)"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn a_missing_file_is_a_problem() {
    let message = SettingsReader::from_map(&environment(&[(CONFIG_FILE, "/nowhere/silo.toml")]))
        .finish()
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("cannot read /nowhere/silo.toml"),
        "{message}"
    );
}

#[test]
fn numbers_are_not_damaged_on_the_way() {
    let mut settings = SettingsReader::from_map(&environment(&[(MONGODB_NAME.name, "007")]));
    assert_eq!(settings.text(MONGODB_NAME), "007");
}

#[test]
fn a_number_out_of_bounds_is_a_problem() {
    for value in ["0", "3601", "-1", "1.5", "x"] {
        let mut settings = SettingsReader::from_map(&environment(&[(REFRESH_SECONDS.name, value)]));
        settings.number(REFRESH_SECONDS, 1..=3600);
        let message = settings.finish().unwrap_err().to_string();
        assert!(
            message.contains("a whole number from 1 to 3600"),
            "{message}"
        );
    }
}
