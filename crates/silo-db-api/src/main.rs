//! The silo-db-api process.

use std::process::ExitCode;

use silo_core::settings::SettingsReader;
use silo_db_api::settings::Settings;
use silo_mongo::commands::Commands;
use silo_web::process;

fn main() -> ExitCode {
    process::run(
        silo_db_api::NAME,
        Settings::read(SettingsReader::from_environment()),
        |settings| &settings.process,
        async |listener, settings| {
            silo_db_api::start(listener, settings, &Commands::default()).await
        },
    )
}
