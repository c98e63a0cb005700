//! `POST /admin/reload-config`: has the configuration file read again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::Control;
use crate::page::Parameters;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Whether the caller knows that it looks like a mistake.
    #[serde(default)]
    confirm: bool,
}

pub(super) async fn post(
    State(control): State<Control>,
    Parameters(asked): Parameters<Asked>,
) -> (StatusCode, Json<Value>) {
    let verdict = control.configuration.reload(asked.confirm).await;
    let status = if verdict.in_force { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    (status, Json(verdict.report))
}
