//! Silo's other services, and how they are asked.

use serde::de::DeserializeOwned;
use silo_web::answer::Envelope;
use silo_web::internal_client::InternalClient;
use silo_web::snapshot::SourceError;

/// Sends one request to another service.
///
/// # Errors
/// The error of the request; a 404 is an error too.
pub async fn get<T: DeserializeOwned>(
    client: &InternalClient,
    path: &str,
) -> Result<Envelope<T>, SourceError> {
    client.get_envelope(path).await?.ok_or_else(|| {
        let detail = format!("it does not have {path}: it may be of another version");
        SourceError::new(client.name(), "unknown_path", detail)
    })
}
