//! `GET /admin/config/history/{generation}`: one generation, as it may be shown.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use crate::Control;
use crate::error::ApiError;
use crate::page::NoParameters;

pub(super) async fn get(
    State(control): State<Control>,
    Path(generation): Path<String>,
    _: NoParameters,
) -> Result<Json<Value>, ApiError> {
    let generation = generation.parse().map_err(|_| ApiError::invalid("a generation is a number"))?;
    Ok(Json(control.configuration.generation(generation).await?))
}
