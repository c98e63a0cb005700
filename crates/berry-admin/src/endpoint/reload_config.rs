//! `POST /admin/reload-config`: has the configuration file read again.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::Value;

use crate::Control;
use crate::auth::Admin;
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
    Extension(Admin(admin)): Extension<Admin>,
    Parameters(asked): Parameters<Consent>,
) -> (StatusCode, Json<Value>) {
    let verdict = control.configuration.reload(admin, asked.confirm).await;
    let status = if verdict.in_force { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    (status, Json(verdict.report))
}
