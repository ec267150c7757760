//! `GET /api/services/alarms` and `POST /api/services/alarms/{code}/acknowledge`

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, Responder};
use log::info;
use silo_alerts::alarms::Alarm;
use silo_web::answer::{Answer, Envelope};
use silo_web::input;
use silo_web::openapi::{Forbidden, Malformed, OutOfRange, Unavailable, UnknownId};
use silo_web::operator::Operator;
use silo_web::problem::{Kind, Problem};

use crate::alarms::AlarmsView;
use crate::state::State;

/// Open alarms, and whether they can be delivered.
#[utoipa::path(get, path = "/api/services/alarms", tag = "services",
    responses((status = 200, body = Envelope<AlarmsView>), Malformed, Unavailable))]
pub async fn list_alarms(state: Data<State>) -> Result<impl Responder, Problem> {
    Ok(Answer::whole(&state.alarms.view.read().await?).live())
}

/// Acknowledges an alarm, so that it is not repeated. If it ends and begins again, it is a new one.
#[utoipa::path(post, path = "/api/services/alarms/{code}/acknowledge", tag = "services",
    params(("code" = String, Path, description = "the alarm's code, such as service_down.oven")),
    responses((status = 200, body = Alarm), Forbidden, UnknownId, OutOfRange, Malformed))]
pub async fn acknowledge_alarm(
    state: Data<State>,
    code: Path<String>,
    Operator(operator): Operator,
) -> Result<HttpResponse, Problem> {
    let code = input::id(code.into_inner())?;
    let Some(alarm) = state.alarms.acknowledge(&code, &operator) else {
        return Err(Problem::with_code(
            Kind::NotFound,
            "unknown_alarm",
            "no alarm of this code is open; /api/services/alarms lists them",
        ));
    };
    info!(operator = operator.as_str(), code = code.as_str(); "an alarm was acknowledged");
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(alarm))
}
