//! Lists that must agree: the routes and their description.

use silo_testkit::service::assert_described;

use crate::stage::stage;

#[tokio::test]
async fn the_description_names_every_route_and_no_other() {
    let stage = stage().await;
    let service = stage.scanned().await;
    let table = "crates/silo-storage-api/src/routes.rs";
    assert_described(&service, "/api/storage/openapi.json", table).await;
}
