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
        name: BIND,
        key: "bind",
        default: None,
        secret: false,
        meaning: "the address this service listens on; each service has its own default (silo-db-api 127.0.0.1:7101)",
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
pub const SECTIONS: &[&str] = &["collections", "clients"];
