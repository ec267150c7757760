//! Build information: version, commit and time of this binary. AC's fleet contract asks every service for it.

use jiff::Timestamp;
use serde::Serialize;

/// Origin of a running service. A field is `null` when it is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// The version of the workspace.
    pub version: &'static str,
    /// The git commit: from `AC_GIT_SHA` in the environment, else from the build.
    pub sha: Option<String>,
    /// `true` if the tree had uncommitted changes: from `AC_GIT_DIRTY` (0 or 1), else from the build.
    pub dirty: Option<bool>,
    /// When it was built.
    pub built_at: Option<Timestamp>,
}

impl Build {
    /// Build information of this binary. A deployment's stamp (`AC_GIT_SHA`, `AC_GIT_DIRTY`) takes precedence over the build's own.
    #[must_use]
    pub fn current(stamped_sha: Option<&str>, stamped_dirty: Option<&str>) -> Self {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let sha = stamped_sha
            .and_then(known)
            .or_else(|| known(env!("SILO_BUILD_SHA")));
        let dirty = stamped_dirty
            .and_then(flag)
            .or_else(|| flag(env!("SILO_BUILD_DIRTY")));
        let built_at = env!("SILO_BUILD_TIME")
            .parse()
            .ok()
            .and_then(|second| Timestamp::from_second(second).ok());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            sha,
            dirty,
            built_at,
        }
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "0" | "false" => Some(false),
        "1" | "true" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sha_of_the_deployment_overrides_that_of_the_build() {
        let build = Build::current(Some("abc"), Some("1"));
        assert_eq!(
            (build.sha.as_deref(), build.dirty),
            (Some("abc"), Some(true))
        );
    }
}
