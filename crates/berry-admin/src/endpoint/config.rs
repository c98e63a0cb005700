//! `GET /admin/config`: what is in force.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::Control;
use crate::page::NoParameters;

pub(super) async fn get(State(control): State<Control>, _: NoParameters) -> Json<Value> {
    let shown = control.configuration.shown().await;
    Json(json!({"generation": control.gateway.generation(), "config": shown}))
}
