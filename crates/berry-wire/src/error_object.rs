//! The error object in an answer, wherever its dialect puts it, and the fields in it by name. Only answers that have failed
//! come here, so that a tree of JSON may be built.

use serde_json::Value;

/// The error object of a body or of an event's data. Where nothing is wrapped around it, it is the whole.
///
/// `error`: everyone. `response.error`: the Responses API, where a response failed. In a list: Gemini's plain streams and its
/// errors under OpenAI's paths. The whole: the Responses API's event `error`, and vendors that know no envelope.
pub(crate) fn error_object(body: &[u8]) -> Option<Value> {
    let mut whole: Value = serde_json::from_slice(body).ok()?;
    let wrapped = match &mut whole {
        Value::Array(items) => items.iter_mut().find_map(|item| take_object(item, "/error")),
        other => take_object(other, "/error").or_else(|| take_object(other, "/response/error")),
    };
    Some(wrapped.unwrap_or(whole))
}

fn take_object(value: &mut Value, at: &str) -> Option<Value> {
    value.pointer_mut(at).filter(|found| found.is_object()).map(Value::take)
}

/// The first of the values at this path that the test makes something of. A path is a JSON pointer, in which `*` stands for all
/// items of a list.
pub(crate) fn find_at<T>(value: &Value, path: &str, test: &mut dyn FnMut(&Value) -> Option<T>) -> Option<T> {
    let Some(path) = path.strip_prefix('/') else {
        return test(value);
    };
    let end = path.find('/').unwrap_or(path.len());
    let (step, rest) = path.split_at(end);
    match value {
        Value::Array(items) if step == "*" => items.iter().find_map(|item| find_at(item, rest, test)),
        _ => find_at(value.get(step)?, rest, test),
    }
}
