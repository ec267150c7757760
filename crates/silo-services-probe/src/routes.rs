//! The route table and nothing else.

pub mod alarms;
pub mod badge;
pub mod events;
pub mod history;
pub mod openapi;
pub mod overview;
pub mod service;
pub mod services;

use actix_web::web::{Data, ServiceConfig};
use silo_web::app::{get, post};

use crate::state::State;

/// Routes of this service, in addition to the shared ones.
pub fn routes(config: &mut ServiceConfig, state: State) {
    config
        .app_data(Data::new(state))
        .service(get("/api/overview", overview::get_overview))
        .service(get("/api/services", services::list_services))
        .service(get("/api/services/alarms", alarms::list_alarms))
        .service(post(
            "/api/services/alarms/{code}/acknowledge",
            alarms::acknowledge_alarm,
        ))
        .service(get("/api/services/changes", events::list_changes))
        .service(get("/api/services/events", events::watch_events))
        .service(get("/api/services/openapi.json", openapi::get_openapi))
        .service(get("/api/services/{name}", service::get_service))
        .service(get("/api/services/{name}/history", history::get_history))
        .service(get("/api/services/{name}/badge.svg", badge::get_badge));
}
