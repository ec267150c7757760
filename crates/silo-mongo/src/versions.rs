//! Versions of mongod that have known faults, from one table.

/// A release that mends a fault of its series.
struct Advisory {
    /// Major and minor version.
    series: (u64, u64),
    /// The first patch release without the fault.
    fixed_in: u64,
    /// The fault, and its CVE.
    reason: &'static str,
}

/// CVE-2025-14847, fixed in every series that was maintained in December 2025.
const MEMORY_READ: &str =
    "anyone who reaches the port can read the server's memory without signing in (CVE-2025-14847)";

/// Known faults that matter for a server that AC's services reach over the internet. Source: MongoDB's security advisories, as of August 2026.
const ADVISORIES: &[Advisory] = &[
    advisory(7, 0, 28, MEMORY_READ),
    advisory(8, 0, 17, MEMORY_READ),
    advisory(
        8,
        0,
        21,
        "a fault with security impact is not fixed (CVE-2026-6914)",
    ),
    advisory(
        8,
        0,
        23,
        "an account that may insert can write out of bounds, and possibly run code (CVE-2026-8053)",
    ),
    advisory(
        8,
        0,
        23,
        "two faults with security impact are not fixed (CVE-2026-8199, CVE-2026-8202)",
    ),
    advisory(
        8,
        0,
        24,
        "one message without signing in crashes the server (CVE-2026-9740)",
    ),
    advisory(8, 2, 3, MEMORY_READ),
];

/// The oldest series that MongoDB maintains (<https://www.mongodb.com/legal/support-policy/lifecycles>).
const OLDEST_SERIES: (u64, u64) = (7, 0);

const fn advisory(major: u64, minor: u64, fixed_in: u64, reason: &'static str) -> Advisory {
    Advisory {
        series: (major, minor),
        fixed_in,
        reason,
    }
}

/// Reasons to upgrade a mongod of this version, one sentence each; none when there is no known one.
#[must_use]
pub fn warnings(version: &str) -> Vec<String> {
    let Some((major, minor, patch)) = parse(version) else {
        return vec![format!(
            "mongod reports the version `{version}`, which is not a version number"
        )];
    };
    let mut warnings: Vec<String> = ADVISORIES
        .iter()
        .filter(|advisory| advisory.series == (major, minor) && patch < advisory.fixed_in)
        .map(|advisory| {
            let fixed = advisory.fixed_in;
            format!(
                "mongod {version}: {}; upgrade to {major}.{minor}.{fixed} or later",
                advisory.reason
            )
        })
        .collect();
    if (major, minor) < OLDEST_SERIES {
        let (major, minor) = OLDEST_SERIES;
        warnings.push(format!(
            "mongod {version}: this series is at its end of life and gets no security updates; upgrade to {major}.{minor} or later"
        ));
    }
    warnings
}

/// Major, minor and patch, without the suffix of a release candidate.
fn parse(version: &str) -> Option<(u64, u64, u64)> {
    let mut parts = version
        .split(['.', '-'])
        .map(|part| part.parse::<u64>().ok());
    let mut part = || parts.next().flatten();
    Some((part()?, part()?, part()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_with_a_known_fault_has_a_reason_for_each() {
        for (version, count, reason) in [
            ("8.0.29", 0, ""),
            ("8.0.24", 0, ""),
            ("8.0.23", 1, "CVE-2026-9740"),
            ("8.0.22", 3, "upgrade to 8.0.23 or later"),
            ("8.0.16", 5, "CVE-2025-14847"),
            ("8.2.2", 1, "upgrade to 8.2.3 or later"),
            ("8.2.11", 0, ""),
            ("8.3.0", 0, ""),
            ("9.0.0-rc1", 0, ""),
            ("7.0.28", 0, ""),
            ("7.0.27", 1, "CVE-2025-14847"),
            ("6.0.5", 1, "no security updates"),
            ("nonsense", 1, "`nonsense`"),
            ("", 1, "not a version number"),
        ] {
            let found = warnings(version);
            assert_eq!(found.len(), count, "{version}: {found:?}");
            assert!(
                count == 0 || found.iter().any(|warning| warning.contains(reason)),
                "{version}: {found:?}"
            );
        }
    }
}
