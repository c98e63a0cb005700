//! `POST /admin/config/rollback`: back to a generation that ran.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::reload_config::Consent;
use crate::Control;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::page::Parameters;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    generation: u64,
}

pub(super) async fn post(
    State(control): State<Control>,
    Caller(who): Caller,
    Parameters(asked): Parameters<Consent>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let order: Order = serde_json::from_slice(&body)
        .map_err(|_| ApiError::invalid("send `{\"generation\":N}`; GET /admin/config/history lists them"))?;
    let verdict = control.configuration.roll_back(order.generation, who, asked.confirm).await?;
    Ok((verdict.came.status(), Json(verdict.report)))
}
