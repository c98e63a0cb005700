//! Lists of addresses on both listeners of a running gateway, and what its log says of where a request came from.

use crate::harness::{Answer, Folder, Running, TOKEN, USER_TOKEN, config, eventually, get, receive, send};

/// A configuration that trusts a proxy on this machine.
fn trusting(more: &str) -> String {
    let text = config("http://127.0.0.1:9", &[("m", "m")], "");
    text.replacen("[server]\n", "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n", 1) + more
}

fn ask(address: &str, path: &str, token: &str, client: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    receive(send(address, "GET", path, &[("authorization", &bearer), ("x-forwarded-for", client)], ""))
}

#[test]
fn the_log_tells_the_client_and_the_proxy_in_front() {
    let folder = Folder::with(&trusting(""));
    let running = Running::serve(&folder);
    let (data, _) = running.addresses();
    for (client, told) in [
        ("6.6.6.6, 203.0.113.9", "ip=203.0.113.9 peer=127.0.0.1"),
        ("[2001:db8::9]:4711", "ip=2001:db8::9 peer=127.0.0.1"),
        ("203.0.113.9, garbage", "ip=unknown peer=127.0.0.1"),
    ] {
        let answer = ask(&data, "/v1/models", USER_TOKEN, client);
        let line = running.stderr.line_with(answer.header("x-request-id").unwrap());
        assert!(line.contains(told), "{told} in {line}");
    }
    let direct = get(&data, "/v1/models", Some(USER_TOKEN));
    let line = running.stderr.line_with(direct.header("x-request-id").unwrap());
    assert!(line.contains("ip=127.0.0.1") && !line.contains("peer="), "{line}");
}

#[test]
fn the_admin_listener_has_a_list_of_its_own_and_shares_what_is_denied() {
    let folder = Folder::with(&(trusting(
        "[security]\nallow_ips = [\"203.0.113.0/24\"]\ndeny_ips = [\"198.51.100.66\"]\n\
         [users.other]\ntoken = \"another-admin-token-0123456789\"\ntags = [\"admin\"]\nallowed_ips = [\"198.51.100.8\"]\n",
    ))
    .replacen("[admin]\n", "[admin]\nallow_ips = [\"198.51.100.0/24\"]\n", 1));
    let running = Running::serve(&folder);
    let (data, admin) = running.addresses();
    let path = "/admin/system-stats";
    for (client, token, status) in [
        ("198.51.100.7", TOKEN, 200),
        ("198.51.100.7", "unknown-token-0123456789", 401),
        ("203.0.113.7", TOKEN, 403),
        ("203.0.113.7", "unknown-token-0123456789", 403),
        ("198.51.100.66", TOKEN, 403),
        ("198.51.100.7, garbage", TOKEN, 403),
        ("198.51.100.8", "another-admin-token-0123456789", 200),
        ("198.51.100.7", "another-admin-token-0123456789", 403),
    ] {
        let answer = ask(&admin, path, token, client);
        assert_eq!(answer.status, status, "{client} {token}: {}", answer.body);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{client}");
        if status == 403 {
            assert_eq!(answer.json()["error"]["code"], "ip_forbidden");
        }
    }
    // Whoever may not come in learns of no endpoint, and whoever probes is answered.
    assert_eq!(ask(&admin, "/admin/nothing", TOKEN, "203.0.113.7").status, 403);
    assert_eq!(ask(&admin, "/health/live", "", "203.0.113.7").status, 200);
    assert_eq!(ask(&admin, "/health/live", "", "198.51.100.66").status, 403);
    // The proxy asks for itself, and is not in the list.
    assert_eq!(get(&admin, path, Some(TOKEN)).status, 403);
    // The data listener has the other list.
    assert_eq!(ask(&data, "/v1/models", USER_TOKEN, "203.0.113.7").status, 200);
    assert_eq!(ask(&data, "/v1/models", USER_TOKEN, "198.51.100.7").status, 403);
    assert_eq!(running.end(), Some(0));
}

#[test]
fn a_changed_list_is_in_force_without_a_restart() {
    let folder = Folder::with(&trusting(""));
    let running = Running::serve(&folder);
    let (data, admin) = running.addresses();
    assert_eq!(ask(&data, "/v1/models", USER_TOKEN, "203.0.113.7").status, 200);
    assert_eq!(ask(&admin, "/admin/system-stats", TOKEN, "203.0.113.7").status, 200);
    std::fs::write(folder.config(), trusting("[security]\ndeny_ips = [\"203.0.113.0/24\"]\n")).unwrap();
    let refused = |address: &str, path| ask(address, path, TOKEN, "203.0.113.7").status == 403;
    eventually("the new list", || refused(&data, "/v1/models").then_some(()));
    assert!(refused(&admin, "/admin/system-stats"));
}
