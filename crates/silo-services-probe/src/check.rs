//! One check of one service: request, evaluation, comparison with the expectations.

use std::time::Duration;

use silo_core::units::whole_millis;

use crate::failure::Failure;
use crate::gateway::fetch::{Fetched, Fetcher, Steps};
use crate::kinds::{Doubt, Facts};
use crate::probe::Probe;

/// Result of one check.
#[derive(Debug)]
pub struct Check {
    /// Facts and warnings, or the failure.
    pub outcome: Result<Well, Failure>,
    /// Total duration.
    pub took: Duration,
    /// Duration of each step.
    pub steps: Steps,
    /// Days until the certificate expires.
    pub certificate_days: Option<i64>,
}

/// A service that answered as it should.
#[derive(Debug)]
pub struct Well {
    /// Facts that the service reports.
    pub facts: Facts,
    /// Warnings; with any the service is degraded.
    pub doubts: Vec<Doubt>,
}

/// Checks a service once.
pub async fn check(fetcher: &Fetcher, probe: &Probe) -> Check {
    let url = probe.at(probe.kind.path());
    let fetched = fetcher.get(&url, &probe.expect, probe.timeout).await;
    let Fetched {
        answer,
        took,
        steps,
        certificate_days,
    } = fetched;
    let judged = answer.and_then(|reply| probe.kind.judge(&reply, &probe.expect));
    let outcome = judged.map(|judged| {
        let mut doubts = judged.doubts;
        doubts.extend(slow(probe, took));
        doubts.extend(expires(probe, certificate_days));
        let facts = judged.facts;
        Well { facts, doubts }
    });
    Check {
        outcome,
        took,
        steps,
        certificate_days,
    }
}

fn slow(probe: &Probe, took: Duration) -> Option<Doubt> {
    let (took, most) = (whole_millis(took), probe.expect.response_ms?);
    (took > most).then(|| Doubt {
        code: "slow",
        detail: format!("it took {took} ms to answer, and {most} are expected at the most"),
    })
}

fn expires(probe: &Probe, days: Option<i64>) -> Option<Doubt> {
    let days = days.filter(|days| *days <= probe.expect.certificate_days)?;
    let when = match days {
        ..=-1 => "has expired".to_owned(),
        0 => "expires within a day".to_owned(),
        1 => "expires in 1 day".to_owned(),
        _ => format!("expires in {days} days"),
    };
    Some(Doubt {
        code: "certificate_expires",
        detail: format!("its certificate {when}"),
    })
}
