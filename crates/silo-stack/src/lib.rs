//! Silo's real processes run together on this machine: to look at (`up`), to test, to measure.

pub mod stack;

pub mod bench;
pub mod e2e;
pub mod up;

mod build;
