//! Stand-ins for AC's services, and the service that probes them.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use silo_testkit::ac::{Role, Simulator};
use silo_testkit::say;

use super::Stack;

impl Stack {
    /// Starts the simulators of AC's services, and silo-services-probe.
    pub(super) async fn start_services(
        &mut self,
        binaries: &Path,
        [db_api, storage_api, backup]: [&str; 3],
    ) -> Result<String> {
        say::step("starting simulators of AC's services");
        let roles = [
            ("oven", Role::Oven),
            ("session", Role::Session),
            ("atproto", Role::Atproto),
            ("lith", Role::Lith),
        ];
        let mut settings = vec![
            ("DB_API_URL", format!("http://{db_api}")),
            ("STORAGE_API_URL", format!("http://{storage_api}")),
            ("BACKUP_API_URL", format!("http://{backup}")),
            // A machine for trying Silo need not be connected to anything.
            ("CONNECTIVITY_CHECK", "none".into()),
            ("PROBE_SECONDS", "5".into()),
        ];
        let mut toml = String::new();
        for (name, role) in roles {
            let simulator = Simulator::start(role).await?;
            let url = simulator.url();
            writeln!(
                toml,
                "[[probes]]\nname = \"{name}\"\nkind = \"{name}\"\nurl = \"{url}\""
            )?;
            say::done(&format!(
                "{name} is simulated at {url}   (curl -X PUT {url}/_behaviour/hang, or slow, fail, reset, html, normal)"
            ));
            self.simulators.push((name, simulator));
        }
        let file = self.folder.path().join("silo.toml");
        std::fs::write(&file, toml)?;
        let folder = self.folder.path().join("services");
        settings.extend([
            ("SILO_CONFIG", file.display().to_string()),
            ("PROBE_FOLDER", folder.display().to_string()),
        ]);
        self.start_service("silo-services-probe", binaries, &settings)
            .await
    }
}
