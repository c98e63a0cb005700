//! `GET /admin/rate-limit-usage`: what users have used of their limits, from the very state that lets their requests in.

use axum::Json;
use axum::extract::State;
use berry_proxy::report;
use serde::Deserialize;
use serde_json::Value;

use crate::Control;
use crate::error::ApiError;
use crate::page::{Page, Parameters};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    user_id: Option<String>,
    limit: Option<usize>,
    cursor: Option<usize>,
}

pub(super) async fn get(
    State(control): State<Control>,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Value>, ApiError> {
    let page = Page::new(asked.limit, asked.cursor)?;
    let snapshot = control.gateway.snapshot();
    let usage = report::rate_limit_usage(&control.gateway, &snapshot, asked.user_id.as_deref());
    if asked.user_id.is_some() && usage.is_empty() {
        return Err(ApiError::invalid("there is no enabled user of that id"));
    }
    Ok(Json(page.cut(usage)))
}
