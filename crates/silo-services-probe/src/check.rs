//! One check of one service: request, evaluation, comparison with the expectations.

use std::time::Duration;

use silo_core::units::whole_millis;

use crate::failure::Failure;
use crate::gateway::fetch::{Fetched, Fetcher, Timings};
use crate::kinds::Evaluation;
use crate::probe::Probe;
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
}

/// Checks a service once.
pub async fn check(fetcher: &Fetcher, probe: &Probe) -> Check {
    let url = probe.at(probe.kind.path());
    let fetched = fetcher.get(&url, &probe.expect, probe.timeout).await;
    let Fetched {
        answer,
        elapsed,
        steps,
        certificate_days,
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
