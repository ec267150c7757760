//! The driver's errors in our words: a stable code and a sentence, without hosts, users or documents.

use mongodb::error::{Error, ErrorKind};

/// Error of a database command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseError {
    /// No server could be reached in time.
    Unreachable,
    /// The server did not accept the user or password.
    AuthenticationFailed,
    /// The account may not run this command.
    NotAuthorized,
    /// The command ran into its time limit.
    TimedOut,
    /// The server does not know this command or stage.
    NotSupported,
    /// The collection was dropped or is a view.
    NotThere,
    /// The moment that was being read is no longer kept, or none can be read.
    SnapshotGone,
    /// Two documents have the same key in a unique index.
    DuplicateKey,
    /// The server answered something else.
    Refused,
    /// The server's answer was not in the expected shape.
    Unreadable,
}

impl DatabaseError {
    /// A stable name, in snake case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::AuthenticationFailed => "authentication_failed",
            Self::NotAuthorized => "not_authorized",
            Self::TimedOut => "timed_out",
            Self::NotSupported => "not_supported",
            Self::NotThere => "not_there",
            Self::SnapshotGone => "snapshot_gone",
            Self::DuplicateKey => "duplicate_key",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
        }
    }

    /// One sentence for people.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::Unreachable => "no server answers at the configured address",
            Self::AuthenticationFailed => {
                "the server did not accept the configured user and password"
            }
            Self::NotAuthorized => {
                "the account lacks the privilege; it needs read on the database and clusterMonitor"
            }
            Self::TimedOut => "the server did not answer within the time limit",
            Self::NotSupported => "this server does not offer it",
            Self::NotThere => "it does not exist any more, or is a view",
            Self::SnapshotGone => {
                "the server no longer keeps the moment that was being read (minSnapshotHistoryWindowInSeconds)"
            }
            Self::DuplicateKey => "two documents have the same key in a unique index",
            Self::Refused => "the server refused the command",
            Self::Unreadable => "the server's answer was not in the expected shape",
        }
    }
}

impl From<&Error> for DatabaseError {
    fn from(error: &Error) -> Self {
        log::debug!("the driver reports: {}", error.kind);
        match error.kind.as_ref() {
            ErrorKind::Authentication { .. } => Self::AuthenticationFailed,
            ErrorKind::Command(command) => Self::from_server_code(command.code),
            // Only the first waiting command gets the authentication error; the others get a closed connection with that error in its text.
            ErrorKind::ServerSelection { message, .. }
            | ErrorKind::ConnectionPoolCleared { message, .. }
                if message.contains("SCRAM failure") || message.contains("uthentication") =>
            {
                Self::AuthenticationFailed
            }
            ErrorKind::ServerSelection { .. }
            | ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. } => Self::Unreachable,
            ErrorKind::InvalidResponse { .. } | ErrorKind::BsonDeserialization(_) => {
                Self::Unreadable
            }
            _ => Self::Refused,
        }
    }
}

impl From<Error> for DatabaseError {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl DatabaseError {
    /// By the server's error codes (mongod's `error_codes.yml`).
    fn from_server_code(code: i32) -> Self {
        match code {
            13 => Self::NotAuthorized,
            18 => Self::AuthenticationFailed,
            50 | 262 => Self::TimedOut,
            59 | 115 | 40_324 => Self::NotSupported,
            26 | 166 => Self::NotThere,
            239 | 246 => Self::SnapshotGone,
            11_000 => Self::DuplicateKey,
            _ => Self::Refused,
        }
    }
}
