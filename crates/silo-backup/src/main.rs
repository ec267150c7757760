//! The silo-backup process: a service, and a command line.

use std::process::ExitCode;

/// jemalloc, because it returns freed memory to the system: a backup takes about 30 MiB for minutes, in a process that runs for months.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    silo_backup::cli::main()
}
