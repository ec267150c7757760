//! The silo-backup process: a service, and a command line.

use std::process::ExitCode;

/// A backup takes some 30 MiB for minutes, and this process lives for months: what is freed has to go back to the system.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    silo_backup::cli::main()
}
