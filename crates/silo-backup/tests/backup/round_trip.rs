//! A backup is made, verified, drilled, listed and restored.

use silo_mongo::mongodb::bson::{Document, doc};

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_verified_drilled_listed_and_restored() {
    let stage = Stage::with_demo_data().await;
    let id = stage.backup().await;
    let verdict = stage.json(&["verify"]).await;
    assert_eq!(
        (&verdict["id"], &verdict["verdict"], &verdict["documents"]),
        (&id.clone().into(), &"good".into(), &1550.into())
    );
    // The first drill is due, not overdue.
    let status = stage.json(&["status"]).await;
    assert_eq!(status["drillOverdue"], false, "{status}");
    let drilled = stage.json(&["drill"]).await;
    assert_eq!(
        (&drilled["good"], &drilled["documents"]),
        (&true.into(), &1550.into()),
        "{drilled}"
    );
    let names = stage.client.list_database_names().await.unwrap();
    assert!(!names.iter().any(|name| *name == "silo_drill"), "{names:?}");
    let list = stage.json(&["list"]).await;
    assert_eq!(
        (&list[0]["id"], &list[0]["state"], &list[0]["drill"]["good"]),
        (&id.clone().into(), &"verified".into(), &true.into())
    );

    let restored = stage.restore("back").await;
    assert_eq!(restored["documents"], 1550, "{restored}");
    let back = stage.client.database("back");
    assert_eq!(
        back.collection::<Document>("moods")
            .count_documents(doc! {})
            .await
            .unwrap(),
        1200
    );
    let status = stage.json(&["status"]).await;
    assert_eq!(status["lastGood"]["id"], id.as_str(), "{status}");
    assert_eq!(status["overdue"], false);
}
