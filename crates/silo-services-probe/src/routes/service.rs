//! `GET /api/services/{name}`

use actix_web::Responder;
use actix_web::web::{Data, Path};
use silo_web::answer::{Answer, Envelope};
use silo_web::input;
use silo_web::openapi::{Malformed, OutOfRange, Unavailable, UnknownId};
use silo_web::problem::{Kind, Problem};
use silo_web::snapshot::{Reading, SourceError};

use crate::atproto_network::{Accounts, Network, Sync};
use crate::history::series::Range;
use crate::services::ServiceDetail;
use crate::state::State;
use crate::status_store::ServiceState;

/// One service: its facts, its uptime in the last day and month, and its last changes.
#[utoipa::path(get, path = "/api/services/{name}", tag = "services",
    params(("name" = String, Path, description = "the service's name in the settings")),
    responses((status = 200, body = Envelope<ServiceDetail>), Malformed, UnknownId, OutOfRange, Unavailable))]
pub async fn get_service(
    state: Data<State>,
    name: Path<String>,
) -> Result<impl Responder, Problem> {
    let name = input::id(name.into_inner())?;
    let known = state.store.known(&name).ok_or_else(unknown)?;
    let reading = state.store.services.read().await?;
    let network = state.networks.iter().find(|network| network.name == name);
    let (accounts, sync, errors) = network.map_or((None, None, Vec::new()), of_network);
    let points = |range| state.store.points(&name, range).unwrap_or_default();
    let ServiceState {
        view,
        facts,
        changes,
    } = known;
    let (facts, facts_as_of) = facts.unzip();
    let detail = ServiceDetail {
        service: view,
        facts,
        facts_as_of,
        accounts,
        sync,
        last_day: points(Range::Day),
        last_month: points(Range::Month),
        changes,
    };
    Answer::part(&reading.noting(errors), &detail)
}

/// Slow facts of the AT-protocol network, and their errors.
fn of_network(network: &Network) -> (Option<Accounts>, Option<Sync>, Vec<SourceError>) {
    let (accounts, mut errors) = taken(network.accounts.current());
    let (sync, more) = taken(network.sync.current());
    errors.extend(more);
    (accounts, sync, errors)
}

fn taken<T: Clone>(reading: Result<Reading<T>, SourceError>) -> (Option<T>, Vec<SourceError>) {
    match reading {
        Ok(reading) => (Some(reading.value.as_ref().clone()), reading.errors),
        Err(error) => (None, vec![error]),
    }
}

/// 404: there is no service of this name.
pub(super) fn unknown() -> Problem {
    let detail = "no service of this name is probed; /api/services lists those that are";
    Problem::with_code(Kind::NotFound, "unknown_service", detail)
}
