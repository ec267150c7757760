//! Loading of demo data.

use anyhow::{Context, Result};
use mongodb::Database;
use silo_testkit::demo::Demo;
use silo_testkit::say;

/// Loads demo data into a database, with a progress bar.
pub(super) async fn load(demo: &Demo, database: &Database) -> Result<()> {
    let total: usize = Demo::plans().map(|plan| demo.count(plan)).sum();
    say::step(&format!(
        "loading {total} demo documents in {} collections",
        Demo::plans().count()
    ));
    let style = indicatif::ProgressStyle::with_template(
        "  {bar:40} {pos}/{len} documents, {per_sec}, {eta} left  {msg}",
    )?;
    let bar = indicatif::ProgressBar::new(total as u64).with_style(style);
    let mut before = 0;
    demo.load(database, |name, done, of| {
        bar.set_message(name.to_owned());
        bar.set_position((before + done) as u64);
        if done == of {
            before += of;
        }
    })
    .await
    .context("mongod did not take the demo data")?;
    bar.finish_and_clear();
    say::done(&format!("{total} documents loaded"));
    Ok(())
}
