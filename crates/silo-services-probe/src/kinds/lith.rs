//! lith, the site itself and its API: `/lith/stats` reports counters, which restart from zero with it.

use serde::Serialize;
use serde_json::Value;
use silo_core::units::count_from_usize;
use utoipa::ToSchema;

use super::field::{count, percent, seconds, word};
use super::reply::nothing_known;
use crate::failure::Failure;

pub(super) const PATH: &str = "/lith/stats";
/// Most functions in the list.
const NAMED: usize = 5;

/// Facts that the site reports, since its last start.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lith {
    /// Uptime in seconds.
    pub uptime_seconds: Option<u64>,
    /// Functions it has loaded.
    pub functions: Option<u64>,
    /// Calls of them.
    pub calls: Option<u64>,
    /// Calls that failed.
    pub errors: Option<u64>,
    /// `errors` of `calls` in percent.
    pub error_percent: Option<f64>,
    /// Memory of the process in bytes, from a value in whole MiB.
    pub memory_bytes: Option<u64>,
    /// The functions with the most errors, five at the most.
    pub failing: Option<Vec<Function>>,
}

/// A function of the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Function {
    /// Name of the function.
    pub name: String,
    /// Calls.
    pub calls: Option<u64>,
    /// Calls that failed.
    pub errors: u64,
}

pub(super) fn read(value: &Value) -> Result<Lith, Failure> {
    let (calls, errors) = (
        count(&value["totals"]["calls"]),
        count(&value["totals"]["errors"]),
    );
    let functions = value["functions"].as_array();
    let lith = Lith {
        uptime_seconds: seconds(&value["uptime"]),
        functions: count(&value["functionsLoaded"])
            .or_else(|| functions.map(|list| count_from_usize(list.len()))),
        calls,
        errors,
        error_percent: calls
            .zip(errors)
            .and_then(|(calls, errors)| percent(errors, calls)),
        memory_bytes: count(&value["memory"]["rss"]).and_then(|mib| mib.checked_mul(1024 * 1024)),
        failing: functions.map(|list| failing(list)),
    };
    if (lith.uptime_seconds, lith.functions, lith.calls) == (None, None, None) {
        return Err(nothing_known("lith"));
    }
    Ok(lith)
}

fn failing(functions: &[Value]) -> Vec<Function> {
    let read = |function: &Value| {
        let errors = count(&function["errors"]).filter(|errors| *errors > 0)?;
        let name = word(&function["name"])?;
        Some(Function {
            name,
            calls: count(&function["calls"]),
            errors,
        })
    };
    let mut failing: Vec<_> = functions.iter().filter_map(read).collect();
    failing.sort_by(|a, b| b.errors.cmp(&a.errors).then_with(|| a.name.cmp(&b.name)));
    failing.truncate(NAMED);
    failing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counters_are_taken_and_the_worst_functions_named() {
        let functions: Vec<_> = (0..9).map(|n| json!({"name": format!("f{n}"), "calls": 100, "errors": n, "lastError": "at /home/me"})).collect();
        let stats = json!({"uptime": 77, "functionsLoaded": 9, "memory": {"rss": 120, "heap": 60}, "totals": {"calls": 900, "errors": 36}, "functions": functions});
        let lith = read(&stats).unwrap();
        assert_eq!(
            (lith.uptime_seconds, lith.error_percent, lith.memory_bytes),
            (Some(77), Some(4.0), Some(125_829_120))
        );
        let names: Vec<_> = lith
            .failing
            .as_ref()
            .unwrap()
            .iter()
            .map(|function| function.name.as_str())
            .collect();
        assert_eq!(names, ["f8", "f7", "f6", "f5", "f4"]);
        assert!(!serde_json::to_string(&lith).unwrap().contains("home"));
        let nothing_yet = read(&json!({"uptime": 1, "totals": {"calls": 0, "errors": 0}})).unwrap();
        assert_eq!(
            nothing_yet.error_percent, None,
            "a share of nothing is not zero"
        );
    }
}
