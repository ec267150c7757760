//! A certificate authority that speaks ACME, in a container: Let's Encrypt's own test server, in the place of the public ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use silo_testkit::tools::Tool;
use silo_testkit::wait::wait_for;

use super::engine::Engine;

/// Pebble's configuration: challenges are made at the real ports.
const CONFIG: &str = r#"{"pebble": {"listenAddress": "0.0.0.0:14000", "managementListenAddress": "0.0.0.0:15000",
    "certificate": "/pebble/tls.pem", "privateKey": "/pebble/tls.key", "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
    "externalAccountBindingRequired": false}}"#;

/// A running Pebble, with a network of its own, in which it finds the site by name.
pub(super) struct Pebble<'a> {
    engine: &'a Engine,
    /// Name of the container and of the network.
    pub(super) name: String,
    folder: PathBuf,
}

impl<'a> Pebble<'a> {
    /// Starts one in an image that can run any program; `None` where Pebble cannot be installed.
    pub(super) async fn start(
        engine: &'a Engine,
        folder: &Path,
        image: &str,
    ) -> Result<Option<Self>> {
        let Ok(program) = Tool::Pebble.installed() else {
            return Ok(None);
        };
        let folder = folder.join("pebble");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("config.json"), CONFIG)?;
        std::fs::copy(program, folder.join("pebble"))?;
        let at = folder.display().to_string();
        let certificate = format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=pebble -addext subjectAltName=DNS:pebble -keyout '{at}/tls.key' -out '{at}/tls.pem' && chmod 644 '{at}/tls.key'"
        );
        engine.output(&["sh", "-c", &certificate]).await?;
        let name = format!("silo-pebble-{}", std::process::id());
        let pebble = Self {
            engine,
            name,
            folder,
        };
        let name = &pebble.name;
        engine.docker(&format!("network create {name}")).await?;
        let run = format!(
            "run --detach --rm --name {name} --network {name} --network-alias pebble --volume {at}:/pebble:ro
             --env PEBBLE_VA_NOSLEEP=1 --env PEBBLE_WFE_NONCEREJECT=0 --entrypoint /pebble/pebble {image} -config /pebble/config.json"
        );
        engine.docker(&run).await?;
        Ok(Some(pebble))
    }

    /// Global options of a Caddyfile that name it, and the file to mount at `/pebble.pem`.
    pub(super) fn options(&self) -> (&'static str, PathBuf) {
        let options = "\tacme_ca https://pebble:14000/dir\n\tacme_ca_root /pebble.pem\n";
        (options, self.folder.join("tls.pem"))
    }

    /// Its root certificate, as PEM.
    pub(super) async fn root(&self) -> Result<String> {
        let address = self.engine.address(&self.name).await?;
        let url = format!("https://{address}:15000/roots/0");
        let client = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .build()?;
        let root = wait_for(Duration::from_secs(20), || async {
            let answer = client
                .get(&url)
                .send()
                .await
                .ok()?
                .error_for_status()
                .ok()?;
            answer.text().await.ok()
        });
        root.await.context("Pebble has no root certificate")
    }

    /// Ends it.
    pub(super) async fn end(self) -> Result<()> {
        let name = &self.name;
        self.engine.docker(&format!("rm --force {name}")).await?;
        let removed = self.engine.docker(&format!("network rm {name}")).await;
        removed.map(drop)
    }
}
