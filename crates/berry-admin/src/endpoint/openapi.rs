//! `GET /admin/openapi.json`: the table of endpoints, as OpenAPI 3.1 has it.

use axum::Json;
use serde_json::{Map, Value, json};

use super::{ENDPOINTS, Endpoint, Kind, Role};
use crate::page::NoParameters;

pub(super) async fn get(_: NoParameters) -> Json<Value> {
    Json(document())
}

fn document() -> Value {
    let paths: Map<String, Value> = ENDPOINTS
        .iter()
        .map(|endpoint| (endpoint.path.to_owned(), json!({method(endpoint): operation(endpoint)})))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Berry admin API", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": error()},
        },
    })
}

fn method(endpoint: &Endpoint) -> &'static str {
    if endpoint.posted.is_some() { "post" } else { "get" }
}

fn operation(endpoint: &Endpoint) -> Value {
    let (media, schema) = match endpoint.kind {
        Kind::List => ("application/json", list()),
        Kind::Object => ("application/json", json!({"type": "object"})),
        Kind::Text => ("text/plain", json!({"type": "string"})),
    };
    let failure = json!({
        "description": "an error",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    });
    let mut operation = json!({
        "summary": endpoint.summary,
        "security": match endpoint.role {
            Role::Anyone => json!([]),
            Role::Admin => json!([{"bearer": []}]),
        },
        "responses": {
            "200": {"description": endpoint.summary, "content": {media: {"schema": schema}}},
            "default": failure,
        },
    });
    if let Some(media) = endpoint.posted {
        let kind = if media == "application/json" { "object" } else { "string" };
        operation["requestBody"] = json!({"content": {media: {"schema": {"type": kind}}}});
    } else if let Some((_, name)) = endpoint.path.split_once('{') {
        let name = name.trim_end_matches('}');
        operation["parameters"] = json!([
            {"name": name, "in": "path", "required": true, "schema": {"type": "integer", "minimum": 1}},
        ]);
    } else if endpoint.kind == Kind::List {
        let page = [
            json!({"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 100}}),
            json!({"name": "cursor", "in": "query", "schema": {"type": "string"}, "description": "`next` of the page before"}),
        ];
        let filters = endpoint.filters.iter().map(|(name, meaning)| {
            json!({"name": name, "in": "query", "schema": {"type": "string"}, "description": meaning})
        });
        operation["parameters"] = page.into_iter().chain(filters).collect();
    }
    operation
}

fn list() -> Value {
    json!({
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": {"type": "array", "items": {"type": "object"}},
            "next": {"type": ["string", "null"]},
        },
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        }},
    })
}
