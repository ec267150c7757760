//! The driver's errors in our words: a stable code and a sentence, without hosts, users or documents.

use std::borrow::Cow;

use mongodb::error::{Error, ErrorKind, WriteFailure};

/// Error of a database command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseError {
    /// The server refused the connection, or its name has no address.
    Unreachable,
    /// The server did not answer the driver in time, which looks for it every few seconds: it is overloaded, frozen, or behind a firewall.
    Silent,
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
    /// The server is neither primary nor secondary: it is recovering, or was removed from its replica set.
    NotReadable,
    /// The server accepted the snapshot session and did not isolate it from later writes.
    NotIsolated,
    /// The server refused the command, with this error code.
    Refused(i32),
    /// The server's answer was not in the expected shape.
    Unreadable,
}

/// Error of a database, with the action that failed, such as "reading users".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {error}", error = .error.detail())]
pub struct ActionError {
    /// Attempted action.
    pub action: String,
    /// Error of the database.
    pub error: DatabaseError,
}

impl ActionError {
    /// For `map_err`: the error with the action that failed.
    pub fn of<E: Into<DatabaseError>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |error| Self {
            action,
            error: error.into(),
        }
    }
}

impl DatabaseError {
    /// A stable name, in snake case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::AuthenticationFailed => "authentication_failed",
            Self::NotAuthorized => "not_authorized",
            Self::TimedOut | Self::Silent => "timed_out",
            Self::NotSupported => "not_supported",
            Self::NotThere => "not_there",
            Self::SnapshotGone => "snapshot_gone",
            Self::DuplicateKey => "duplicate_key",
            Self::NotReadable => "not_readable",
            Self::NotIsolated => "not_isolated",
            Self::Refused(_) => "refused",
            Self::Unreadable => "unreadable",
        }
    }

    /// One sentence for people.
    #[must_use]
    pub fn detail(self) -> Cow<'static, str> {
        if let Self::Refused(code) = self {
            return match CODE_NAMES.iter().find(|(known, _)| *known == code) {
                _ if code == 0 => "the driver or the server refused the command".into(),
                Some((_, name)) => {
                    format!("the server refused the command: {name} ({code})").into()
                }
                None => format!("the server refused the command: error code {code}").into(),
            };
        }
        self.sentence().into()
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Unreachable => "no server answers at the configured address",
            Self::AuthenticationFailed => {
                "the server did not accept the configured user and password"
            }
            Self::NotAuthorized => {
                "the account lacks the privilege; it needs read on the database and clusterMonitor"
            }
            Self::TimedOut | Self::Silent => "the server did not answer within the time limit",
            Self::NotSupported => "this server does not offer it",
            Self::NotThere => "it does not exist any more, or is a view",
            Self::SnapshotGone => {
                "the server no longer keeps the moment that was being read: the run took longer than minSnapshotHistoryWindowInSeconds, or the collection was replaced"
            }
            Self::DuplicateKey => "two documents have the same key in a unique index",
            Self::NotReadable => {
                "the server is neither primary nor secondary, and answers no reads: it is recovering, or was removed from its replica set"
            }
            Self::NotIsolated => "the server did not isolate the snapshot from later writes",
            Self::Refused(_) => "the server refused the command",
            Self::Unreadable => "the server's answer was not in the expected shape",
        }
    }
}

impl From<&Error> for DatabaseError {
    fn from(error: &Error) -> Self {
        let kind = Self::of_kind(error);
        // Not the driver's text: it may contain values of documents and host names.
        log::debug!(code = kind.code(), server_code = server_code(error); "a database command failed");
        kind
    }
}

impl DatabaseError {
    fn of_kind(error: &Error) -> Self {
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
            // The driver gives the error of its last look at the server only as text.
            ErrorKind::ServerSelection { message, .. }
            | ErrorKind::ConnectionPoolCleared { message, .. }
                if message.contains(IO_TIMED_OUT) =>
            {
                Self::Silent
            }
            ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Self::Silent,
            ErrorKind::ServerSelection { .. }
            | ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. } => Self::Unreachable,
            ErrorKind::InvalidResponse { .. } | ErrorKind::BsonDeserialization(_) => {
                Self::Unreadable
            }
            ErrorKind::Write(WriteFailure::WriteError(error)) => Self::from_server_code(error.code),
            ErrorKind::Write(WriteFailure::WriteConcernError(error)) => {
                Self::from_server_code(error.code)
            }
            ErrorKind::InsertMany(many) => {
                let of_write = many.write_errors.iter().flatten().next();
                let of_concern = many.write_concern_error.as_ref();
                let code = of_write
                    .map(|error| error.code)
                    .or(of_concern.map(|error| error.code));
                Self::from_server_code(code.unwrap_or_default())
            }
            _ => Self::Refused(0),
        }
    }
}

impl From<Error> for DatabaseError {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl DatabaseError {
    /// `true` if the command may succeed later: no server, an election, or a cache full of other writes (`TransactionTooLargeForCache`).
    #[must_use]
    pub fn is_transient(self) -> bool {
        self.is_without_server()
            || self == Self::NotReadable
            || matches!(
                self,
                Self::Refused(91 | 189 | 388 | 10_107 | 11_600 | 11_602 | 13_435)
            )
    }

    /// `true` if no command can be run: there is no server, or it does not answer.
    #[must_use]
    pub fn is_without_server(self) -> bool {
        matches!(self, Self::Unreachable | Self::Silent)
    }

    /// By the server's error codes (mongod's `error_codes.yml`).
    #[must_use]
    pub fn from_server_code(code: i32) -> Self {
        match code {
            13 => Self::NotAuthorized,
            18 => Self::AuthenticationFailed,
            50 | 262 => Self::TimedOut,
            59 | 115 | 40_324 => Self::NotSupported,
            26 | 166 => Self::NotThere,
            239 | 246 => Self::SnapshotGone,
            11_000 => Self::DuplicateKey,
            13_436 => Self::NotReadable,
            _ => Self::Refused(code),
        }
    }
}

/// Text of [`std::io::ErrorKind::TimedOut`].
const IO_TIMED_OUT: &str = "timed out";

/// Names of error codes that an operator may meet (mongod's `error_codes.yml`). They contain no data.
const CODE_NAMES: &[(i32, &str)] = &[
    (2, "BadValue"),
    (9, "FailedToParse"),
    (20, "IllegalOperation"),
    (43, "CursorNotFound"),
    (48, "NamespaceExists"),
    (64, "WriteConcernFailed"),
    (67, "CannotCreateIndex"),
    (72, "InvalidOptions"),
    (73, "InvalidNamespace"),
    (85, "IndexOptionsConflict"),
    (86, "IndexKeySpecsConflict"),
    (91, "ShutdownInProgress"),
    (121, "DocumentValidationFailure"),
    (123, "NotAReplicaSet"),
    (133, "FailedToSatisfyReadPreference"),
    (136, "CappedPositionLost"),
    (175, "QueryPlanKilled"),
    (189, "PrimarySteppedDown"),
    (197, "InvalidIndexSpecificationOption"),
    (237, "CursorKilled"),
    (276, "IndexBuildAborted"),
    (388, "TransactionTooLargeForCache"),
    (10_107, "NotWritablePrimary"),
    (10_334, "BSONObjectTooLarge"),
    (11_600, "InterruptedAtShutdown"),
    (11_602, "InterruptedDueToReplStateChange"),
    (13_388, "StaleConfig"),
    (13_435, "NotPrimaryNoSecondaryOk"),
    (14_031, "OutOfDiskSpace"),
    (16_389, "BSONObjectTooLarge"),
];

/// Error code of the server; 0 for an error of the driver.
fn server_code(error: &Error) -> i32 {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => command.code,
        _ => 0,
    }
}
