//! The silo-backup process: a service, and a command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    silo_backup::cli::main()
}
