//! `GET /admin/audit`: the audit log, the newest records first.

use axum::Json;
use axum::extract::State;
use berry_store::audit::Filter;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::Control;
use crate::error::ApiError;
use crate::page::{Parameters, limit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    actor: Option<String>,
    action: Option<String>,
    result: Option<String>,
    limit: Option<usize>,
    /// The record before which to begin: new ones that come meanwhile shift nothing.
    cursor: Option<u64>,
}

pub(super) async fn get(
    State(control): State<Control>,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(asked.limit)?;
    let filter = Filter { actor: asked.actor, action: asked.action, result: asked.result };
    let read = spawn_blocking(move || control.audit.page(asked.cursor, limit, &filter)).await;
    let page = read.map_err(std::io::Error::other).flatten().map_err(|error| ApiError::unreadable(&error))?;
    let records: Vec<Value> = page.records.into_iter().map(|record| record.fields).collect();
    Ok(Json(json!({"data": records, "next": page.next.map(|seq| seq.to_string())})))
}
