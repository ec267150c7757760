//! Any service that takes TCP connections.

use serde::Serialize;
use utoipa::ToSchema;

/// Facts of a service that takes connections: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tcp {}
