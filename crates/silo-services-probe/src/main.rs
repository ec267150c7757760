//! The silo-services-probe process.

use std::process::ExitCode;

use silo_core::settings::SettingsReader;
use silo_services_probe::settings::Settings;
use silo_web::process;

fn main() -> ExitCode {
    process::run(
        silo_services_probe::NAME,
        Settings::read(SettingsReader::from_environment()),
        |settings| &settings.process,
        async |listener, settings| silo_services_probe::start(listener, settings).await,
    )
}
