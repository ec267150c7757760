//! `GET /api/backup/alarms` and `POST /api/backup/alarms/{code}/acknowledge`

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, Responder};
use log::info;
use silo_alerts::alarms::Alarm;
use silo_web::answer::{Answer, Envelope, Meta};
use silo_web::input;
use silo_web::openapi::{Forbidden, Malformed, OutOfRange, UnknownId};
use silo_web::operator::Operator;
use silo_web::problem::{Kind, Problem};

use crate::schedule::watchdog;
use crate::state::State;
use crate::status::{AlarmsView, AlertsView};

/// Open alarms, as they are now, and whether they can be delivered.
#[utoipa::path(get, path = "/api/backup/alarms", tag = "backup",
    responses((status = 200, body = Envelope<AlarmsView>), Malformed))]
pub async fn list_alarms(state: Data<State>) -> Result<impl Responder, Problem> {
    let alerts = &state.context.alerts;
    let view = AlarmsView {
        alarms: alerts.alarms(),
        alerts: AlertsView::of(alerts),
    };
    Ok(Answer::new(&view, Meta::now(watchdog::INTERVAL))?.live())
}

/// Acknowledges an alarm, so that it is not repeated. If it ends and begins again, it is a new one.
#[utoipa::path(post, path = "/api/backup/alarms/{code}/acknowledge", tag = "backup",
    params(("code" = String, Path, description = "the alarm's code, such as overdue")),
    responses((status = 200, body = Alarm), Forbidden, UnknownId, OutOfRange, Malformed))]
pub async fn acknowledge_alarm(
    state: Data<State>,
    code: Path<String>,
    Operator(operator): Operator,
) -> Result<HttpResponse, Problem> {
    let code = input::id(code.into_inner())?;
    let context = &state.context;
    let alarm = context
        .alerts
        .acknowledge(&code, &operator, context.clock.now());
    let Some(alarm) = alarm else {
        return Err(Problem::with_code(
            Kind::NotFound,
            "unknown_alarm",
            "no alarm of this code is open; /api/backup/alarms lists them",
        ));
    };
    info!(operator = operator.as_str(), code = code.as_str(); "an alarm was acknowledged");
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(alarm))
}
