//! `GET /admin/backend-health`: the state of every backend of an enabled model, as choosing sees it.

use axum::Json;
use axum::extract::State;
use berry_proxy::report;
use serde_json::Value;

use crate::Control;
use crate::page::Page;

pub(super) async fn get(State(control): State<Control>, page: Page) -> Json<Value> {
    let report = report::health(&control.gateway, &control.gateway.snapshot());
    Json(page.cut(super::take_list(report.to_json(), "backends")))
}
