use super::*;

const NEEDED: [(&str, &str); 5] = [
    ("MONGODB_CONNECTION_STRING", "mongodb://silo:hunter2@host"),
    ("SPACES_ENDPOINT", "https://sfo3.digitaloceanspaces.com"),
    ("SPACES_KEY", "k"),
    ("SPACES_SECRET", "s"),
    ("BACKUP_BUCKET", "backups"),
];

fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let pairs = NEEDED.iter().chain(pairs);
    Settings::read(SettingsReader::from_map(
        &pairs
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
    ))
}

#[test]
fn five_settings_are_enough() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.prefix, "backups/mongo/");
    assert_eq!(settings.encoding.compression, Compression::Gzip);
    assert_eq!(settings.policy, Policy::default());
    assert!(settings.copy.is_none() && settings.drill_schedule.is_none());
}

#[test]
fn all_problems_are_reported_at_once_without_secrets() {
    let message = read(&[
        ("BACKUP_SCHEDULE", "at four"),
        ("BACKUP_DRILL_SCHEDULE", "on sundays"),
        ("BACKUP_COMPRESSION", "rar"),
        ("BACKUP_AGE_RECIPIENT", "hunter3"),
        ("BACKUP_AGE_IDENTITY", "hunter4"),
        ("BACKUP_PREFIX", "/"),
        ("BACKUP_COPY_KEY", "hunter5"),
        ("BACKUP_KEEP_LAST", "many"),
        ("ALERT_WEBHOOK_URL", "hunter6"),
    ]);
    let message = message.unwrap_err().to_string();
    assert!(message.starts_with("9 settings are wrong"), "{message}");
    assert!(!message.contains("hunter"), "{message}");
}

#[test]
fn http_is_for_this_machine_or_allowed_explicitly() {
    let urls = [
        "SPACES_ENDPOINT",
        "BACKUP_PING_URL",
        "BACKUP_DRILL_PING_URL",
        "ALERT_WEBHOOK_URL",
    ];
    for name in urls {
        for local in [
            "http://127.0.0.1:9000/x",
            "http://localhost/x",
            "http://[::1]/x",
        ] {
            assert!(read(&[(name, local)]).is_ok(), "{name} {local}");
        }
        let elsewhere = (name, "http://storage.example/x");
        let message = read(&[elsewhere]).unwrap_err().to_string();
        assert!(message.contains("use https://"), "{message}");
        assert!(read(&[elsewhere, ("BACKUP_ALLOW_HTTP", "true")]).is_ok());
    }
}

#[test]
fn a_prefix_with_parent_folders_is_refused() {
    assert!(read(&[("BACKUP_PREFIX", "../backups")]).is_err());
    assert!(read(&[("BACKUP_PREFIX", "a/./b")]).is_err());
}
