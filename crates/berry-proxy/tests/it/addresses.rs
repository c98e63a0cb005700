//! Who may come in from where: lists of addresses, and the word of trusted proxies (failure model, C24).

use std::net::IpAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::harness::{ALICE, BOB, Berry, Connection, DIALECTS, ROOT, chat_body, head, pair, request, snapshot};
use crate::http2::Client;
use crate::ports::{Gate, PATH, URLS, on_pipes};

const LISTS: &str = "[security]\nallow_ips = [\"203.0.113.0/24\", \"2001:db8::/32\"]\ndeny_ips = [\"203.0.113.66\", \"2001:db8:bad::/48\"]\n";

/// The fixture with the proxies of 10.0.0.0/8 trusted, and more at its end.
fn trusting(more: &'static str) -> impl FnOnce(String) -> String {
    move |text| text.replace("[server]\n", "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]\n") + more
}

fn from(gate: &Gate, peer: &str) -> Connection<DuplexStream> {
    Connection::over(gate.stream_from(peer.parse::<IpAddr>().unwrap()))
}

/// The status of a GET from there. 401 is that of a request which was let in, and has no token.
async fn get(gate: &Gate, peer: &str, path: &str, fields: &[(&str, &str)]) -> u16 {
    let mut client = from(gate, peer);
    client.send(head("GET", path, fields, None)).await;
    client.response().await.status
}

#[tokio::test]
async fn an_address_is_let_in_that_is_allowed_and_not_denied() {
    on_pipes(
        |text| text + LISTS,
        async |gate| {
            for (peer, status) in [
                ("203.0.113.7", 401),
                ("::ffff:203.0.113.7", 401),
                ("2001:db8::7", 401),
                ("203.0.113.66", 403),
                ("::ffff:203.0.113.66", 403),
                ("2001:db8:bad::1", 403),
                ("198.51.100.1", 403),
                ("127.0.0.1", 403),
                ("::1", 403),
            ] {
                for path in ["/v1/models", "/v1beta/models", "/v1/models/chat"] {
                    assert_eq!(get(&gate, peer, path, &[]).await, status, "{peer} {path}");
                }
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_refused_address_is_told_in_its_dialect_before_its_token_and_its_body_are_looked_at() {
    on_pipes(
        |text| text + LISTS,
        async |gate| {
            for dialect in DIALECTS {
                for token in [ALICE, "token-that-is-unknown-1"] {
                    let mut client = from(&gate, "198.51.100.1");
                    let fields = [("x-api-key", token), ("expect", "100-continue")];
                    client.send(head("POST", dialect.path(), &fields, Some(500_000))).await;
                    let answer = client.response().await;
                    dialect.assert_told(&answer, "ip_forbidden", token);
                    assert_eq!(answer.field("connection"), Some("close"));
                }
            }
            // There is no finding out what there is, either.
            for (method, path) in
                [("GET", "/nothing"), ("GET", PATH), ("POST", "/health"), ("GET", "/"), ("GET", "/metrics")]
            {
                let mut client = from(&gate, "198.51.100.1");
                client.send(head(method, path, &[], Some(0))).await;
                assert_eq!(client.response().await.status, 403, "{method} {path}");
            }
            let http2 = Client::over(gate.stream_from([198, 51, 100, 1].into())).await;
            for dialect in DIALECTS {
                let answer = http2.post(dialect.path(), &[("x-api-key", ALICE)], dialect.body()).await;
                dialect.assert_told(&answer, "ip_forbidden", "HTTP/2");
            }
        },
    )
    .await;
}

#[tokio::test]
async fn probes_are_let_in_from_anywhere_but_denied_addresses() {
    on_pipes(
        |text| text + LISTS,
        async |gate| {
            for path in ["/health/live", "/health/ready", "/health"] {
                assert_eq!(get(&gate, "198.51.100.1", path, &[]).await, 200, "{path}");
                assert_eq!(get(&gate, "203.0.113.66", path, &[]).await, 403, "{path}");
            }
            for (peer, is_told) in [("203.0.113.7", true), ("198.51.100.1", false)] {
                let mut client = from(&gate, peer);
                client.send(head("GET", "/health", &[("x-api-key", ROOT)], None)).await;
                assert_eq!(
                    client.response().await.json().get("detail").is_some(),
                    is_told,
                    "detail is no probe's: {peer}"
                );
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_user_comes_from_its_own_addresses_only_and_a_wrong_token_is_told_nothing_of_that() {
    let change =
        |text: String| text.replace("[users.bob]\n", "[users.bob]\nallowed_ips = [\"203.0.113.0/24\", \"::1\"]\n");
    on_pipes(change, async |gate| {
        for (peer, token, status) in [
            ("203.0.113.7", BOB, 200),
            ("::ffff:203.0.113.7", BOB, 200),
            ("::1", BOB, 200),
            ("198.51.100.1", BOB, 403),
            ("198.51.100.1", ALICE, 200),
            ("198.51.100.1", "token-that-is-unknown-1", 401),
        ] {
            assert_eq!(get(&gate, peer, "/v1/models", &[("x-api-key", token)]).await, status, "{peer} {token}");
        }
        for dialect in DIALECTS {
            let mut client = from(&gate, "198.51.100.1");
            client.send(head("POST", dialect.path(), &[("x-api-key", BOB)], Some(500_000))).await;
            dialect.assert_told(&client.response().await, "ip_forbidden", "a user's own list");
        }
    })
    .await;
}

#[tokio::test]
async fn the_word_of_a_trusted_proxy_counts_and_that_of_others_does_not() {
    on_pipes(trusting(LISTS), async |gate| {
        for (peer, name, value, status) in [
            ("10.0.0.1", "x-forwarded-for", "203.0.113.7", 401),
            ("::ffff:10.0.0.1", "x-forwarded-for", "203.0.113.7:4711", 401),
            ("fd00::1", "forwarded", "for=\"[2001:db8::7]:4711\";proto=https", 401),
            ("10.0.0.1", "x-forwarded-for", "198.51.100.1, 203.0.113.7, 10.0.0.2", 401),
            // What the client wrote itself stands to the left.
            ("10.0.0.1", "x-forwarded-for", "203.0.113.7, 198.51.100.1", 403),
            ("10.0.0.1", "x-forwarded-for", "203.0.113.7, 203.0.113.66", 403),
            ("10.0.0.1", "forwarded", "for=203.0.113.7, for=198.51.100.1", 403),
            ("10.0.0.1", "x-forwarded-for", "203.0.113.7, unknown", 403),
            ("10.0.0.1", "x-forwarded-for", "", 403),
            ("10.0.0.1", "accept", "*/*", 403),
            ("198.51.100.1", "x-forwarded-for", "203.0.113.7", 403),
            ("203.0.113.7", "x-forwarded-for", "203.0.113.66", 401),
        ] {
            assert_eq!(get(&gate, peer, "/v1/models", &[(name, value)]).await, status, "{peer} {name}: {value}");
        }
        let two = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.8")];
        assert_eq!(
            get(&gate, "10.0.0.1", "/v1/models", &two).await,
            403,
            "which of the two the proxy wrote is not known"
        );
        let lines = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(get(&gate, "10.0.0.1", "/v1/models", &lines).await, 403);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_origin_matters_only_where_there_is_a_list() {
    on_pipes(trusting(""), async |gate| {
        assert_eq!(get(&gate, "10.0.0.1", "/v1/models", &[("x-forwarded-for", "unknown")]).await, 401);
    })
    .await;
    on_pipes(trusting("[security]\ndeny_ips = [\"198.51.100.1\"]\n"), async |gate| {
        for (value, status) in [("unknown", 403), ("198.51.100.1, garbage", 403), ("198.51.100.2", 401)] {
            assert_eq!(get(&gate, "10.0.0.1", "/v1/models", &[("x-forwarded-for", value)]).await, status, "{value}");
        }
    })
    .await;
}

#[tokio::test]
async fn each_request_of_a_proxys_connection_has_its_own_address() {
    on_pipes(trusting(LISTS), async |gate| {
        let mut client = from(&gate, "10.0.0.1");
        for (value, status) in [("203.0.113.7", 401), ("198.51.100.1", 403), ("203.0.113.8", 401)] {
            client.send(head("GET", "/v1/models", &[("x-forwarded-for", value)], None)).await;
            assert_eq!(client.response().await.status, status, "{value}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_reload_changes_who_may_come_in_on_open_connections_too() {
    on_pipes(
        |text| text,
        async |gate| {
            let mut client = from(&gate, "198.51.100.1");
            let mut ask = async |status: u16| {
                client.send(head("GET", "/v1/models", &[("x-api-key", ALICE)], None)).await;
                assert_eq!(client.response().await.status, status);
            };
            let reload = |more: &str| {
                let now = gate.gateway.clock().now();
                gate.gateway.replace(snapshot(&(pair(URLS) + more), gate.gateway.live(), now));
            };
            ask(200).await;
            reload("[security]\ndeny_ips = [\"198.51.100.0/24\"]\n");
            ask(403).await;
            reload("[security]\nallow_ips = [\"198.51.100.1\"]\n");
            ask(200).await;
        },
    )
    .await;
}

#[tokio::test]
async fn metrics_are_open_to_this_machine_only_where_no_proxy_stands_between() {
    let trust = |text: String| text.replace("[server]\n", "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    on_pipes(trust, async |gate| {
        assert_eq!(get(&gate, "127.0.0.1", "/metrics", &[]).await, 200);
        assert_eq!(get(&gate, "127.0.0.1", "/metrics", &[("x-forwarded-for", "127.0.0.1")]).await, 401);
        assert_eq!(get(&gate, "127.0.0.1", "/metrics", &[("x-forwarded-for", "203.0.113.7")]).await, 401);
    })
    .await;
}

#[tokio::test]
async fn the_address_of_a_client_does_not_cross() {
    let berry = Berry::with(|text| text.replace("[server]\n", "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n")).await;
    let fields = [("x-api-key", ALICE), ("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7")];
    assert_eq!(berry.raw(request(PATH, &fields, &chat_body("single"))).await.status, 200);
    let sent = berry.first.journal();
    assert!(["x-forwarded-for", "forwarded"].iter().all(|name| sent[0].header(name).is_none()), "{sent:?}");
}

/// The fixture with a proxy that speaks the PROXY protocol.
fn introducing(text: String) -> String {
    trusting(LISTS)(text).replace("[server]\n", "[server]\nproxy_protocol = true\n")
}

/// A header of the PROXY protocol, version 2, for a connection from there.
fn introduction(source: [u8; 4]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &source[..], &[10, 0, 0, 1, 1, 2, 3, 4]].concat()
}

#[tokio::test]
async fn a_proxy_may_say_whom_a_connection_is_of_before_anything_else() {
    on_pipes(introducing, async |gate| {
        for (source, fields, status) in [
            ([203, 0, 113, 7], &[][..], 401),
            ([198, 51, 100, 1], &[], 403),
            // It is no proxy of ours, so that its word on others does not count.
            ([198, 51, 100, 1], &[("x-forwarded-for", "203.0.113.7")], 403),
            // It is one.
            ([10, 0, 0, 2], &[("x-forwarded-for", "203.0.113.7")], 401),
        ] {
            let mut client = from(&gate, "10.0.0.1");
            client.send(introduction(source)).await;
            for _ in 0..2 {
                client.send(head("GET", "/v1/models", fields, None)).await;
                assert_eq!(client.response().await.status, status, "{source:?} {fields:?}");
            }
        }
        let mut stream = gate.stream_from([10, 0, 0, 1].into());
        stream.write_all(&introduction([203, 0, 113, 7])).await.unwrap();
        let http2 = Client::over(stream).await;
        assert_eq!(http2.post(PATH, &[], "{}").await.status, 401);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_introduce_itself_as_it_should_is_not_served() {
    on_pipes(introducing, async |gate| {
        for (peer, bytes, is_answered) in [
            ("10.0.0.1", head("GET", "/health", &[], None).into_bytes(), false),
            ("10.0.0.1", b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n".to_vec(), false),
            // Never whole: after ten seconds it is over.
            ("10.0.0.1", introduction([203, 0, 113, 7])[..20].to_vec(), false),
            ("10.0.0.1", Vec::new(), false),
            // Whoever is not trusted is served as ever, and its header is no HTTP.
            ("203.0.113.7", head("GET", "/health", &[("connection", "close")], None).into_bytes(), true),
            ("203.0.113.7", introduction([203, 0, 113, 8]), true),
        ] {
            let mut stream = gate.stream_from(peer.parse().unwrap());
            stream.write_all(&bytes).await.unwrap();
            let mut answer = Vec::new();
            let started = tokio::time::Instant::now();
            let _ = stream.read_to_end(&mut answer).await;
            assert_eq!(!answer.is_empty(), is_answered, "{peer} {:?}", String::from_utf8_lossy(&answer));
            assert!(started.elapsed() <= crate::ports::seconds(12), "{:?}", started.elapsed());
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_are_not_open_to_strangers_whom_a_local_proxy_introduces() {
    let change = |text: String| {
        text.replace("[server]\n", "[server]\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]\n")
    };
    on_pipes(change, async |gate| {
        let mut client = from(&gate, "127.0.0.1");
        client.send(introduction([203, 0, 113, 7])).await;
        client.send(head("GET", "/metrics", &[], None)).await;
        assert_eq!(client.response().await.status, 401);
    })
    .await;
}
