//! Operational endpoints: `/healthz` (liveness), `/readyz` (readiness), `/version` and `/metrics`.

use std::collections::BTreeMap;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpResponse, Responder};
use serde::Serialize;
use silo_core::build::Build;
use utoipa::ToSchema;

use crate::service::Service;
use crate::snapshot::SourceError;

/// Answer of the liveness check: the process is running, with its version and commit (AC's fleet contract).
#[derive(Serialize, ToSchema)]
pub struct Liveness {
    /// Always `ok`: a dead process does not answer.
    status: &'static str,
    /// The service's name.
    service: &'static str,
    /// The git commit; `null` when unknown.
    sha: Option<String>,
    /// `true` if the commit had uncommitted changes; `null` when unknown.
    dirty: Option<bool>,
}

/// Answer of the readiness check: every source with its last result.
#[derive(Serialize, ToSchema)]
pub struct Readiness {
    /// `ready` or `not ready`.
    status: &'static str,
    /// Each outside system by name.
    checks: BTreeMap<&'static str, Check>,
}

/// One outside system.
#[derive(Serialize, ToSchema)]
struct Check {
    /// `true` if the last measurement succeeded.
    ok: bool,
    /// Error of the last measurement.
    error: Option<SourceError>,
}

/// Version, commit and build time of the running service.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The service's name.
    name: &'static str,
    /// The workspace's version.
    version: &'static str,
    /// The git commit; `null` when unknown.
    sha: Option<String>,
    /// `true` if the commit had uncommitted changes; `null` when unknown.
    dirty: Option<bool>,
    /// When it was built.
    #[schema(value_type = Option<String>, format = DateTime)]
    built_at: Option<jiff::Timestamp>,
}

/// The process answers. Touches nothing else.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, body = Liveness)))]
pub async fn get_healthz(service: Data<Service>) -> impl Responder {
    let Build { sha, dirty, .. } = service.build.clone();
    uncached(&mut HttpResponse::Ok()).json(Liveness {
        status: "ok",
        service: service.name,
        sha,
        dirty,
    })
}

/// Each outside system answers, by name.
#[utoipa::path(get, path = "/readyz", tag = "service",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness, description = "at least one does not")))]
pub async fn get_readyz(service: Data<Service>) -> impl Responder {
    let mut checks = BTreeMap::new();
    for (name, check) in &service.checks {
        let error = check().await.err();
        checks.insert(
            *name,
            Check {
                ok: error.is_none(),
                error,
            },
        );
    }
    let ready = checks.values().all(|check| check.ok);
    let mut response = if ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    if !ready {
        response.insert_header(("Retry-After", "5"));
    }
    uncached(&mut response).json(Readiness {
        status: if ready { "ready" } else { "not ready" },
        checks,
    })
}

/// `GET /version`: version, commit and build time.
#[utoipa::path(get, path = "/version", tag = "service", responses((status = 200, body = Version)))]
pub async fn get_version(service: Data<Service>) -> impl Responder {
    let Build {
        version,
        sha,
        dirty,
        built_at,
    } = service.build.clone();
    uncached(&mut HttpResponse::Ok()).json(Version {
        name: service.name,
        version,
        sha,
        dirty,
        built_at,
    })
}

fn uncached(response: &mut actix_web::HttpResponseBuilder) -> &mut actix_web::HttpResponseBuilder {
    response.insert_header((CACHE_CONTROL, "no-store"))
}

/// `GET /metrics`: counters of this service in OpenMetrics text.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub async fn get_metrics(service: Data<Service>) -> HttpResponse {
    match service.metrics.text(&service.sources) {
        Some(text) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        None => HttpResponse::InternalServerError().finish(),
    }
}
