//! HTTP server of a service, with graceful shutdown.

use std::net::{SocketAddr, TcpListener};

use actix_web::body::BoxBody;
use actix_web::dev::{ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{Error, HttpServer};
use log::info;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::app::app;
use crate::service::Service;

/// Open requests get this long to end after SIGTERM; Docker kills after 10 s.
const SHUTDOWN_SECONDS: u64 = 8;

/// A running server: `handle` stops it, [`Running::wait`] waits for its end.
pub struct Running {
    /// Stops the server.
    pub handle: ServerHandle,
    /// Bound address, with the actual port.
    pub address: SocketAddr,
    server: actix_web::dev::Server,
    shutdown: watch::Sender<bool>,
}

/// Shutdown signal. Long-lived responses (SSE) must end when it fires; otherwise they delay shutdown until the grace period is over.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Waits for the shutdown signal.
    pub async fn requested(&mut self) {
        // A sender that is gone is a service that has ended.
        drop(self.0.wait_for(|shutdown| *shutdown).await);
    }
}

impl Running {
    /// Waits until the server has stopped: by SIGTERM, which lets open requests end; by SIGINT, which does not; or by its handle.
    ///
    /// # Errors
    /// When the server itself failed, or signals cannot be listened for.
    pub async fn wait(mut self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let gracefully = tokio::select! {
            ended = &mut self.server => return ended,
            _ = terminate.recv() => true,
            _ = interrupt.recv() => false,
        };
        self.shutdown.send_replace(true);
        let (_, ended) = tokio::join!(self.handle.stop(gracefully), self.server);
        ended
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
    let (shutdown, shutdown_signal) = watch::channel(false);
    let shutdown_signal = Data::new(Shutdown(shutdown_signal));
    let server = HttpServer::new(move || {
        let (routes, shutdown_signal) = (routes.clone(), shutdown_signal.clone());
        factory(service.clone(), move |config: &mut ServiceConfig| {
            config.app_data(shutdown_signal.clone());
            routes(config);
        })
    })
    .disable_signals()
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
        shutdown,
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
