//! Lists that must agree: the routes and their description.

use silo_testkit::service::assert_described;

use crate::stage::Stage;

#[tokio::test]
async fn the_description_names_every_route_and_no_other() {
    let service = Stage::new().service().await;
    let table = "crates/silo-services-probe/src/routes.rs";
    assert_described(&service, "/api/services/openapi.json", table).await;
}
