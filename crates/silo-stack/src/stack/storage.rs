//! The S3 server of the stack, the demo objects in it, and the service that measures them.

use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use silo_spaces::Spaces;
use silo_testkit::demo::{BUCKETS, Demo};
use silo_testkit::s3::SeaweedFs;
use silo_testkit::say;

use super::Stack;

impl Stack {
    /// Starts the S3 server with demo objects, and silo-storage-api.
    pub(super) async fn start_storage(&mut self, binaries: &Path, db_api: &str) -> Result<String> {
        say::step("starting the S3 server");
        let data = self.folder.path().join("s3");
        std::fs::create_dir_all(&data)?;
        let s3 = SeaweedFs::start(&data, None).await?;
        let demo = Demo::new(self.plan.seed, self.plan.scale, Timestamp::now());
        put(self.demo.as_ref().unwrap_or(&demo), &s3).await?;
        let folder = self.folder.path().join("storage").display().to_string();
        let settings = [
            ("SPACES_ENDPOINT", s3.url()),
            ("SPACES_KEY", s3.account().key.clone()),
            ("SPACES_SECRET", s3.account().secret.clone()),
            ("STORAGE_FOLDER", folder),
            ("DB_API_URL", format!("http://{db_api}")),
        ];
        self.s3 = Some(s3);
        self.start_service("silo-storage-api", binaries, &settings)
            .await
    }
}

/// A client of the S3 server.
pub(super) fn client(s3: &SeaweedFs) -> Result<Spaces> {
    silo_demo::client(&s3.url(), &s3.account().key, &s3.account().secret)
}

/// Puts the demo objects, showing how far it is.
async fn put(demo: &Demo, s3: &SeaweedFs) -> Result<()> {
    let total = demo.objects().len();
    say::step(&format!(
        "putting {total} demo objects in {} buckets",
        BUCKETS.len()
    ));
    let style = indicatif::ProgressStyle::with_template(
        "  {bar:40} {pos}/{len} objects, {per_sec}, {eta} left",
    )?;
    let bar = indicatif::ProgressBar::new(total as u64).with_style(style);
    silo_demo::put(demo, &client(s3)?, || bar.inc(1)).await?;
    bar.finish_and_clear();
    say::done(&format!("{total} objects put"));
    Ok(())
}
