//! The command of `silo-stack`.

use std::path::PathBuf;
use std::process::Command;

use silo_testkit::tools::workspace;

/// Runs a subcommand of `silo-stack`, which must have been built.
pub fn stack(verb: &str) -> Command {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), PathBuf::from);
    let mut stack = Command::new(target.join("debug/silo-stack"));
    stack.arg(verb).current_dir(workspace());
    stack
}
