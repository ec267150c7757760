//! Metrics that the alert rules and the Grafana dashboard of `ops/prometheus` name, compared with those of a running stack.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use silo_testkit::tools::workspace;
use silo_testkit::wait::wait_for;

/// Files that name metrics.
const FILES: [&str; 2] = ["ops/prometheus/rules.yml", "ops/prometheus/grafana.json"];
/// Paths of the gateway, one for each service.
const PATHS: [&str; 4] = [
    "/metrics/db",
    "/metrics/storage",
    "/metrics/services",
    "/metrics/backup",
];
/// Some are there only after the first backup, scan and checks.
const WITHIN: Duration = Duration::from_secs(90);

/// Checks that every metric named in the files is served through the gateway.
///
/// # Errors
/// The names that no service has.
pub async fn check(address: &str) -> Result<()> {
    let named = named()?;
    ensure!(named.len() > 20, "only {named:?} are named");
    let http = reqwest::Client::new();
    let missing = RefCell::new(named.clone());
    let all_there = wait_for(WITHIN, || async {
        let mut served = BTreeSet::new();
        for path in PATHS {
            let answer = http.get(format!("{address}{path}")).send().await.ok()?;
            served.extend(names(&answer.text().await.ok()?));
        }
        let left: BTreeSet<_> = named.difference(&served).cloned().collect();
        let done = left.is_empty();
        missing.replace(left);
        done.then_some(())
    });
    all_there.await;
    let missing = missing.into_inner();
    ensure!(missing.is_empty(), "no service has the metrics {missing:?}");
    Ok(())
}

/// Names of Silo's metrics in the files.
fn named() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for file in FILES {
        found.extend(names(&std::fs::read_to_string(workspace().join(file))?));
    }
    Ok(found)
}

/// Words that begin with `silo_`: in an exposition, in a rule or in a dashboard.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| word.starts_with("silo_"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_rules_and_in_expositions() {
        let rule = "expr: rate(silo_a_total[5m]) / silo_b{service=\"silo-db-api\"} > 0";
        let wanted: BTreeSet<_> = ["silo_a_total", "silo_b"].map(str::to_owned).into();
        assert_eq!(names(rule), wanted);
        assert!(names("# TYPE silo_b gauge\nsilo_b{x=\"1\"} 2").contains("silo_b"));
    }
}
