//! The route table and nothing else.

pub mod alarms;
pub mod backups;
pub mod continuous;
pub mod drill;
pub mod jobs;
pub mod openapi;
pub mod run;
pub mod status;

use actix_web::web::{Data, ServiceConfig};
use silo_web::app::{get, post};

use crate::state::State;

/// Routes of this service, in addition to the shared ones.
pub fn routes(config: &mut ServiceConfig, state: State) {
    config
        .app_data(Data::new(state))
        .service(get("/api/backup/status", status::get_status))
        .service(get("/api/backup/backups", backups::list_backups))
        .service(get("/api/backup/continuous", continuous::get_continuous))
        .service(post("/api/backup/run", run::start_run))
        .service(post("/api/backup/drill", drill::start_drill))
        .service(get("/api/backup/alarms", alarms::list_alarms))
        .service(post(
            "/api/backup/alarms/{code}/acknowledge",
            alarms::acknowledge_alarm,
        ))
        .service(get("/api/backup/jobs/{id}", jobs::get_job))
        .service(get("/api/backup/jobs/{id}/events", jobs::watch_job))
        .service(get("/api/backup/openapi.json", openapi::get_openapi));
}
