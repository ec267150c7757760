//! One check of one service: request, evaluation, comparison with the expectations.

use std::time::Duration;

use silo_core::units::whole_millis;

use crate::failure::Failure;
use crate::gateway::dialer::AddressScope;
use crate::gateway::fetch::{Fetched, Fetcher, Timings};
use crate::kinds::Evaluation;
use crate::probe::{Kind, Probe};
use crate::warning::Warning;

/// Result of one check.
#[derive(Debug)]
pub struct Check {
    /// Facts and warnings, or the failure.
    pub outcome: Result<Evaluation, Failure>,
    /// Total duration.
    pub elapsed: Duration,
    /// Duration of each step.
    pub steps: Timings,
    /// Days until the certificate expires.
    pub certificate_days: Option<i64>,
    /// Scope of its address; `None` if the name was not resolved.
    pub scope: Option<AddressScope>,
}

impl Check {
    /// `true` if this machine may be offline: nothing came back from an address outside.
    #[must_use]
    pub fn may_be_offline(&self) -> bool {
        let silent = |failure: &Failure| failure.is_network_error();
        self.outcome.as_ref().is_err_and(silent) && self.scope != Some(AddressScope::Private)
    }

    /// `true` if this machine is online: an address outside answered, or refused.
    #[must_use]
    pub fn proves_connectivity(&self) -> bool {
        let heard = |failure: &Failure| !failure.is_network_error();
        let heard = self.outcome.as_ref().err().is_none_or(heard);
        heard && self.scope == Some(AddressScope::Public)
    }
}

/// Checks a service once.
pub async fn check(fetcher: &Fetcher, probe: &Probe) -> Check {
    let fetched = match probe.kind {
        Kind::Tcp => fetcher.connect(&probe.url, probe.timeout).await,
        Kind::Redis => {
            let sign_in = probe.sign_in.as_ref();
            fetcher.redis(&probe.url, sign_in, probe.timeout).await
        }
        _ => {
            let url = probe.at(probe.kind.path());
            fetcher.get(&url, &probe.expect, probe.timeout).await
        }
    };
    let Fetched {
        answer,
        elapsed,
        steps,
        certificate_days,
        scope,
    } = fetched;
    let mut outcome = answer.and_then(|reply| probe.kind.evaluate(&reply, &probe.expect));
    if let Ok(evaluation) = &mut outcome {
        evaluation.warnings.extend(slow(probe, elapsed));
        evaluation.warnings.extend(expires(probe, certificate_days));
    }
    Check {
        outcome,
        elapsed,
        steps,
        certificate_days,
        scope,
    }
}

fn slow(probe: &Probe, elapsed: Duration) -> Option<Warning> {
    let (elapsed, most) = (whole_millis(elapsed), probe.expect.response_ms?);
    (elapsed > most).then(|| Warning {
        code: "slow",
        detail: format!("it took {elapsed} ms to answer; the limit is {most} ms"),
    })
}

fn expires(probe: &Probe, days: Option<i64>) -> Option<Warning> {
    let days = days.filter(|days| *days <= probe.expect.certificate_days)?;
    let when = match days {
        ..=-1 => "has expired".to_owned(),
        0 => "expires within a day".to_owned(),
        1 => "expires in 1 day".to_owned(),
        _ => format!("expires in {days} days"),
    };
    Some(Warning {
        code: "certificate_expires",
        detail: format!("its certificate {when}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Phase, TlsFault};

    #[test]
    fn only_silence_of_an_address_outside_may_be_our_own_network() {
        let with = |failure: Failure, scope| {
            let check = Check {
                outcome: Err(failure),
                elapsed: Duration::ZERO,
                steps: Timings::default(),
                certificate_days: None,
                scope,
            };
            (check.may_be_offline(), check.proves_connectivity())
        };
        let (public, private) = (Some(AddressScope::Public), Some(AddressScope::Private));
        for silent in [Failure::Unreachable, Failure::TimedOut(Phase::Connect)] {
            assert_eq!(with(silent.clone(), public), (true, false), "{silent:?}");
            assert_eq!(with(silent.clone(), private), (false, false), "{silent:?}");
        }
        for unresolved in [Failure::ResolverFailed, Failure::TimedOut(Phase::Resolve)] {
            assert_eq!(with(unresolved, None), (true, false));
        }
        assert_eq!(with(Failure::NameNotFound, None), (false, false));
        for heard in [
            Failure::Refused,
            Failure::Reset,
            Failure::Tls(TlsFault::Handshake),
            Failure::TimedOut(Phase::Answer),
            Failure::Status(500),
        ] {
            assert_eq!(with(heard.clone(), public), (false, true), "{heard:?}");
            assert_eq!(with(heard.clone(), private), (false, false), "{heard:?}");
        }
    }
}
