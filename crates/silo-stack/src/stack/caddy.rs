//! Caddy, with the repository's own Caddyfile.

use std::collections::BTreeMap;

use anyhow::Result;
use silo_testkit::tools::{Tool, workspace};

use super::Stack;
use super::part::Part;

impl Stack {
    /// Starts it in front of these services: the variable of the Caddyfile and the address of each.
    pub(super) async fn start_caddy(&mut self, services: &[(&str, String)]) -> Result<()> {
        let access = if self.plan.sign_in.is_some() {
            "signed_in"
        } else {
            "open"
        };
        let home = self.folder.path().display().to_string();
        let mut environment = BTreeMap::from([
            (
                "SILO_SITE".to_owned(),
                format!("{}, http://localhost:{}", self.address, self.port),
            ),
            ("SILO_BIND".into(), "127.0.0.1".into()),
            ("SILO_LOG_FORMAT".into(), "console".into()),
            ("SILO_LOG_LEVEL".into(), "WARN".into()),
            ("SILO_ACCESS".into(), access.into()),
            (
                "SILO_DASHBOARD".into(),
                workspace().join("dashboard").display().to_string(),
            ),
            (
                "SILO_RUNBOOK".into(),
                workspace().join("ops").display().to_string(),
            ),
            ("SILO_ADMIN_SOCKET".into(), format!("{home}/caddy.sock")),
        ]);
        let services = services
            .iter()
            .map(|(name, at)| ((*name).to_owned(), at.clone()));
        environment.extend(services);
        // Caddy keeps its state below these; the user's own must not be touched.
        environment.extend([
            ("HOME".into(), home.clone()),
            ("XDG_DATA_HOME".into(), home.clone()),
            ("XDG_CONFIG_HOME".into(), home),
        ]);
        let file = workspace().join("Caddyfile").display().to_string();
        let arguments = ["run", "--adapter", "caddyfile", "--config", &file]
            .map(str::to_owned)
            .to_vec();
        let part = Part {
            name: "caddy",
            program: Tool::Caddy.installed()?,
            arguments,
            environment,
            sink: self.sink("caddy", "36"),
            process: None,
        };
        let ready = format!("{}/healthz", self.address);
        self.begin(part, &ready).await
    }
}
