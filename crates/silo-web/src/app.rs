//! The application that every service is: its own routes inside the shared scaffold.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::guard;
use actix_web::http::header::ALLOW;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, Error, Handler, HttpResponse, Resource, Responder, Route};

use crate::health;
use crate::middleware::around;
use crate::problem::{Kind, Problem};
use crate::service::Service;

/// The largest body that any path takes, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// Builds the application: both the binary and the tests call this.
pub fn app(
    service: Data<Service>,
    routes: impl FnOnce(&mut ServiceConfig),
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(service)
        .app_data(web::PayloadConfig::new(BODY_LIMIT))
        .app_data(web::PathConfig::default().error_handler(|_, _| {
            Problem::new(Kind::Malformed, "a part of the path cannot be read").into()
        }))
        .service(get("/healthz", health::get_healthz))
        .service(get("/readyz", health::get_readyz))
        .service(get("/version", health::get_version))
        .service(get("/metrics", health::get_metrics))
        .configure(routes)
        .default_service(web::to(|| async {
            Err::<&str, _>(Problem::new(
                Kind::NotFound,
                "there is nothing at this path",
            ))
        }))
        .wrap(from_fn(around))
}

/// A route for an action: POST; any other method gets 405.
pub fn post<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::post().to(handler))
        .default_service(not_allowed("POST"))
}

/// A route for reading: GET, and HEAD with the same headers; any other method gets 405.
pub fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let reads = guard::Any(guard::Get()).or(guard::Head());
    web::resource(path)
        .route(web::route().guard(reads).to(handler))
        .default_service(not_allowed("GET, HEAD"))
}

fn not_allowed(allowed: &'static str) -> Route {
    web::to(move || async move {
        HttpResponse::MethodNotAllowed()
            .insert_header((ALLOW, allowed))
            .finish()
    })
}
