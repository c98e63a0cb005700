//! The admin listener of a running gateway.

use crate::harness::{Folder, Running, TOKEN, USER_TOKEN, chat, config, get, receive, send};

const LOCKED: &[&str] = &[
    "/admin/backend-health",
    "/admin/config",
    "/admin/model-weights",
    "/admin/rate-limit-usage",
    "/admin/system-stats",
    "/admin/openapi.json",
    "/metrics",
];

#[test]
fn admins_see_health_weights_and_the_process() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&config(&url, &[("m", "gpt-4o-mini"), ("n", "mock-ok")], ""));
    let running = Running::serve(&folder);
    let (data, admin) = running.addresses();
    assert_eq!(receive(chat(&data, "m", "false")).status, 200);

    let health = get(&admin, "/admin/backend-health", Some(TOKEN)).json();
    assert_eq!(health["data"][0]["state"], "healthy");
    assert_eq!(health["next"], serde_json::Value::Null);
    let weights = get(&admin, "/admin/model-weights?limit=1", Some(TOKEN)).json();
    assert_eq!(weights["data"][0]["backends"][0]["share"], 1.0);
    let rest = get(&admin, "/admin/model-weights?limit=1&cursor=1", Some(TOKEN)).json();
    assert_eq!((weights["next"].as_str(), &rest["data"][0]["model"]), (Some("1"), &"n".into()));
    // The client may have its last byte a moment before the gateway has counted it.
    let counted = || get(&admin, "/admin/system-stats", Some(TOKEN)).json();
    let stats = (0..1000).map(|_| counted()).find(|stats| stats["requests"] == 1).unwrap_or_else(counted);
    assert_eq!((&stats["requests"], &stats["generation"], &stats["phase"]), (&1.into(), &1.into(), &"serving".into()));
    assert!(get(&admin, "/metrics", Some(TOKEN)).body.contains("berry_config_generation"));
    let described = get(&admin, "/admin/openapi.json", Some(TOKEN)).json();
    assert!(
        LOCKED.iter().all(|path| described["paths"][path]["get"]["security"][0]["bearer"].is_array()),
        "{described}"
    );
    assert_eq!(running.end(), Some(0));
}

#[test]
fn admins_see_what_users_have_used_of_their_limits() {
    let (_mock, url) = Running::mock(&[]);
    let limits = "[users.alice.rate_limit]\nrequests_per_day = 2\nconcurrent_requests = 3\n";
    let text = config(&url, &[("m", "gpt-4o-mini")], "") + limits;
    let folder = Folder::with(&text);
    let running = Running::serve(&folder);
    let (data, admin) = running.addresses();
    let bearer = format!("Bearer {USER_TOKEN}");
    let ask = || {
        let fields = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        receive(send(&data, "POST", "/v1/chat/completions", &fields, r#"{"model":"m","messages":[]}"#)).status
    };
    assert_eq!([ask(), ask(), ask()], [200, 200, 429]);
    let usage = |query: &str| get(&admin, &format!("/admin/rate-limit-usage{query}"), Some(TOKEN));
    let all = usage("").json();
    assert_eq!((&all["data"][0]["user"], &all["data"][1]["user"]), (&"alice".into(), &"root".into()));
    assert_eq!(all["data"][1]["limits"], serde_json::json!([]));
    let alice = usage("?user_id=alice").json();
    assert_eq!(alice["data"].as_array().unwrap().len(), 1);
    let row = |at: usize| {
        let row = &alice["data"][0]["limits"][at];
        ["limit", "allowed", "remaining", "refused"].map(|name| row[name].clone())
    };
    assert_eq!(serde_json::json!(row(0)), serde_json::json!(["requests_per_day", 2, 0, 1]));
    assert_eq!(serde_json::json!(row(1)[..2]), serde_json::json!(["concurrent_requests", 3]));
    assert_eq!(usage("?limit=1&cursor=1").json()["data"][0]["user"], "root");
    assert_eq!([usage("?user_id=nobody").status, usage("?user=alice").status, usage("?limit=0").status], [400; 3]);
}

#[test]
fn admins_can_have_providers_tried() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&config(&url, &[("m", "gpt-4o-mini")], ""));
    let running = Running::serve(&folder);
    let (_, admin) = running.addresses();
    let bearer = format!("Bearer {TOKEN}");
    let ask = |body: &str| {
        let fields = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        receive(send(&admin, "POST", "/admin/providers/test", &fields, body))
    };
    for body in ["", "{}"] {
        let all = ask(body).json();
        assert_eq!((&all["data"][0]["ok"], &all["next"]), (&true.into(), &serde_json::Value::Null), "{all}");
    }
    let id = ask("{}").json()["data"][0]["provider"].as_str().unwrap().to_owned();
    assert_eq!(ask(&format!("{{\"provider\":\"{id}\"}}")).json()["data"][0]["provider"], *id);
    assert_eq!(ask("{\"provider\":\"nobody\"}").status, 400);
    assert_eq!(ask("{\"provider\":").status, 400);
    assert_eq!(receive(send(&admin, "POST", "/admin/providers/test", &[], "{}")).status, 401);
    assert_eq!(get(&admin, "/admin/providers/test", Some(TOKEN)).status, 405);
}

#[test]
fn all_others_get_the_same_401() {
    let folder = Folder::with(&config("http://127.0.0.1:9", &[("m", "m")], ""));
    let running = Running::serve(&folder);
    let (_, admin) = running.addresses();
    let mut bodies = Vec::new();
    for path in LOCKED {
        for token in [None, Some(USER_TOKEN), Some("unknown-token-0123456789"), Some("")] {
            let answer = get(&admin, path, token);
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path} {token:?}");
            bodies.push(answer.body);
        }
        // Other places where the data listener takes a token are none here.
        assert_eq!(receive(send(&admin, "GET", path, &[("x-api-key", TOKEN)], "")).status, 401);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(get(&admin, "/health/live", None).status, 200);
}

#[test]
fn what_it_does_not_have_or_take_is_told_in_json() {
    let folder = Folder::with(&config("http://127.0.0.1:9", &[("m", "m")], ""));
    let running = Running::serve(&folder);
    let (_, admin) = running.addresses();
    let code =
        |answer: crate::harness::Answer| (answer.status, answer.json()["error"]["code"].as_str().unwrap().to_owned());
    assert_eq!(code(get(&admin, "/admin/nothing", Some(TOKEN))), (404, "route_not_found".to_owned()));
    assert_eq!(code(get(&admin, "/v1/models", Some(TOKEN))), (404, "route_not_found".to_owned()));
    let bearer = format!("Bearer {TOKEN}");
    let post = send(&admin, "POST", "/admin/system-stats", &[("authorization", &bearer)], "{}");
    assert_eq!(code(receive(post)), (405, "method_not_allowed".to_owned()));
    for query in ["limit=0", "limit=201", "limit=x", "cursor=x", "sort=name"] {
        let answer = get(&admin, &format!("/admin/backend-health?{query}"), Some(TOKEN));
        assert_eq!(code(answer), (400, "invalid_request".to_owned()), "{query}");
    }
}

#[test]
fn no_answer_holds_a_key_or_a_token() {
    let folder = Folder::with(&config("http://127.0.0.1:9", &[("m", "m")], ""));
    let running = Running::serve(&folder);
    let (_, admin) = running.addresses();
    for path in LOCKED {
        let answer = get(&admin, path, Some(TOKEN));
        assert_eq!(answer.status, 200);
        for secret in [TOKEN, USER_TOKEN, "sk-of-a-simulated-provider"] {
            assert!(!answer.body.contains(secret) && !answer.head.contains(secret), "{path}");
        }
    }
}
