//! The real servers that Silo's tests and local stack run against, and the demo data in them. Never shipped.
//!
//! Hardly anything here is a mock: `mongo` starts servers that speak MongoDB's protocol over a real socket, `process` keeps them from
//! outliving us, `s3` starts storage, `proxy` and `wire` break what is between, `demo` makes documents shaped like aesthetic.computer's. What
//! nobody can run here has a stand-in: `ac` for aesthetic.computer's own services, with `certificates` for its TLS, `listing` for a
//! bucket of millions.

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
pub mod process;
#[cfg(feature = "servers")]
pub mod proxy;
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
