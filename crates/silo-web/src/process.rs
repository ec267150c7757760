//! Process of a server: settings, health check, logging, listener, server, shutdown.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use silo_core::process::ServerConfig;
use silo_core::settings::{EXIT_CONFIG, SettingsError};

use crate::healthcheck;
use crate::server::Running;

/// jemalloc, because it returns freed memory to the system: a backup takes about 30 MiB for minutes, and a scan half of that, in processes that run for
/// months.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Runs the server until shutdown. With the argument `healthcheck`, checks the running server instead and exits with 0 or 1.
pub fn run<S>(
    name: &str,
    settings: Result<S, SettingsError>,
    process: impl FnOnce(&S) -> &ServerConfig,
    start: impl AsyncFnOnce(TcpListener, &S) -> io::Result<Running>,
) -> ExitCode {
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return refuse_to_start(name, &error),
    };
    let process = process(&settings);
    if healthcheck::is_asked() {
        return healthcheck::ask(process.bind);
    }
    process.start_logging();
    let lived = actix_web::rt::System::new().block_on(async {
        let running = start(listen(process.bind)?, &settings).await?;
        running.wait().await
    });
    match lived {
        Ok(()) => {
            log::info!("{name} has stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::error!("{name} stops: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Binds a listener.
///
/// # Errors
/// When the address is in use or does not belong to this machine; the text contains the address.
pub fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(at)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {at}: {error}")))
}

/// Prints on standard error why a service does not start, and returns the exit code.
#[must_use]
#[expect(
    clippy::print_stderr,
    reason = "logging is set up by the settings that are wrong here"
)]
pub fn refuse_to_start(name: &str, error: &SettingsError) -> ExitCode {
    eprintln!("{name} does not start: {error}");
    ExitCode::from(EXIT_CONFIG)
}
