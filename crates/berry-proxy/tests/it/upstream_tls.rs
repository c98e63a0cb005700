//! TLS on both sides: what is trusted, what ALPN agrees on, and the way through a proxy.

use std::net::SocketAddr;
use std::sync::Arc;

use berry_mock::{Gate, Mock, Options, Script, Tls, named};
use berry_proxy::net::SystemDisk;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{
    ALICE, Berry, Connection, Dialect, chat_body, fault, head, journal, mock, request, stream_body, within,
    without_retries,
};
use crate::http2::Client;

/// A certificate of its own, and the files that hold it and its key.
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
    folder: std::path::PathBuf,
}

impl Identity {
    pub(crate) fn new(folder: &str) -> Self {
        Self::of(folder, "localhost")
    }

    fn of(folder: &str, name: &str) -> Self {
        let signed = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (cert, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("cert.pem"), &cert).unwrap();
        std::fs::write(folder.join("key.pem"), &key).unwrap();
        Self { cert, key, folder }
    }

    /// A provider with this certificate.
    async fn provider(&self, offer: impl FnOnce(&mut Tls)) -> Mock {
        let mut tls = Tls::new(&*self.cert, &*self.key);
        offer(&mut tls);
        Mock::start(Options { tls: Some(tls), ..Options::default() }).await.unwrap()
    }

    /// The setting that lets the first provider be trusted, and further ones of its.
    pub(crate) fn trusted(&self, more: &str) -> String {
        format!("ca_file = \"{}\"\n{more}", self.folder.join("cert.pem").display())
    }
}

/// A gateway before this provider, whose table has these lines too.
async fn before(first: Mock, lines: &str) -> Berry {
    let change =
        |text: String| without_retries(text).replace("[providers.first]\n", &format!("[providers.first]\n{lines}\n"));
    Berry::before([first, mock().await, mock().await, mock().await], change, None).await
}

#[tokio::test]
async fn a_provider_whose_certificate_ca_file_holds_is_spoken_to_by_what_alpn_agrees_on() {
    let identity = Identity::new("alpn");
    for (case, http1, http2, lines, version) in [
        ("both", true, true, "", "HTTP/2.0"),
        ("http/1.1 alone", true, false, "", "HTTP/1.1"),
        ("http2 = false", true, true, "http2 = false", "HTTP/1.1"),
        ("no ALPN", false, false, "", "HTTP/1.1"),
    ] {
        let provider = identity.provider(|tls| (tls.http1, tls.http2) = (http1, http2)).await;
        let berry = before(provider, &identity.trusted(lines)).await;
        for _ in 0..5 {
            let answer = berry.chat("single").await;
            assert_eq!((answer.status, answer.field("berry-attempts")), (200, Some("1")), "{case}: {}", answer.text());
            assert!(answer.body == named(berry_mock::Dialect::OpenAi, "chat").unwrap().body);
        }
        let received = berry.first.journal();
        assert!(received.iter().all(|request| request.http_version == version), "{case}");
        assert_eq!(received[4].text(), chat_body("gpt-first"));
        assert_eq!(received[4].header("authorization"), Some("Bearer sk-first-0123456789"));
        assert_eq!(berry.first.stats().connections, 1, "{case}: connections are reused");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (identity, other) = (Identity::new("unknown"), Identity::new("other"));
    for lines in [String::new(), other.trusted("")] {
        let berry = before(identity.provider(|_| {}).await, &lines).await;
        let answer = berry.chat("single").await;
        Dialect::OpenAi.assert_told(&answer, "upstream_connect", "an unknown certificate");
        assert!(!answer.text().contains("localhost") && !answer.text().to_lowercase().contains("certificate"));
        assert_eq!(berry.first.journal().len(), 0);
        assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("second/gpt-second"));
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_verification_is_off() {
    let identity = Identity::of("name", "elsewhere.example");
    for (lines, status) in [("", 502), ("insecure_skip_verify = true", 200)] {
        let berry = before(identity.provider(|_| {}).await, &identity.trusted(lines)).await;
        assert_eq!(berry.chat("single").await.status, status, "{lines}");
    }
    let berry = before(identity.provider(|_| {}).await, "insecure_skip_verify = true").await;
    assert_eq!(berry.chat("single").await.status, 200);
}

#[tokio::test]
async fn streams_errors_and_cancels_pass_over_http2_to_a_provider() {
    let identity = Identity::new("h2");
    let berry = before(identity.provider(|_| {}).await, &identity.trusted("")).await;
    let ask = async |body: String| berry.post("/v1/chat/completions", &[("x-api-key", ALICE)], &body).await;
    berry.first.script(Script::new().play("chat-stream-crlf"));
    let answer = ask(stream_body("single")).await;
    let recorded = |name| named(berry_mock::Dialect::OpenAi, name).unwrap().body;
    assert!(answer.complete && answer.body == recorded("chat-stream-crlf"));
    berry.first.script(fault("422"));
    let answer = ask(chat_body("single")).await;
    assert!(answer.status == 422 && answer.body == recorded("error-422"), "{}", answer.text());
    for (name, code) in
        [("500", "upstream_error"), ("drop", "upstream_disconnected"), ("empty", "upstream_bad_response")]
    {
        berry.first.script(fault(name));
        Dialect::OpenAi.assert_told(&ask(chat_body("single")).await, code, name);
        assert_eq!(ask(chat_body("single")).await.status, 200);
    }
    berry.first.script(fault("reset"));
    let answer = ask(stream_body("single")).await;
    assert!(answer.complete && answer.text().contains("upstream_disconnected"), "{}", answer.text());
    let gate = Gate::new();
    berry.first.script(Script::new().gate(&gate));
    gate.let_through(2);
    let mut connection = berry.connect().await;
    connection.send(request("/v1/chat/completions", &[("x-api-key", ALICE)], &stream_body("single"))).await;
    connection.head().await.unwrap();
    drop(connection);
    journal(&berry.first, |all| all.last().unwrap().cancelled).await;
    let body = format!(r#"{{"model":"single","x":"{}"}}"#, "y".repeat(900_000));
    assert_eq!(ask(body.clone()).await.status, 200);
    assert_eq!(berry.first.journal().last().unwrap().text(), body.replace("single", "gpt-first"));
}

#[tokio::test]
async fn a_provider_that_says_goaway_is_reached_by_a_fresh_connection_unnoticed() {
    let identity = Identity::new("goaway");
    let berry = before(identity.provider(|_| {}).await, &identity.trusted("")).await;
    for _ in 0..4 {
        let answer = berry.chat("single").await;
        assert_eq!((answer.status, answer.field("berry-attempts")), (200, Some("1")), "{}", answer.text());
        berry.first.close_idle();
    }
}

/// What a proxy saw of a connection, before it passed it on.
type Seen = mpsc::UnboundedReceiver<String>;

/// A proxy for HTTP and SOCKS 5, told apart by the first byte. `refuses`: lets nobody through.
async fn proxy(refuses: bool) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut first = [0];
                stream.peek(&mut first).await.unwrap();
                match first {
                    [5] => socks5(stream, sender, refuses).await,
                    _ => http(stream, sender, refuses).await,
                }
            });
        }
    });
    (address, seen)
}

async fn http(mut client: TcpStream, seen: mpsc::UnboundedSender<String>, refuses: bool) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    seen.send(head.clone()).unwrap();
    if refuses {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        return;
    }
    let authority = target.strip_prefix("http://").map_or(&*target, |rest| rest.split('/').next().unwrap());
    let mut server = TcpStream::connect(authority).await.unwrap();
    match head.starts_with("CONNECT ") {
        true => client.write_all(b"HTTP/1.1 200 Connection Established\r\nvia: x\r\n\r\n").await.unwrap(),
        false => server.write_all(head.as_bytes()).await.unwrap(),
    }
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

async fn socks5(mut client: TcpStream, seen: mpsc::UnboundedSender<String>, refuses: bool) {
    let text = async |client: &mut TcpStream| {
        let length = client.read_u8().await.unwrap();
        let mut bytes = vec![0; usize::from(length)];
        client.read_exact(&mut bytes).await.unwrap();
        bytes
    };
    assert_eq!(client.read_u8().await.unwrap(), 5);
    let methods = text(&mut client).await;
    client.write_all(&[5, methods[0]]).await.unwrap();
    let mut who = String::new();
    if methods[0] == 2 {
        assert_eq!(client.read_u8().await.unwrap(), 1);
        let (user, password) = (text(&mut client).await, text(&mut client).await);
        who = String::from_utf8([user, b":".to_vec(), password].concat()).unwrap();
        client.write_all(&[1, 0]).await.unwrap();
    }
    let mut ask = [0; 4];
    client.read_exact(&mut ask).await.unwrap();
    assert_eq!(ask, [5, 1, 0, 3]);
    let host = String::from_utf8(text(&mut client).await).unwrap();
    let target = format!("{host}:{}", client.read_u16().await.unwrap());
    seen.send(format!("{who}@{target}")).unwrap();
    if refuses {
        client.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        return;
    }
    let mut server = TcpStream::connect(&target).await.unwrap();
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 9]).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test]
async fn cleartext_goes_through_an_http_proxy_in_absolute_form() {
    let (address, mut seen) = proxy(false).await;
    let berry = before(mock().await, &format!("proxy_url = \"http://us%20er:p%40ss@{address}\"")).await;
    let answer = berry.chat("single").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let head = within(seen.recv()).await.unwrap();
    let provider = berry.first.addr();
    assert!(head.starts_with(&format!("POST http://{provider}/v1/chat/completions HTTP/1.1\r\nhost: {provider}\r\n")));
    assert!(head.contains("\r\nproxy-authorization: Basic dXMgZXI6cEBzcw==\r\n"), "{head}");
}

#[tokio::test]
async fn tls_goes_through_an_http_proxy_by_connect() {
    let identity = Identity::new("connect");
    for lines in ["", "http2 = false\n"] {
        let (address, mut seen) = proxy(false).await;
        let lines = identity.trusted(&format!("{lines}proxy_url = \"http://user:pass@{address}\""));
        let berry = before(identity.provider(|_| {}).await, &lines).await;
        for _ in 0..3 {
            assert_eq!(berry.chat("single").await.status, 200);
        }
        let head = within(seen.recv()).await.unwrap();
        let target = format!("localhost:{}", berry.first.addr().port());
        assert_eq!(
            head,
            format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n")
        );
        assert!(seen.try_recv().is_err(), "the tunnel is reused");
        let received = berry.first.journal();
        assert_eq!(received[0].header("proxy-authorization"), None, "the proxy's password ends at the proxy");
    }
}

#[tokio::test]
async fn a_socks5_proxy_is_told_the_name_and_resolves_it() {
    let identity = Identity::new("socks5");
    for (credentials, who) in [("", ""), ("user:pa%3Ass@", "user:pa:ss")] {
        let (address, mut seen) = proxy(false).await;
        let lines = identity.trusted(&format!("proxy_url = \"socks5://{credentials}{address}\""));
        let berry = before(identity.provider(|_| {}).await, &lines).await;
        assert_eq!(berry.chat("single").await.status, 200);
        assert_eq!(within(seen.recv()).await.unwrap(), format!("{who}@localhost:{}", berry.first.addr().port()));
    }
    let (address, _seen) = proxy(false).await;
    let berry = before(mock().await, &format!("proxy_url = \"socks5h://{address}\"")).await;
    assert_eq!(berry.chat("single").await.status, 200, "in cleartext too");
    assert!(berry.first.journal()[0].path.starts_with("/v1/"));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_no_connection() {
    let identity = Identity::new("refused");
    for scheme in ["http", "socks5"] {
        let (address, _seen) = proxy(true).await;
        let lines = identity.trusted(&format!("proxy_url = \"{scheme}://{address}\""));
        let berry = before(identity.provider(|_| {}).await, &lines).await;
        let answer = berry.chat("single").await;
        Dialect::OpenAi.assert_told(&answer, "upstream_connect", scheme);
        assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("second/gpt-second"));
    }
}

/// A gateway behind a TLS listener.
async fn behind_tls(identity: &Identity) -> Berry {
    let path = |name: &str| identity.folder.join(name).display().to_string();
    let text = format!("[server]\ntls_cert = \"{}\"\ntls_key = \"{}\"\n", path("cert.pem"), path("key.pem"));
    let tables = crate::harness::pair(["http://127.0.0.1:1"; 4]).replace("[server]\n", &text);
    let config = berry_config::load(&tables, std::path::Path::new("test.toml")).config.unwrap();
    let certificate = berry_proxy::Certificate::read(&config.server.tls.unwrap(), &SystemDisk).unwrap();
    let tls = berry_proxy::ListenerTls::new(certificate).unwrap().config();
    Berry::before([mock().await, mock().await, mock().await, mock().await], |text| text, Some(tls)).await
}

/// A TLS connection to the gateway that offers these protocols.
async fn dial(berry: &Berry, identity: &Identity, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(berry.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

#[tokio::test]
async fn a_tls_listener_speaks_what_alpn_agrees_on() {
    let identity = Identity::new("listener");
    let berry = behind_tls(&identity).await;
    for alpn in [&[][..], &["http/1.1"]] {
        let mut connection = Connection::over(dial(&berry, &identity, alpn).await.unwrap());
        for dialect in crate::harness::DIALECTS {
            connection.send(request(dialect.path(), &[("x-api-key", ALICE)], dialect.body())).await;
            assert_eq!(connection.response().await.status, 200);
        }
        connection.send(request("/v1/chat/completions", &[("x-api-key", ALICE)], &stream_body("single"))).await;
        let answer = connection.response().await;
        assert!(answer.complete && answer.body == named(berry_mock::Dialect::OpenAi, "chat-stream").unwrap().body);
    }
    let client = Client::over(dial(&berry, &identity, &["h2", "http/1.1"]).await.unwrap()).await;
    let answer = client.post("/v1/chat/completions", &[("x-api-key", ALICE)], chat_body("single")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_tls_listener_survives_those_who_speak_no_tls() {
    let identity = Identity::new("no-tls");
    let berry = behind_tls(&identity).await;
    assert!(dial(&berry, &identity, &["spdy/1"]).await.is_err(), "nothing in common");
    let mut plain = berry.connect().await;
    plain.send(head("GET", "/health", &[], None)).await;
    assert!(plain.head().await.is_none());
    let mut connection = Connection::over(dial(&berry, &identity, &["http/1.1"]).await.unwrap());
    connection.send(head("GET", "/health", &[], None)).await;
    assert_eq!(connection.response().await.status, 200);
}
