//! The table of endpoints: one file and one line each. The router, the roles (security rule E17) and the description in
//! OpenAPI are all made from it.

mod audit;
mod backend_health;
mod config;
mod config_generation;
mod config_history;
mod config_rollback;
mod config_validate;
mod live;
mod metrics;
mod model_weights;
mod openapi;
mod providers_test;
mod rate_limit_usage;
mod reload_config;
mod system_stats;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use serde_json::Value;

use crate::Control;
use crate::auth::admins_only;

/// One thing that can be asked for.
pub(crate) struct Endpoint {
    path: &'static str,
    role: Role,
    kind: Kind,
    summary: &'static str,
    handler: fn() -> MethodRouter<Control>,
    /// The media type of what is posted, where something is.
    posted: Option<&'static str>,
    /// What a list may be narrowed to, by name, and what that means.
    filters: &'static [(&'static str, &'static str)],
}

/// Who may call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Anybody who reaches the listener.
    Anyone,
    /// Users tagged `admin`.
    Admin,
}

/// What the answer is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `{"data":[…],"next":…}`, taken in pages.
    List,
    /// One JSON object.
    Object,
    /// Prometheus' text.
    Text,
}

/// Where it is asked whether the process lives, open to all.
pub(crate) const PROBE: &str = "/health/live";

/// All endpoints, by path.
pub(crate) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("/admin/audit", Role::Admin, Kind::List, "the audit log, the newest records first", || {
        get(audit::get)
    })
    .narrowed_by(&[
        ("actor", "what this one did, as the records name it: `user:alice`, `operator:file`, `berry`, `unknown`"),
        ("action", "of this kind alone"),
        ("result", "that came to this"),
    ]),
    Endpoint::new("/admin/backend-health", Role::Admin, Kind::List, "health of every backend", || {
        get(backend_health::get)
    }),
    Endpoint::new("/admin/config", Role::Admin, Kind::Object, "the configuration in force, without secrets", || {
        get(config::get)
    }),
    Endpoint::new(
        "/admin/config/history",
        Role::Admin,
        Kind::List,
        "the generations of the configuration that ran, the latest first",
        || get(config_history::get),
    ),
    Endpoint::new(
        "/admin/config/history/{generation}",
        Role::Admin,
        Kind::Object,
        "one of them, with its text and what changed, without secrets",
        || get(config_generation::get),
    ),
    Endpoint::new(
        "/admin/config/rollback",
        Role::Admin,
        Kind::Object,
        "write the text of a former generation (`{\"generation\":7}`) into the configuration file and put it into force \
         (`?confirm=true`: also where it looks like a mistake); 422 and its problems where it does not hold any more, 409 \
         where the file or the history cannot be written",
        || post(config_rollback::post),
    )
    .posted("application/json"),
    Endpoint::new(
        "/admin/config/validate",
        Role::Admin,
        Kind::Object,
        "what is wrong with a configuration, sent as TOML; nothing is changed",
        || post(config_validate::post),
    )
    .posted("application/toml"),
    Endpoint::new(
        "/admin/model-weights",
        Role::Admin,
        Kind::List,
        "share that each backend of a model gets now",
        || get(model_weights::get),
    ),
    Endpoint::new("/admin/openapi.json", Role::Admin, Kind::Object, "this description", || get(openapi::get)),
    Endpoint::new(
        "/admin/providers/test",
        Role::Admin,
        Kind::List,
        "try a provider (`{\"provider\":\"id\"}`), or all (`{}`): does it answer, take the key, know the models",
        || post(providers_test::post),
    )
    .posted("application/json"),
    Endpoint::new(
        "/admin/rate-limit-usage",
        Role::Admin,
        Kind::List,
        "what users have used of their limits, and how many requests each limit has refused",
        || get(rate_limit_usage::get),
    )
    .narrowed_by(&[("user_id", "of this user alone")]),
    Endpoint::new(
        "/admin/reload-config",
        Role::Admin,
        Kind::Object,
        "read the configuration file again (`?confirm=true`: also where it looks like a mistake); 422 and its problems \
         where it is not used",
        || post(reload_config::post),
    )
    .posted("application/json"),
    Endpoint::new(
        "/admin/system-stats",
        Role::Admin,
        Kind::Object,
        "version, uptime, traffic and memory of this process",
        || get(system_stats::get),
    ),
    Endpoint::new(PROBE, Role::Anyone, Kind::Object, "whether the process lives", || get(live::get)),
    Endpoint::new("/metrics", Role::Admin, Kind::Text, "metrics in Prometheus' text format", || get(metrics::get)),
];

impl Endpoint {
    const fn new(
        path: &'static str,
        role: Role,
        kind: Kind,
        summary: &'static str,
        handler: fn() -> MethodRouter<Control>,
    ) -> Self {
        Self { path, role, kind, summary, handler, posted: None, filters: &[] }
    }

    /// It does something, and is called with POST and a body of this media type.
    const fn posted(mut self, media: &'static str) -> Self {
        self.posted = Some(media);
        self
    }

    /// Its list may be narrowed.
    const fn narrowed_by(mut self, filters: &'static [(&'static str, &'static str)]) -> Self {
        self.filters = filters;
        self
    }
}

/// The routes of the table, each behind its role.
pub(crate) fn router(control: &Control) -> Router {
    let add = |router: Router<Control>, endpoint: &Endpoint| {
        let handler = (endpoint.handler)();
        let guarded = match endpoint.role {
            Role::Anyone => handler,
            Role::Admin => handler.route_layer(from_fn_with_state(control.clone(), admins_only)),
        };
        router.route(endpoint.path, guarded)
    };
    ENDPOINTS.iter().fold(Router::new(), add).with_state(control.clone())
}

/// Whether there is an endpoint of that path, without its parts that vary.
pub(crate) fn is_known(path: &str) -> bool {
    ENDPOINTS.iter().any(|endpoint| endpoint.path == path)
}

/// Takes the list of that name out of a report.
fn take_list(mut report: Value, name: &str) -> Vec<Value> {
    match report.get_mut(name).map(Value::take) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_only_liveness_is_open_to_all() {
        assert!(ENDPOINTS.is_sorted_by_key(|endpoint| endpoint.path));
        let open: Vec<_> = ENDPOINTS.iter().filter(|e| e.role == Role::Anyone).map(|e| e.path).collect();
        assert_eq!(open, ["/health/live"]);
    }
}
