//! `GET /health/live`: an answer is the answer. Open to all, as orchestrators carry no token.

use axum::Json;
use serde_json::{Value, json};

use crate::page::NoParameters;

pub(super) async fn get(_: NoParameters) -> Json<Value> {
    Json(json!({"status": "live"}))
}
