//! Number of repetitions of random tests.

/// The variable with the number of random workloads of each test, for a run of its own with more than usual.
const VARIABLE: &str = "SILO_TEST_WORKLOADS";

/// Number of random workloads: few where all tests run.
///
/// # Panics
/// When the variable is set and is no number.
#[must_use]
pub fn workloads(usual: u64) -> u64 {
    let wanted = std::env::var(VARIABLE).ok();
    wanted.map_or(usual, |wanted| {
        wanted
            .parse()
            .unwrap_or_else(|_| panic!("{VARIABLE} is a number"))
    })
}
