//! `POST /admin/providers/test`: tries a provider, or all, as `berry check --connect` does.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Control;
use crate::caller::Caller;
use crate::error::ApiError;

/// What is to be tried.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// A provider's id; none: all.
    provider: Option<String>,
}

pub(super) async fn post(State(control): State<Control>, caller: Caller, body: Bytes) -> Result<Json<Value>, ApiError> {
    let order: Order = match body.trim_ascii() {
        [] => Order::default(),
        text => serde_json::from_slice(text)
            .map_err(|_| ApiError::invalid("send `{\"provider\":\"id\"}` to try one provider, or `{}` to try all"))?,
    };
    let is_one = order.provider.is_some();
    let resource = order.provider.as_ref().map_or_else(|| "providers".to_owned(), |id| format!("provider:{id}"));
    control.record(caller, "providers.test", resource).await?;
    let results = control.gateway.test_providers(order.provider).await;
    if is_one && results.is_empty() {
        return Err(ApiError::invalid("there is no enabled provider of that id"));
    }
    let data: Vec<Value> = results.iter().map(|result| result.to_json()).collect();
    Ok(Json(json!({"data": data, "next": null})))
}
