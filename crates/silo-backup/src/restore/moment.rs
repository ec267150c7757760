//! A later moment than that of a backup: the backup's archive, rolled forward with the entries of the oplog after it.
//!
//! `plan` finds the backup, and the entries: in the server's oplog, or in the slices of continuous backup. `rolling` writes the archive of the moment.

mod plan;
mod rolling;

use std::str::FromStr;

use jiff::Timestamp;

use crate::error::Error;
use crate::oplog::Position;
use crate::oplog::server::Until;

pub use plan::{Choice, Plan, Planned, plan, plan_from_copies};

/// A moment, as an operator names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After the last change.
    Latest,
    /// All changes before this second began.
    Time(Timestamp),
    /// All changes up to and with the one of this position.
    After(Position),
    /// All changes before the one of this position; as `--oplogLimit` of mongorestore.
    Before(Position),
}

impl FromStr for Moment {
    type Err = String;

    /// `latest`, a time such as `2026-11-26T03:00:00Z`, or a position such as `1764126000:7`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Ok(position) = text.parse() {
            return Ok(Self::After(position));
        }
        text.parse().map(Self::Time).map_err(|_why| {
            "is neither `latest`, nor a time such as 2026-11-26T03:00:00Z, nor a position such as 1764126000:7".into()
        })
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(seconds, increment)| {
            Some(Self {
                seconds: seconds.parse().ok()?,
                increment: increment.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| "is no position such as 1764126000:7".into())
    }
}

impl Moment {
    /// The end of the entries to take.
    ///
    /// # Errors
    /// [`Error::Refused`] for a moment that has not come: `newest` is the last entry that there is.
    fn until(self, newest: Position) -> Result<Until, Error> {
        let not_yet = |what: String| {
            Err(Error::Refused(format!(
                "{what} is later than the last change that is known ({newest}); use `latest`"
            )))
        };
        match self {
            Self::Latest => Ok(Until::Through(newest)),
            Self::Time(time) => {
                let seconds = u32::try_from(time.as_second()).unwrap_or_default();
                if seconds > newest.seconds {
                    return not_yet(time.to_string());
                }
                Ok(Until::Before(Position {
                    seconds,
                    increment: 0,
                }))
            }
            Self::After(position) | Self::Before(position) if position > newest => {
                not_yet(position.to_string())
            }
            Self::After(position) => Ok(Until::Through(position)),
            Self::Before(position) => Ok(Until::Before(position)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(seconds: u32, increment: u32) -> Position {
        Position { seconds, increment }
    }

    #[test]
    fn a_moment_is_a_time_a_position_or_the_last_change() {
        let time = "2026-11-26T03:00:00Z";
        let seconds = time.parse::<Timestamp>().unwrap().as_second();
        assert_eq!(time.parse(), Ok(Moment::Time(time.parse().unwrap())));
        assert_eq!("latest".parse(), Ok(Moment::Latest));
        assert_eq!("17:3".parse(), Ok(Moment::After(position(17, 3))));
        for wrong in [
            "",
            "yesterday",
            "17",
            "17:",
            "17:-1",
            "99999999999:1",
            "2026-11-26",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
        let newest = position(u32::try_from(seconds).unwrap(), 4);
        let until = |moment: Moment| moment.until(newest);
        let before = Until::Before(Position {
            increment: 0,
            ..newest
        });
        assert_eq!(until(time.parse().unwrap()).unwrap(), before);
        assert_eq!(until(Moment::Latest).unwrap(), Until::Through(newest));
        assert_eq!(
            until(Moment::Before(newest)).unwrap(),
            Until::Before(newest)
        );
        assert!(until(Moment::After(position(newest.seconds, 5))).is_err());
        assert!(until("2026-11-26T03:00:01Z".parse().unwrap()).is_err());
    }
}
