//! The silo-migrate command.

use std::process::ExitCode;

fn main() -> ExitCode {
    silo_migrate::cli::main()
}
