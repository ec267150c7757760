//! A service's description of itself.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use utoipa::openapi::OpenApi;

/// The description, serialised once.
#[derive(Clone)]
pub struct Description(actix_web::web::Bytes);

impl Description {
    /// Serialises a description that utoipa generated from the code.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn new(api: &OpenApi) -> Result<Self, serde_json::Error> {
        Ok(Self(serde_json::to_vec(api)?.into()))
    }

    /// The description as an answer.
    #[must_use]
    pub fn respond(&self) -> HttpResponse {
        HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "private, max-age=300"))
            .content_type("application/json")
            .body(self.0.clone())
    }
}
