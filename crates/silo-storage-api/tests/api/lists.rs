//! Lists that must agree: the routes and their description.

use std::collections::BTreeSet;

use silo_testkit::s3::Kind;
use silo_testkit::tools::workspace;

use crate::stage::stage;

#[tokio::test]
async fn the_description_names_every_route_and_no_other() {
    let stage = stage(Kind::Files).await;
    let service = stage.scanned().await;
    let description = service.get("/api/storage/openapi.json").await.json();
    let described: BTreeSet<String> = description["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let mut routed = BTreeSet::new();
    for source in [
        "crates/silo-storage-api/src/routes.rs",
        "crates/silo-web/src/app.rs",
    ] {
        let text = std::fs::read_to_string(workspace().join(source)).unwrap();
        let quoted = text
            .split('"')
            .filter(|text| text.starts_with('/') && !text.contains('\n'));
        routed.extend(quoted.map(str::to_owned));
    }
    assert_eq!(described, routed);
    let text = description.to_string();
    for reference in text
        .split(r##""$ref":"#"##)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
    {
        assert!(
            description.pointer(reference).is_some(),
            "{reference} is referred to and not there"
        );
    }
}
