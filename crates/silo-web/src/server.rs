//! Running an application on a listener until it is told to stop.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use actix_web::body::BoxBody;
use actix_web::dev::{ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{Error, HttpServer};
use log::info;
use silo_core::settings::{EXIT_CONFIG, SettingsError};

use crate::app::app;
use crate::service::Service;

/// Open requests get this long to end after SIGTERM; Docker kills after 10 s.
const SHUTDOWN_SECONDS: u64 = 8;

/// A running server: stop it by its handle, wait for it by its future.
pub struct Running {
    /// Stops it.
    pub handle: ServerHandle,
    /// Where it listens, with the port that was really taken.
    pub address: SocketAddr,
    server: actix_web::dev::Server,
}

impl Running {
    /// Waits until the server has stopped: by SIGTERM, SIGINT or its handle.
    ///
    /// # Errors
    /// When the server itself failed.
    pub async fn wait(self) -> std::io::Result<()> {
        self.server.await
    }
}

/// Starts serving `routes` on `listener`. One worker: the droplet has one core.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve<R>(listener: TcpListener, service: Service, routes: R) -> std::io::Result<Running>
where
    R: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let address = listener.local_addr()?;
    let name = service.name;
    let service = Data::new(service);
    let server = HttpServer::new(move || factory(service.clone(), routes.clone()))
        .workers(1)
        .worker_max_blocking_threads(2)
        .max_connections(512)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .listen(listener)?
        .run();
    info!(address:% = address; "{name} listens on {address}");
    Ok(Running {
        handle: server.handle(),
        address,
        server,
    })
}

fn factory<R: Fn(&mut ServiceConfig)>(
    service: Data<Service>,
    routes: R,
) -> actix_web::App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    app(service, move |config| routes(config))
}

/// Tells on standard error why a service does not start, with the exit code for it.
#[must_use]
#[expect(
    clippy::print_stderr,
    reason = "logging is set up by the settings that are wrong here"
)]
pub fn refuse_to_start(name: &str, error: &SettingsError) -> ExitCode {
    eprintln!("{name} does not start: {error}");
    ExitCode::from(EXIT_CONFIG)
}
