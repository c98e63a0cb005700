//! `GET /admin/model-weights`: the share of its traffic that each backend of a model gets now, from the very functions that
//! traffic uses.

use axum::Json;
use axum::extract::State;
use berry_proxy::report;
use serde_json::Value;

use crate::Control;
use crate::page::Page;

pub(super) async fn get(State(control): State<Control>, page: Page) -> Json<Value> {
    let weights = report::weights(&control.gateway, &control.gateway.snapshot());
    Json(page.cut(super::take_list(weights, "data")))
}
