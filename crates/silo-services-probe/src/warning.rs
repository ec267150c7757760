//! Warnings about services that answer.

/// Warning about a service that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A stable name.
    pub code: &'static str,
    /// One sentence for people.
    pub detail: String,
}
