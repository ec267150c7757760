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
    assert_eq!(
        (settings.engine, settings.encoding.compression),
        (Engine::Native, Compression::Gzip)
    );
    assert_eq!(settings.policy, Policy::default());
    assert!(settings.copy.is_none() && settings.drill_every.is_none());
}

#[test]
fn all_problems_are_reported_at_once_without_secrets() {
    let message = read(&[
        ("BACKUP_SCHEDULE", "at four"),
        ("BACKUP_ENGINE", "guess"),
        ("BACKUP_COMPRESSION", "rar"),
        ("BACKUP_AGE_RECIPIENT", "hunter3"),
        ("BACKUP_AGE_IDENTITY", "hunter4"),
        ("BACKUP_PREFIX", "/"),
        ("BACKUP_COPY_KEY", "hunter5"),
        ("BACKUP_KEEP_LAST", "many"),
        ("BACKUP_WEBHOOK_URL", "hunter6"),
    ]);
    let message = message.unwrap_err().to_string();
    assert!(message.starts_with("9 settings are wrong"), "{message}");
    assert!(!message.contains("hunter"), "{message}");
}
