//! Every setting of Silo that is a single value: its environment variable, its place in `silo.toml`, its default and meaning.
//!
//! One list for all services, because they share one `silo.toml` and one `.env`; a test compares it with `.env.example`.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The environment variable, by the name AC's `.env` files already use. `<NAME>_FILE` names a file that holds the value.
    pub name: &'static str,
    /// The dotted key in `silo.toml`.
    pub key: &'static str,
    /// What holds when nobody sets it.
    pub default: Option<&'static str>,
    /// Whether the value must never be printed.
    pub secret: bool,
    /// One line for people.
    pub meaning: &'static str,
}

/// The path of `silo.toml`; read before everything else, so it has no place in the file itself.
pub const CONFIG_FILE: &str = "SILO_CONFIG";

/// The connection string of the database.
pub const MONGODB_CONNECTION_STRING: &str = "MONGODB_CONNECTION_STRING";
/// The name of the database.
pub const MONGODB_NAME: &str = "MONGODB_NAME";
/// How often the database is measured.
pub const REFRESH_SECONDS: &str = "REFRESH_SECONDS";
/// Where storage is.
pub const SPACES_ENDPOINT: &str = "SPACES_ENDPOINT";
/// The region that requests to storage are signed for.
pub const SPACES_REGION: &str = "SPACES_REGION";
/// The id of the access key to storage.
pub const SPACES_KEY: &str = "SPACES_KEY";
/// The secret of the access key to storage.
pub const SPACES_SECRET: &str = "SPACES_SECRET";
/// How a bucket is named in a URL.
pub const SPACES_ADDRESSING: &str = "SPACES_ADDRESSING";
/// The buckets to measure.
pub const BUCKETS: &str = "BUCKETS";
/// How often storage is scanned.
pub const SCAN_MINUTES: &str = "SCAN_MINUTES";
/// How many pages of a listing are waited for at once.
pub const SCAN_WORKERS: &str = "SCAN_WORKERS";
/// The most requests a second to storage.
pub const SCAN_REQUESTS_PER_SECOND: &str = "SCAN_REQUESTS_PER_SECOND";
/// Where the last scan is kept.
pub const STORAGE_FOLDER: &str = "STORAGE_FOLDER";
/// Where silo-db-api answers.
pub const DB_API_URL: &str = "DB_API_URL";
/// Where silo-storage-api answers.
pub const STORAGE_API_URL: &str = "STORAGE_API_URL";
/// Where oven answers.
pub const OVEN_URL: &str = "OVEN_URL";
/// Where the session server answers.
pub const SESSION_URL: &str = "SESSION_URL";
/// Where the AT-protocol server answers.
pub const ATPROTO_URL: &str = "ATPROTO_URL";
/// How often a service is probed.
pub const PROBE_SECONDS: &str = "PROBE_SECONDS";
/// Where the prober finds out whether it is itself connected.
pub const CONNECTIVITY_CHECK: &str = "CONNECTIVITY_CHECK";
/// Where the results of probes are kept.
pub const PROBE_FOLDER: &str = "PROBE_FOLDER";
/// The bucket for backups.
pub const BACKUP_BUCKET: &str = "BACKUP_BUCKET";
/// What every key of a backup begins with.
pub const BACKUP_PREFIX: &str = "BACKUP_PREFIX";
/// When a backup is made.
pub const BACKUP_SCHEDULE: &str = "BACKUP_SCHEDULE";
/// The time zone of the schedule.
pub const BACKUP_TIMEZONE: &str = "BACKUP_TIMEZONE";
/// What reads the database.
pub const BACKUP_ENGINE: &str = "BACKUP_ENGINE";
/// How archives are compressed.
pub const BACKUP_COMPRESSION: &str = "BACKUP_COMPRESSION";
/// To whom archives are encrypted.
pub const BACKUP_AGE_RECIPIENT: &str = "BACKUP_AGE_RECIPIENT";
/// The private key of the recipient.
pub const BACKUP_AGE_IDENTITY: &str = "BACKUP_AGE_IDENTITY";
/// Collections that have to be there.
pub const BACKUP_EXPECTED: &str = "BACKUP_EXPECTED";
/// How many of the newest backups are kept.
pub const BACKUP_KEEP_LAST: &str = "BACKUP_KEEP_LAST";
/// Of how many days the newest backup is kept.
pub const BACKUP_KEEP_DAILY: &str = "BACKUP_KEEP_DAILY";
/// Of how many weeks the newest backup is kept.
pub const BACKUP_KEEP_WEEKLY: &str = "BACKUP_KEEP_WEEKLY";
/// Of how many months the newest backup is kept.
pub const BACKUP_KEEP_MONTHLY: &str = "BACKUP_KEEP_MONTHLY";
/// How often a backup is restored to see.
pub const BACKUP_DRILL_DAYS: &str = "BACKUP_DRILL_DAYS";
/// How old the newest good backup may be.
pub const BACKUP_OLDEST_HOURS: &str = "BACKUP_OLDEST_HOURS";
/// Where checking puts what does not fit into memory.
pub const BACKUP_FOLDER: &str = "BACKUP_FOLDER";
/// Who is pinged when a run starts and ends.
pub const BACKUP_PING_URL: &str = "BACKUP_PING_URL";
/// Who is told when somebody must look.
pub const BACKUP_WEBHOOK_URL: &str = "BACKUP_WEBHOOK_URL";
/// The storage of a second copy.
pub const BACKUP_COPY_ENDPOINT: &str = "BACKUP_COPY_ENDPOINT";
/// The region of the second copy's storage.
pub const BACKUP_COPY_REGION: &str = "BACKUP_COPY_REGION";
/// The bucket of the second copy.
pub const BACKUP_COPY_BUCKET: &str = "BACKUP_COPY_BUCKET";
/// The id of the second copy's access key.
pub const BACKUP_COPY_KEY: &str = "BACKUP_COPY_KEY";
/// The secret of the second copy's access key.
pub const BACKUP_COPY_SECRET: &str = "BACKUP_COPY_SECRET";
/// Where drills restore to.
pub const DRILL_CONNECTION_STRING: &str = "DRILL_CONNECTION_STRING";
/// Where MongoDB's own tools are.
pub const MONGO_TOOLS: &str = "MONGO_TOOLS";
/// Where the overview is written to in a few lines.
pub const STATUS_FILE: &str = "STATUS_FILE";
/// Where silo-backup answers.
pub const BACKUP_API_URL: &str = "BACKUP_API_URL";
/// Who may sign in at the gateway.
pub const SILO_USERS: &str = "SILO_USERS";
/// Everybody's connection strings to mongod.
pub const MONGO_ACCOUNTS: &str = "MONGO_ACCOUNTS";
/// The name by which mongod is reached.
pub const MONGO_HOST: &str = "MONGO_HOST";
/// The name of mongod's replica set.
pub const MONGO_REPLICA_SET: &str = "MONGO_REPLICA_SET";
/// Where mongod reads its certificate.
pub const MONGO_TLS_FOLDER: &str = "MONGO_TLS_FOLDER";
/// Where mongod's clients on the same machine read whom to trust.
pub const MONGO_CA_FOLDER: &str = "MONGO_CA_FOLDER";
/// Where Caddy keeps its certificates.
pub const CADDY_DATA: &str = "CADDY_DATA";
/// The address a service listens on.
pub const BIND: &str = "BIND";
/// How log lines look.
pub const LOG_FORMAT: &str = "LOG_FORMAT";
/// Which log lines there are.
pub const RUST_LOG: &str = "RUST_LOG";
/// The git commit, stamped by a deployment.
pub const AC_GIT_SHA: &str = "AC_GIT_SHA";
/// Whether that commit had changes on top, stamped by a deployment.
pub const AC_GIT_DIRTY: &str = "AC_GIT_DIRTY";

/// All of them.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: MONGODB_CONNECTION_STRING,
        key: "mongodb.connection_string",
        default: None,
        secret: true,
        meaning: "the database, as mongodb:// or mongodb+srv://, with an account that can only read",
    },
    Variable {
        name: MONGODB_NAME,
        key: "mongodb.name",
        default: Some("aesthetic"),
        secret: false,
        meaning: "the name of AC's database",
    },
    Variable {
        name: REFRESH_SECONDS,
        key: "refresh.seconds",
        default: Some("60"),
        secret: false,
        meaning: "how often collections, users, clients and access are measured; keeps and AT-protocol keys five times as seldom",
    },
    Variable {
        name: SPACES_ENDPOINT,
        key: "spaces.endpoint",
        default: None,
        secret: false,
        meaning: "the storage, as https://host",
    },
    Variable {
        name: SPACES_REGION,
        key: "spaces.region",
        default: Some("us-east-1"),
        secret: false,
        meaning: "the region that requests are signed for",
    },
    Variable {
        name: SPACES_KEY,
        key: "spaces.key",
        default: None,
        secret: true,
        meaning: "the id of an access key that can read the buckets",
    },
    Variable {
        name: SPACES_SECRET,
        key: "spaces.secret",
        default: None,
        secret: true,
        meaning: "the secret of that access key",
    },
    Variable {
        name: SPACES_ADDRESSING,
        key: "spaces.addressing",
        default: Some("path"),
        secret: false,
        meaning: "path or virtual-host: how a bucket is named in a URL",
    },
    Variable {
        name: BUCKETS,
        key: "spaces.buckets",
        default: Some(
            "user-aesthetic-computer,art-aesthetic-computer,at-blobs-aesthetic-computer,assets-aesthetic-computer,wand-aesthetic-computer",
        ),
        secret: false,
        meaning: "the buckets to measure, separated by commas",
    },
    Variable {
        name: SCAN_MINUTES,
        key: "scan.minutes",
        default: Some("360"),
        secret: false,
        meaning: "how long after the end of a scan the next begins",
    },
    Variable {
        name: SCAN_WORKERS,
        key: "scan.workers",
        default: Some("16"),
        secret: false,
        meaning: "how many pages of a listing are waited for at once",
    },
    Variable {
        name: SCAN_REQUESTS_PER_SECOND,
        key: "scan.requests_per_second",
        default: Some("100"),
        secret: false,
        meaning: "the most requests a second to one endpoint",
    },
    Variable {
        name: STORAGE_FOLDER,
        key: "storage.folder",
        default: Some("/var/lib/silo/storage"),
        secret: false,
        meaning: "the folder where the last scan is kept",
    },
    Variable {
        name: DB_API_URL,
        key: "siblings.db_api",
        default: Some("http://127.0.0.1:7101"),
        secret: false,
        meaning: "where silo-db-api answers, for its siblings",
    },
    Variable {
        name: STORAGE_API_URL,
        key: "siblings.storage_api",
        default: Some("http://127.0.0.1:7102"),
        secret: false,
        meaning: "where silo-storage-api answers, for its siblings",
    },
    Variable {
        name: OVEN_URL,
        key: "services.oven",
        default: Some("https://oven.aesthetic.computer"),
        secret: false,
        meaning: "where oven answers",
    },
    Variable {
        name: SESSION_URL,
        key: "services.session",
        default: Some("https://session-server.aesthetic.computer"),
        secret: false,
        meaning: "where the session server answers",
    },
    Variable {
        name: ATPROTO_URL,
        key: "services.atproto",
        default: Some("https://at.aesthetic.computer"),
        secret: false,
        meaning: "where the AT-protocol server answers",
    },
    Variable {
        name: PROBE_SECONDS,
        key: "probe.seconds",
        default: Some("30"),
        secret: false,
        meaning: "how often a service is probed, unless [[probes]] in silo.toml says otherwise",
    },
    Variable {
        name: CONNECTIVITY_CHECK,
        key: "probe.connectivity_check",
        default: Some("1.1.1.1:443,9.9.9.9:443"),
        secret: false,
        meaning: "addresses of which one takes connections when the prober itself is connected, or none for no such check",
    },
    Variable {
        name: PROBE_FOLDER,
        key: "probe.folder",
        default: Some("/var/lib/silo/services"),
        secret: false,
        meaning: "the folder where the results of probes are kept",
    },
    Variable {
        name: BACKUP_BUCKET,
        key: "backup.bucket",
        default: None,
        secret: false,
        meaning: "the bucket for backups",
    },
    Variable {
        name: BACKUP_PREFIX,
        key: "backup.prefix",
        default: Some("backups/mongo/"),
        secret: false,
        meaning: "what every key of a backup begins with; nothing else in the bucket is touched",
    },
    Variable {
        name: BACKUP_SCHEDULE,
        key: "backup.schedule",
        default: Some("0 4 * * *"),
        secret: false,
        meaning: "when a backup is made, as a cron expression of five fields",
    },
    Variable {
        name: BACKUP_TIMEZONE,
        key: "backup.timezone",
        default: Some("UTC"),
        secret: false,
        meaning: "the time zone of that, such as America/Los_Angeles",
    },
    Variable {
        name: BACKUP_ENGINE,
        key: "backup.engine",
        default: Some("native"),
        secret: false,
        meaning: "native, or mongodump for the real tool as a child process",
    },
    Variable {
        name: BACKUP_COMPRESSION,
        key: "backup.compression",
        default: Some("gzip"),
        secret: false,
        meaning: "gzip, which stock tools read, or zstd",
    },
    Variable {
        name: BACKUP_AGE_RECIPIENT,
        key: "backup.age_recipient",
        default: None,
        secret: false,
        meaning: "to whom archives are encrypted, age1...; not encrypted without",
    },
    Variable {
        name: BACKUP_AGE_IDENTITY,
        key: "backup.age_identity",
        default: None,
        secret: true,
        meaning: "the private key of that, AGE-SECRET-KEY-1...; only where encrypted archives are restored or drilled",
    },
    Variable {
        name: BACKUP_EXPECTED,
        key: "backup.expected",
        default: Some("users,@handles"),
        secret: false,
        meaning: "collections without which a backup is held, separated by commas",
    },
    Variable {
        name: BACKUP_KEEP_LAST,
        key: "backup.keep_last",
        default: Some("7"),
        secret: false,
        meaning: "how many of the newest backups are kept",
    },
    Variable {
        name: BACKUP_KEEP_DAILY,
        key: "backup.keep_daily",
        default: Some("7"),
        secret: false,
        meaning: "of how many days the newest is kept",
    },
    Variable {
        name: BACKUP_KEEP_WEEKLY,
        key: "backup.keep_weekly",
        default: Some("4"),
        secret: false,
        meaning: "of how many weeks the newest is kept",
    },
    Variable {
        name: BACKUP_KEEP_MONTHLY,
        key: "backup.keep_monthly",
        default: Some("12"),
        secret: false,
        meaning: "of how many months the newest is kept",
    },
    Variable {
        name: BACKUP_DRILL_DAYS,
        key: "backup.drill_days",
        default: Some("7"),
        secret: false,
        meaning: "how many days after a drill the next is made; 0 for none",
    },
    Variable {
        name: BACKUP_OLDEST_HOURS,
        key: "backup.oldest_hours",
        default: Some("26"),
        secret: false,
        meaning: "how old the newest good backup may be before that is an alarm",
    },
    Variable {
        name: BACKUP_FOLDER,
        key: "backup.folder",
        default: Some("/var/lib/silo/backup"),
        secret: false,
        meaning: "a folder on disk for what does not fit into memory while a backup is checked",
    },
    Variable {
        name: BACKUP_PING_URL,
        key: "backup.ping_url",
        default: None,
        secret: true,
        meaning: "a Healthchecks-style address that is asked with /start, nothing, and /fail",
    },
    Variable {
        name: BACKUP_WEBHOOK_URL,
        key: "backup.webhook_url",
        default: None,
        secret: true,
        meaning: "an address that gets a POST with JSON when somebody must look",
    },
    Variable {
        name: BACKUP_COPY_ENDPOINT,
        key: "backup.copy_endpoint",
        default: None,
        secret: false,
        meaning: "the storage of a second copy, as https://host",
    },
    Variable {
        name: BACKUP_COPY_REGION,
        key: "backup.copy_region",
        default: Some("us-east-1"),
        secret: false,
        meaning: "its region",
    },
    Variable {
        name: BACKUP_COPY_BUCKET,
        key: "backup.copy_bucket",
        default: None,
        secret: false,
        meaning: "its bucket",
    },
    Variable {
        name: BACKUP_COPY_KEY,
        key: "backup.copy_key",
        default: None,
        secret: true,
        meaning: "the id of its access key",
    },
    Variable {
        name: BACKUP_COPY_SECRET,
        key: "backup.copy_secret",
        default: None,
        secret: true,
        meaning: "the secret of its access key",
    },
    Variable {
        name: DRILL_CONNECTION_STRING,
        key: "backup.drill_connection_string",
        default: None,
        secret: true,
        meaning: "the server where drills restore to, with an account that may make and drop silo_drill_* databases; the database's own without",
    },
    Variable {
        name: MONGO_TOOLS,
        key: "backup.mongo_tools",
        default: None,
        secret: false,
        meaning: "the folder of mongodump and mongorestore, when they are not on the PATH",
    },
    Variable {
        name: BACKUP_API_URL,
        key: "siblings.backup_api",
        default: Some("http://127.0.0.1:7104"),
        secret: false,
        meaning: "where silo-backup answers, for its siblings",
    },
    Variable {
        name: STATUS_FILE,
        key: "probe.status_file",
        default: None,
        secret: false,
        meaning: "a file that silo-services-probe writes the overview to in a few lines, for the gateway to show while everything else is stopped",
    },
    Variable {
        name: SILO_USERS,
        key: "gate.users",
        default: None,
        secret: true,
        meaning: "who may sign in: lines of a name and an argon2id hash, as `silo-gate hash NAME` prints them",
    },
    Variable {
        name: MONGO_ACCOUNTS,
        key: "mongod.accounts",
        default: None,
        secret: true,
        meaning: "who uses mongod: lines of a job (root, reader, backup, drill, browser, certificate, client) and a connection string",
    },
    Variable {
        name: MONGO_HOST,
        key: "mongod.host",
        default: None,
        secret: false,
        meaning: "the name by which mongod is reached, by itself too, such as silo.aesthetic.computer",
    },
    Variable {
        name: MONGO_REPLICA_SET,
        key: "mongod.replica_set",
        default: Some("rs0"),
        secret: false,
        meaning: "the name of mongod's replica set, which AC's connection strings carry",
    },
    Variable {
        name: MONGO_TLS_FOLDER,
        key: "mongod.tls_folder",
        default: Some("/var/lib/silo/tls"),
        secret: false,
        meaning: "where mongod's certificate and key are put",
    },
    Variable {
        name: MONGO_CA_FOLDER,
        key: "mongod.ca_folder",
        default: Some("/var/lib/silo/ca"),
        secret: false,
        meaning: "where the certificates are put that mongod's clients on this machine trust",
    },
    Variable {
        name: CADDY_DATA,
        key: "mongod.caddy_data",
        default: Some("/data/caddy"),
        secret: false,
        meaning: "where Caddy keeps its certificates",
    },
    Variable {
        name: BIND,
        key: "bind",
        default: None,
        secret: false,
        meaning: "the address this service listens on; each service has its own default (silo-db-api 127.0.0.1:7101, silo-storage-api 127.0.0.1:7102, silo-services-probe 127.0.0.1:7103, silo-backup 127.0.0.1:7104, silo-gate 127.0.0.1:7105)",
    },
    Variable {
        name: LOG_FORMAT,
        key: "log.format",
        default: Some("text"),
        secret: false,
        meaning: "text or json",
    },
    Variable {
        name: RUST_LOG,
        key: "log.filter",
        default: Some("info"),
        secret: false,
        meaning: "which log lines are written, in env_logger's syntax",
    },
    Variable {
        name: AC_GIT_SHA,
        key: "build.sha",
        default: None,
        secret: false,
        meaning: "the deployed git commit, when the build does not know it",
    },
    Variable {
        name: AC_GIT_DIRTY,
        key: "build.dirty",
        default: None,
        secret: false,
        meaning: "0 or 1: whether that commit had changes on top",
    },
];

/// Sections of `silo.toml` that are lists or tables. The service that reads one validates its contents.
pub const SECTIONS: &[&str] = &["buckets", "clients", "collections", "probes"];
