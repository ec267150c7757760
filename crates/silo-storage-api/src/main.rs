//! The silo-storage-api process: settings, logging, state, server, wait.

use std::net::TcpListener;
use std::process::ExitCode;

use silo_core::logging;
use silo_core::settings::Settings as Reader;
use silo_storage_api::settings::Settings;
use silo_web::healthcheck;
use silo_web::server::refuse_to_start;

fn main() -> ExitCode {
    let settings = match Settings::read(Reader::from_environment()) {
        Ok(settings) => settings,
        Err(error) => return refuse_to_start(silo_storage_api::NAME, &error),
    };
    if healthcheck::is_asked() {
        return healthcheck::ask(settings.bind);
    }
    logging::start(settings.log_format, &settings.log_filter);
    match actix_web::rt::System::new().block_on(run(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{} stops: {error}", silo_storage_api::NAME);
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: &Settings) -> std::io::Result<()> {
    let listener = TcpListener::bind(settings.bind).map_err(|error| {
        std::io::Error::new(
            error.kind(),
            format!("cannot listen on {}: {error}", settings.bind),
        )
    })?;
    let running = silo_storage_api::start(listener, settings).await?;
    running.wait().await?;
    log::info!("{} has stopped", silo_storage_api::NAME);
    Ok(())
}
