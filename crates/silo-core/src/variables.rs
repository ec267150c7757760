//! All settings that are single values: environment variable, key in `silo.toml`, and default.
//!
//! One list for all services, because they share one `silo.toml` and one `.env`; a test compares it with `.env.example`.

use std::fmt;

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Environment variable, named as in AC's `.env` files. `<NAME>_FILE` names a file with the value.
    pub name: &'static str,
    /// Dotted key in `silo.toml`.
    pub key: &'static str,
    /// Default value.
    pub default: Option<&'static str>,
    /// Description of the value, in one line.
    pub description: &'static str,
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Defines each setting as a constant with its description, `NAME: "key" = "default";`, and the list of all.
macro_rules! variables {
    ($(#[doc = $description:literal] $name:ident: $key:literal $(= $default:literal)?;)*) => {
        $(
            #[doc = $description]
            pub const $name: Variable = Variable {
                name: stringify!($name),
                key: $key,
                default: [$(Some($default),)? None][0],
                description: $description.trim_ascii(),
            };
        )*

        /// All settings.
        pub const VARIABLES: &[Variable] = &[$($name),*];
    };
}

/// Path of `silo.toml`. Read before everything else, so it has no key in the file itself.
pub const CONFIG_FILE: &str = "SILO_CONFIG";

/// Sections of `silo.toml` that are lists or tables. The service that reads one validates its contents.
pub const SECTIONS: &[&str] = &["buckets", "clients", "collections", "probes"];

variables! {
    /// Connection string of the database, as mongodb:// or mongodb+srv://, with a read-only account (for silo-backup: its own account).
    MONGODB_CONNECTION_STRING: "mongodb.connection_string";
    /// Name of AC's database.
    MONGODB_NAME: "mongodb.name" = "aesthetic";
    /// Connection string of the old cluster during a migration, with which the database is compared; without it nothing is compared.
    OLD_CONNECTION_STRING: "migration.old_connection_string";
    /// Pause between two comparisons with the old cluster, in minutes. Each reads all documents of both.
    COMPARE_MINUTES: "migration.compare_minutes" = "360";
    /// Refresh interval of collections, users, clients, access and disk, in seconds; keeps and AT-protocol keys are refreshed five times less often.
    REFRESH_SECONDS: "refresh.seconds" = "60";
    /// URL of object storage, as `https://host`.
    SPACES_ENDPOINT: "spaces.endpoint";
    /// Region that requests are signed for.
    SPACES_REGION: "spaces.region" = "us-east-1";
    /// Access key id, with read access to the buckets.
    SPACES_KEY: "spaces.key";
    /// Secret of the access key.
    SPACES_SECRET: "spaces.secret";
    /// Addressing of buckets in URLs: path or virtual-host.
    SPACES_ADDRESSING: "spaces.addressing" = "path";
    /// Buckets to scan, separated by commas.
    BUCKETS: "spaces.buckets" = "user-aesthetic-computer,art-aesthetic-computer,at-blobs-aesthetic-computer,assets-aesthetic-computer,wand-aesthetic-computer";
    /// Pause between the end of a scan and the next, in minutes.
    SCAN_MINUTES: "scan.minutes" = "360";
    /// Concurrent listing requests.
    SCAN_WORKERS: "scan.workers" = "16";
    /// Rate limit of requests to one endpoint, per second.
    SCAN_REQUESTS_PER_SECOND: "scan.requests_per_second" = "100";
    /// URL that gets a POST when an operator must act: from silo-backup about backups, from silo-services-probe about everything else.
    ALERT_WEBHOOK_URL: "alert.webhook_url";
    /// Format of what the webhook gets: json, discord, slack or ntfy.
    ALERT_WEBHOOK_FORMAT: "alert.webhook_format" = "json";
    /// URL of a Healthchecks-style check, requested every five minutes as it is, and with /fail while an alarm is open that nobody has acknowledged.
    ALERT_PING_URL: "alert.ping_url";
    /// Hours after which an alarm is repeated that nobody has acknowledged.
    ALERT_REPEAT_HOURS: "alert.repeat_hours" = "6";
    /// Folder of the database's history.
    DB_FOLDER: "db.folder" = "/var/lib/silo/db";
    /// Folder of the last scan results.
    STORAGE_FOLDER: "storage.folder" = "/var/lib/silo/storage";
    /// URL of silo-db-api, for Silo's other services.
    DB_API_URL: "internal.db_api" = "http://127.0.0.1:7101";
    /// URL of silo-storage-api, for Silo's other services.
    STORAGE_API_URL: "internal.storage_api" = "http://127.0.0.1:7102";
    /// URL of oven.
    OVEN_URL: "services.oven" = "https://oven.aesthetic.computer";
    /// URL of the session server.
    SESSION_URL: "services.session" = "https://session-server.aesthetic.computer";
    /// URL of the AT-protocol server.
    ATPROTO_URL: "services.atproto" = "https://at.aesthetic.computer";
    /// Interval between checks of a service, in seconds; `[[probes]]` in `silo.toml` may override it.
    PROBE_SECONDS: "probe.seconds" = "30";
    /// Addresses to connect to before services are reported as down, to detect that the prober itself is offline; none disables the check.
    CONNECTIVITY_CHECK: "probe.connectivity_check" = "1.1.1.1:443,9.9.9.9:443";
    /// Folder of the history of checks.
    PROBE_FOLDER: "probe.folder" = "/var/lib/silo/services";
    /// Bucket for backups.
    BACKUP_BUCKET: "backup.bucket";
    /// Prefix of all keys of backups; nothing else in the bucket is touched.
    BACKUP_PREFIX: "backup.prefix" = "backups/mongo/";
    /// Schedule of backups, as a cron expression of five fields.
    BACKUP_SCHEDULE: "backup.schedule" = "0 4 * * *";
    /// Time zone of the schedule, such as `America/Los_Angeles`.
    BACKUP_TIMEZONE: "backup.timezone" = "UTC";
    /// Compression of archives: gzip, which the MongoDB tools can read, or zstd.
    BACKUP_COMPRESSION: "backup.compression" = "gzip";
    /// Public key to encrypt archives for, age1...; without it they are not encrypted.
    BACKUP_AGE_RECIPIENT: "backup.age_recipient";
    /// Private key of encrypted archives, AGE-SECRET-KEY-1...; only on machines that restore or drill them.
    BACKUP_AGE_IDENTITY: "backup.age_identity";
    /// Collections without which a backup is held, separated by commas.
    BACKUP_EXPECTED: "backup.expected" = "users,@handles";
    /// Number of newest backups to keep.
    BACKUP_KEEP_LAST: "backup.keep_last" = "7";
    /// Number of days of which the last backup is kept.
    BACKUP_KEEP_DAILY: "backup.keep_daily" = "7";
    /// Number of weeks of which the last backup is kept.
    BACKUP_KEEP_WEEKLY: "backup.keep_weekly" = "4";
    /// Number of months of which the last backup is kept.
    BACKUP_KEEP_MONTHLY: "backup.keep_monthly" = "12";
    /// Number of days of which every moment can be restored, from the oplog that is stored continuously; 0 switches that off.
    BACKUP_PITR_DAYS: "backup.pitr_days" = "0";
    /// Schedule of drills, as a cron expression in the same time zone; none for no drills.
    BACKUP_DRILL_SCHEDULE: "backup.drill_schedule" = "30 5 * * 0";
    /// Largest allowed age of the newest good backup in hours, before an alarm.
    BACKUP_OLDEST_HOURS: "backup.oldest_hours" = "26";
    /// Folder for temporary files that are too large for memory, and for changes that continuous backup has not stored yet: it has to survive restarts.
    BACKUP_FOLDER: "backup.folder" = "/var/lib/silo/backup";
    /// URL of a Healthchecks-style check for backups, requested as it is, with /start, and with /fail.
    BACKUP_PING_URL: "backup.ping_url";
    /// URL of a Healthchecks-style check for drills, requested as it is, and with /fail.
    BACKUP_DRILL_PING_URL: "backup.drill_ping_url";
    /// true allows http:// for storage and alerts on other machines, for a private network.
    BACKUP_ALLOW_HTTP: "backup.allow_http" = "false";
    /// URL of the storage for a second copy, as `https://host`.
    BACKUP_COPY_ENDPOINT: "backup.copy_endpoint";
    /// Region of the second copy.
    BACKUP_COPY_REGION: "backup.copy_region" = "us-east-1";
    /// Bucket of the second copy.
    BACKUP_COPY_BUCKET: "backup.copy_bucket";
    /// Access key id for the second copy.
    BACKUP_COPY_KEY: "backup.copy_key";
    /// Secret of the second copy's access key.
    BACKUP_COPY_SECRET: "backup.copy_secret";
    /// Connection string of the server for drills, with an account that may write in the database `silo_drill`; without it there are no drills.
    DRILL_CONNECTION_STRING: "backup.drill_connection_string";
    /// Folder of mongorestore for `drill --with mongorestore`, if it is not on the PATH.
    MONGO_TOOLS: "backup.mongo_tools";
    /// URL of silo-backup, for Silo's other services.
    BACKUP_API_URL: "internal.backup_api" = "http://127.0.0.1:7104";
    /// File for a short text version of the overview, which the gateway serves while services are stopped.
    STATUS_FILE: "probe.status_file";
    /// Users who may sign in: lines of a name and an argon2id hash, from `silo-gate hash NAME`.
    SILO_USERS: "gate.users";
    /// Gateway: host name or address whose X-Forwarded-For is believed.
    GATEWAY: "gate.gateway" = "127.0.0.1";
    /// Address to listen on; default: silo-db-api 127.0.0.1:7101, silo-storage-api 127.0.0.1:7102, silo-services-probe 127.0.0.1:7103, silo-backup 127.0.0.1:7104, silo-gate 127.0.0.1:7105.
    BIND: "bind";
    /// Format of log lines: text or json.
    LOG_FORMAT: "log.format" = "text";
    /// Log filter, in the syntax of `env_logger`.
    RUST_LOG: "log.filter" = "info";
    /// Git commit of the deployment, if the build does not know it.
    AC_GIT_SHA: "build.sha";
    /// Whether that commit had uncommitted changes: 0 or 1.
    AC_GIT_DIRTY: "build.dirty";
}
