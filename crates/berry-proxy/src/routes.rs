//! What a path and method mean on the data listener: a page of Berry's own, or a call of a protocol.

use berry_http1::Method;
use berry_vocab::Protocol;
use berry_wire::{Call, Matched, Miss, Operation};

/// Pages that Berry answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page<'p> {
    /// `GET /`
    Index,
    /// `GET /health`
    Health,
    /// `GET /health/live`
    Live,
    /// `GET /health/ready`
    Ready,
    /// `GET /metrics`, `GET /prometheus`
    Metrics,
    /// `GET /v1/models`, `GET /v1beta/models`
    ListModels { beta: bool },
    /// The same with an id.
    GetModel { id: &'p str, beta: bool },
}

/// What a request is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'p> {
    Page(Page<'p>),
    Call(Call<'p>),
}

/// The bounded set of routes that metrics and log lines name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A page of Berry's own, by its place in [`PAGES`].
    Page(usize),
    /// A call, by its place among the operations.
    Call(usize),
    /// Anything else.
    Unknown,
}

/// Labels of Berry's own pages.
const PAGES: [&str; 7] =
    ["/", "/health", "/health/live", "/health/ready", "/metrics", "/v1/models", "/v1/models/{model}"];

/// Finds what a request is for.
///
/// # Errors
/// A path that is not known, or known with another method.
pub(crate) fn find<'p>(method: Method, name: &str, path: &'p str) -> Result<Target<'p>, Miss> {
    let page = match path {
        "/" => Page::Index,
        "/health" => Page::Health,
        "/health/live" => Page::Live,
        "/health/ready" => Page::Ready,
        "/metrics" | "/prometheus" => Page::Metrics,
        // A HEAD is answered as the GET without its body.
        _ => match berry_wire::find(if method == Method::Head { "GET" } else { name }, path) {
            Ok(Matched::Call(call)) => return Ok(Target::Call(call)),
            Ok(Matched::ListModels { beta }) => Page::ListModels { beta },
            Ok(Matched::GetModel { id, beta }) => Page::GetModel { id, beta },
            Err(miss) => return Err(miss),
        },
    };
    match method {
        Method::Get | Method::Head => Ok(Target::Page(page)),
        _ => Err(Miss::MethodNotAllowed { allow: "GET" }),
    }
}

impl Target<'_> {
    /// The dialect that failures are told in.
    pub(crate) fn dialect(&self) -> Option<Protocol> {
        match self {
            Target::Call(call) => Some(call.protocol),
            Target::Page(_) => None,
        }
    }

    /// The route for metrics and logs.
    pub(crate) fn route(&self) -> Route {
        match self {
            Target::Page(page) => Route::Page(match page {
                Page::Index => 0,
                Page::Health => 1,
                Page::Live => 2,
                Page::Ready => 3,
                Page::Metrics => 4,
                Page::ListModels { .. } => 5,
                Page::GetModel { .. } => 6,
            }),
            Target::Call(call) => {
                Route::Call(Operation::all().iter().position(|o| *o == call.operation).unwrap_or_default())
            }
        }
    }
}

impl Route {
    /// How many there are.
    pub(crate) fn count() -> usize {
        PAGES.len() + Operation::all().len() + 1
    }

    /// All of them, in the order of their indices.
    pub(crate) fn all() -> impl Iterator<Item = Route> {
        let pages = (0..PAGES.len()).map(Route::Page);
        pages.chain((0..Operation::all().len()).map(Route::Call)).chain([Route::Unknown])
    }

    /// Those that are calls of a protocol.
    pub(crate) fn calls() -> impl Iterator<Item = Route> {
        (0..Operation::all().len()).map(Route::Call)
    }

    /// Its index.
    pub(crate) fn index(self) -> usize {
        match self {
            Route::Page(i) => i,
            Route::Call(i) => PAGES.len() + i,
            Route::Unknown => PAGES.len() + Operation::all().len(),
        }
    }

    /// Its label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Route::Page(i) => PAGES.get(i).copied().unwrap_or("other"),
            Route::Call(i) => Operation::all().get(i).map_or("other", |operation| operation.label()),
            Route::Unknown => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_own_index_and_label() {
        let labels: Vec<&str> = Route::all().map(Route::label).collect();
        assert_eq!(labels.len(), Route::count());
        assert!(Route::all().enumerate().all(|(i, route)| route.index() == i));
        assert!(labels.iter().enumerate().all(|(i, label)| !labels[..i].contains(label)), "{labels:?}");
    }

    #[test]
    fn pages_take_get_and_head_alone() {
        for path in
            ["/", "/health", "/health/live", "/health/ready", "/metrics", "/prometheus", "/v1/models", "/v1/models/x"]
        {
            assert!(find(Method::Get, "GET", path).is_ok() && find(Method::Head, "HEAD", path).is_ok(), "{path}");
            assert!(find(Method::Other, "DELETE", path).is_err(), "{path}");
        }
    }
}
