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
        name: BIND,
        key: "bind",
        default: None,
        secret: false,
        meaning: "the address this service listens on; each service has its own default (silo-db-api 127.0.0.1:7101, silo-storage-api 127.0.0.1:7102)",
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

/// Sections of `silo.toml` that are lists or tables; the service that reads one checks what is inside.
pub const SECTIONS: &[&str] = &["buckets", "clients", "collections"];
