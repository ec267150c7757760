//! Stamps the git commit into the build, for the running service's version.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=AC_GIT_SHA");
    println!("cargo:rerun-if-env-changed=AC_GIT_DIRTY");
    for path in ["HEAD", "logs/HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", path])
            && let Ok(path) = std::path::absolute(&path)
            && path.exists()
        {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }

    let sha = std::env::var("AC_GIT_SHA")
        .ok()
        .or_else(|| git(&["rev-parse", "HEAD"]));
    let dirty = std::env::var("AC_GIT_DIRTY").ok().or_else(|| {
        git(&["status", "--porcelain"])
            .map(|status| if status.is_empty() { "0" } else { "1" }.into())
    });
    let time = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .or_else(|| {
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .ok()?;
            Some(now.as_secs())
        });

    println!("cargo:rustc-env=SILO_BUILD_SHA={}", sha.unwrap_or_default());
    println!(
        "cargo:rustc-env=SILO_BUILD_DIRTY={}",
        dirty.unwrap_or_default()
    );
    println!(
        "cargo:rustc-env=SILO_BUILD_TIME={}",
        time.unwrap_or_default()
    );
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
