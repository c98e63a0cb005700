//! `POST /admin/reload-config`: has the configuration file read again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::Control;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::page::Parameters;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Consent {
    /// Whether the caller knows that it looks like a mistake.
    #[serde(default)]
    pub(super) confirm: bool,
}

pub(super) async fn post(
    State(control): State<Control>,
    Caller(who): Caller,
    Parameters(asked): Parameters<Consent>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let verdict = control.configuration.reload(who, asked.confirm).await?;
    Ok((verdict.came.status(), Json(verdict.report)))
}
