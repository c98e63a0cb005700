//! `GET /admin/config/history`: what ran, and when.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use crate::Control;
use crate::error::ApiError;
use crate::page::Page;

pub(super) async fn get(State(control): State<Control>, page: Page) -> Result<Json<Value>, ApiError> {
    Ok(Json(page.cut(control.configuration.history().await?)))
}
