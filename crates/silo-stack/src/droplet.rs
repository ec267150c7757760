//! `cargo xtask droplet`: builds the images, runs all of `docker-compose.yml` in Docker with demo data, and checks it from outside. Base images that
//! cannot be pulled are built locally first.

mod bases;
mod checks;
mod compose;
mod engine;
mod pebble;
mod storage;

use anyhow::Result;
use clap::Args;
use silo_testkit::say;

use self::compose::Droplet;
use self::engine::Engine;

/// Arguments of `droplet`.
#[derive(Args)]
pub struct Options {
    /// Leave it running afterwards, and print its address and how to stop it
    #[arg(long)]
    keep: bool,
    /// Only the checks whose names contain one of these
    filters: Vec<String>,
    /// Do not build images that are there
    #[arg(long)]
    no_build: bool,
    /// Build the images and end
    #[arg(long, conflicts_with = "no_build")]
    build_only: bool,
    /// Keep pictures of the page in this folder
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<String>,
}

impl Options {
    /// Builds, starts, looks, ends.
    ///
    /// # Errors
    /// The first step that failed, or how many checks did.
    pub async fn run(self) -> Result<()> {
        let engine = match Engine::get().await? {
            Ok(engine) => engine,
            Err(why) => {
                say::skipped(
                    "everything in Docker (images, compose, access, restarts, memory)",
                    &why,
                );
                return Ok(());
            }
        };
        bases::make(&engine).await?;
        let droplet = Droplet::new(&engine, self.pictures)?;
        if self.no_build {
            say::step("images are not built again");
        } else {
            droplet.build().await?;
        }
        if self.build_only {
            return engine.end().await;
        }
        let outcome = checks::run(&droplet, &self.filters).await;
        if self.keep {
            droplet.keep();
            engine.keep();
        } else {
            droplet.end(outcome.is_err()).await?;
            engine.end().await?;
        }
        outcome
    }
}
