//! The demo's S3 server in a container and a network of its own, for droplets that are rebuilt.

use std::time::Duration;

use anyhow::{Context, Result};
use silo_testkit::tools::workspace;
use silo_testkit::wait::wait_for;

use super::engine::Engine;

/// A running S3 server; droplets reach it at http://spaces:9000.
pub(super) struct Storage<'a> {
    engine: &'a Engine,
    /// Name of the container and of the network.
    pub(super) name: String,
}

impl<'a> Storage<'a> {
    /// Starts one with an empty bucket.
    pub(super) async fn start(engine: &'a Engine, bucket: &str) -> Result<Self> {
        let name = format!("silo-spaces-{}", std::process::id());
        let identities = workspace().join("ops/demo/identities.json");
        engine.docker(&format!("network create {name}")).await?;
        let run = format!(
            "run --detach --rm --name {name} --network {name} --network-alias spaces --tmpfs /data:mode=1777 --tmpfs /tmp:mode=1777
             --volume {}:/identities.json:ro --entrypoint /usr/local/bin/weed silo-demo:droplet server -dir=/data -ip=127.0.0.1
             -ip.bind=127.0.0.1 -s3 -s3.ip.bind=0.0.0.0 -s3.port=9000 -s3.config=/identities.json -master.telemetry=false
             -master.volumeSizeLimitMB=64 -volume.max=0",
            identities.display()
        );
        engine.docker(&run).await?;
        let address = engine.address(&name).await?;
        let put = format!(
            "curl --fail --silent --show-error --request PUT --aws-sigv4 aws:amz:us-east-1:s3 --user demo-key:demo-secret http://{address}:9000/{bucket}"
        );
        let put: Vec<&str> = put.split(' ').collect();
        let made = wait_for(Duration::from_secs(60), || async {
            engine.output(&put).await.ok()
        });
        made.await.context("no bucket could be created")?;
        Ok(Self { engine, name })
    }

    /// Ends it.
    pub(super) async fn end(self) -> Result<()> {
        let name = &self.name;
        self.engine.docker(&format!("rm --force {name}")).await?;
        let removed = self.engine.docker(&format!("network rm {name}")).await;
        removed.map(drop)
    }
}
