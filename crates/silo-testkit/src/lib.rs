//! Real servers for Silo's tests and local stack, and their demo data. Never shipped.
//!
//! `mongo` starts mongod, `s3` starts Ceph RGW or SeaweedFS, `redis` Redis, `process` ends them with the test, `program` runs the built binaries, `node` AC's kind of scripts, `proxy` and `wire` inject faults in between, and
//! `demo` generates documents shaped like aesthetic.computer's. Only what cannot run here is simulated: `ac` for aesthetic.computer's own services,
//! with `certificates` for their TLS, and `listing` for a bucket of millions of objects.

#[cfg(feature = "servers")]
pub mod ac;
#[cfg(feature = "servers")]
pub mod certificates;
#[cfg(feature = "servers")]
pub mod demo;
#[cfg(feature = "servers")]
pub mod listing;
#[cfg(feature = "servers")]
pub mod mongo;
#[cfg(feature = "servers")]
pub mod node;
#[cfg(feature = "servers")]
pub mod process;
#[cfg(feature = "servers")]
pub mod program;
#[cfg(feature = "servers")]
pub mod proxy;
#[cfg(feature = "servers")]
pub mod redis;
#[cfg(feature = "servers")]
pub mod s3;
pub mod say;
#[cfg(feature = "servers")]
pub mod service;
pub mod tools;
#[cfg(feature = "servers")]
pub mod wait;
#[cfg(feature = "servers")]
pub mod wire;
#[cfg(feature = "servers")]
pub mod workloads;
