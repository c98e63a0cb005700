//! Lists: `{"data":[…],"next":cursor or null}`, at most 200 at a time.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::ApiError;

const LARGEST: usize = 200;
const USUAL: usize = 100;

/// Which part of a list is asked for.
#[derive(Debug)]
pub(crate) struct Page {
    limit: usize,
    start: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    limit: Option<usize>,
    cursor: Option<usize>,
}

/// What the query of an endpoint holds that takes more than the part of a list; nothing else is taken.
pub(crate) struct Parameters<T>(pub(crate) T);

/// No parameter at all is taken.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParameters {}

// === impl Page ===

impl Page {
    /// So many of a list, from a cursor on.
    pub(crate) fn new(limit: Option<usize>, cursor: Option<usize>) -> Result<Self, ApiError> {
        Ok(Self { limit: self::limit(limit)?, start: cursor.unwrap_or(0) })
    }

    /// This part of the list.
    pub(crate) fn cut(&self, list: Vec<Value>) -> Value {
        let end = self.start.saturating_add(self.limit);
        // A cursor is a position: lists come from the configuration, which keeps its order.
        let next = (end < list.len()).then(|| end.to_string());
        let data: Vec<Value> = list.into_iter().skip(self.start).take(self.limit).collect();
        json!({"data": data, "next": next})
    }
}

impl<S: Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let asked = parameters::<Asked>(parts)?;
        Self::new(asked.limit, asked.cursor)
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parameters(parts).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for NoParameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parameters(parts)
    }
}

/// How many of a list are asked for.
pub(crate) fn limit(asked: Option<usize>) -> Result<usize, ApiError> {
    let limit = asked.unwrap_or(USUAL);
    if !(1..=LARGEST).contains(&limit) {
        return Err(ApiError::invalid(format!("`limit` is from 1 to {LARGEST}")));
    }
    Ok(limit)
}

fn parameters<T: DeserializeOwned>(parts: &Parts) -> Result<T, ApiError> {
    let refuse =
        |rejection: QueryRejection| ApiError::invalid(format!("the query cannot be read: {}", rejection.body_text()));
    let Query(asked) = Query::try_from_uri(&parts.uri).map_err(refuse)?;
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_joined_by_their_cursors_give_the_whole_list_once() {
        let list: Vec<Value> = (0..7).map(Value::from).collect();
        let (mut seen, mut start) = (Vec::new(), 0);
        loop {
            let page = Page { limit: 3, start }.cut(list.clone());
            seen.extend(page["data"].as_array().unwrap().clone());
            let Some(next) = page["next"].as_str() else { break };
            start = next.parse().unwrap();
        }
        assert_eq!(seen, list);
    }
}
