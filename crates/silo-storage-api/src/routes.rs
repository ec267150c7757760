//! The route table.

pub mod buckets;
pub mod history;
pub mod openapi;
pub mod rescan;
pub mod top_users;
pub mod usage;
pub mod user;

use actix_web::web::{Data, ServiceConfig};
use silo_web::app::{get, post};

use crate::state::State;

/// Routes of this service, in addition to the shared ones.
pub fn routes(config: &mut ServiceConfig, state: State) {
    config
        .app_data(Data::new(state))
        .service(get("/api/storage/usage", usage::get_usage))
        .service(get("/api/storage/buckets", buckets::list_buckets))
        .service(get("/api/storage/history", history::get_history))
        .service(get("/api/storage/user/{id}", user::get_user_usage))
        .service(get("/api/storage/top-users", top_users::list_top_users))
        .service(post("/api/storage/rescan", rescan::start_rescan))
        .service(get("/api/storage/openapi.json", openapi::get_openapi));
}
