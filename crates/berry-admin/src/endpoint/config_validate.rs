//! `POST /admin/config/validate`: what `berry check` says of a text.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde_json::Value;

use crate::Control;
use crate::error::ApiError;
use crate::page::NoParameters;

pub(super) async fn post(
    State(control): State<Control>,
    _: NoParameters,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let text = String::from_utf8(body.into()).map_err(|_| ApiError::invalid("send the TOML text itself, in UTF-8"))?;
    Ok(Json(control.configuration.validate(text).await))
}
