//! `GET /metrics`: what the data listener's page says, for scrapers that reach only this listener.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use berry_proxy::report;

use crate::Control;

pub(super) async fn get(State(control): State<Control>) -> Response {
    let text = report::metrics(&control.gateway, &control.gateway.snapshot());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
