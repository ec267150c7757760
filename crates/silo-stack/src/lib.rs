//! Silo's real processes together on this machine: to run (`up`), to test (`e2e`), to measure (`bench`); and in containers, as on a droplet
//! (`droplet`).

pub mod stack;

pub mod bench;
pub mod droplet;
pub mod e2e;
pub mod up;

mod browser;
pub mod build;
mod metric_names;
