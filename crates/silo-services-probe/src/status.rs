//! Status of a service, and its transitions: a failure degrades it, several in a row take it down, one good answer restores it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::failure::Failure;
use crate::kinds::Evaluation;

/// Status of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The service answers as expected.
    Up,
    /// The service answers with warnings, or failed less often in a row than takes it down.
    Degraded,
    /// The service failed several times in a row; as often as its probe says, normally twice.
    Down,
    /// Unknown: not checked yet, or the prober is offline.
    #[default]
    Unknown,
}

impl Status {
    /// All statuses.
    pub const ALL: [Self; 4] = [Self::Up, Self::Degraded, Self::Down, Self::Unknown];

    /// Name in the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }

    /// The status that a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }

    /// Status after a check, given this previous status. `failures` in a row, this one included, of `failures_to_down`.
    #[must_use]
    pub fn after(
        self,
        outcome: &Result<Evaluation, Failure>,
        failures: u32,
        failures_to_down: u32,
    ) -> Self {
        match outcome {
            Ok(well) if well.warnings.is_empty() => Self::Up,
            Ok(_) => Self::Degraded,
            Err(_) if self == Self::Down || failures >= failures_to_down => Self::Down,
            Err(_) => Self::Degraded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Facts;
    use crate::kinds::http::Http;
    use crate::warning::Warning;

    #[test]
    fn one_failure_degrades_and_two_in_a_row_take_down() {
        let well = |warnings| {
            Ok(Evaluation {
                facts: Some(Facts::Http(Http { status: 200 })),
                warnings,
            })
        };
        let warning = || Warning {
            code: "slow",
            detail: String::new(),
        };
        let mut status = Status::Unknown;
        let mut failures = 0;
        let mut after = |outcome: Result<Evaluation, Failure>| {
            failures = if outcome.is_err() { failures + 1 } else { 0 };
            status = status.after(&outcome, failures, 2);
            status
        };
        assert_eq!(after(Err(Failure::Refused)), Status::Degraded);
        assert_eq!(after(well(vec![])), Status::Up);
        assert_eq!(after(well(vec![warning()])), Status::Degraded);
        assert_eq!(
            after(Err(Failure::Refused)),
            Status::Degraded,
            "it answered before, so this is the first failure"
        );
        assert_eq!(after(Err(Failure::Reset)), Status::Down);
        assert_eq!(after(Err(Failure::Status(500))), Status::Down);
        assert_eq!(after(well(vec![])), Status::Up);
    }

    #[test]
    fn a_probe_may_allow_more_or_fewer_failures() {
        let failed = Err(Failure::Reset);
        for (to_down, wanted) in [(1, Status::Down), (3, Status::Degraded)] {
            assert_eq!(Status::Up.after(&failed, 1, to_down), wanted);
        }
        assert_eq!(Status::Degraded.after(&failed, 3, 3), Status::Down);
    }
}
