//! Browser tests of the page, served by Caddy.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use crate::browser::Script;
use crate::droplet::compose::{Droplet, SITE};

/// Time limit for everything to recover after mongod was down.
const BACK_WITHIN: Duration = Duration::from_secs(90);

pub(super) async fn marks_stale_data(droplet: &Droplet<'_>) -> Result<()> {
    drive(droplet, "page:", async |verb, what| match verb {
        "stop" => droplet.compose(&["stop", what]).await.map(drop),
        "start" => droplet.compose(&["start", what]).await.map(drop),
        _ => bail!("the script asks to {verb} {what}, which is nothing known"),
    })
    .await?;
    droplet.until_healthy(BACK_WITHIN).await.map(drop)
}

/// Runs the tests of the script whose names contain `only`.
pub(super) async fn drive(
    droplet: &Droplet<'_>,
    only: &str,
    obey: impl AsyncFnMut(&str, &str) -> Result<()>,
) -> Result<()> {
    let script = Script {
        file: "droplet.mjs",
        address: &format!("https://{SITE}:{}", droplet.https),
        truth: json!({}),
        only,
        pictures: droplet.pictures.as_deref().unwrap_or(""),
    };
    script.run(obey).await
}
