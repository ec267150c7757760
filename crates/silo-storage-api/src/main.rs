//! The silo-storage-api process.

use std::process::ExitCode;

use silo_core::settings::SettingsReader;
use silo_storage_api::settings::Settings;
use silo_web::process;

fn main() -> ExitCode {
    process::run(
        silo_storage_api::NAME,
        Settings::read(SettingsReader::from_environment()),
        |settings| &settings.process,
        async |listener, settings| silo_storage_api::start(listener, settings).await,
    )
}
