//! What a new snapshot changes, and what it leaves as it was: requests in flight, live numbers, connections, certificates.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berry_proxy::net::SystemDisk;
use berry_proxy::{Certificate, ListenerTls};
use berry_vocab::{BackendKey, ModelId, Moment, ProviderId};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::{pair, snapshot, without_retries};
use crate::ports::{FIRST, Gate, OK, URLS, answer, chat, on_pipes};
use crate::upstream_tls::Identity;

fn reload(gate: &Gate, change: impl FnOnce(String) -> String) -> u64 {
    let now = gate.gateway.clock().now();
    gate.gateway.replace(snapshot(&change(without_retries(pair(URLS))), gate.gateway.live(), now))
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_stays_as_it_was_keeps_its_connections_and_another_gives_them_up() {
    on_pipes(without_retries, async |mut gate| {
        let worker = gate.worker.clone();
        tokio::task::spawn_local(async move { worker.sweep().await });
        let mut client = gate.client();
        chat(&mut client, "single").await;
        let mut upstream = gate.asked(FIRST).await;
        answer(&mut upstream, OK).await;
        assert_eq!(client.response().await.status, 200);

        let mut bytes = vec![0; 4096];
        assert_eq!(reload(&gate, |text| text.replace("request_timeout_seconds = 2", "request_timeout_seconds = 3")), 2);
        tokio::time::sleep(Duration::from_secs(6)).await;
        chat(&mut client, "single").await;
        // On the same connection as before.
        assert!(upstream.read(&mut bytes).await.unwrap() > 0);
        answer(&mut upstream, OK).await;
        assert_eq!(client.response().await.status, 200);

        reload(&gate, |text| text.replace("[providers.first]\n", "[providers.first]\ntimeout_seconds = 7\n"));
        assert_eq!(upstream.read(&mut bytes).await.unwrap(), 0, "an idle one to a former endpoint is closed");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_in_flight_ends_on_the_snapshot_that_it_began_with() {
    on_pipes(without_retries, async |mut gate| {
        let mut client = gate.client();
        chat(&mut client, "single").await;
        let mut upstream = gate.asked(FIRST).await;
        reload(&gate, |text| text.replace("[models.single]\n", "[models.single]\nenabled = false\n"));
        answer(&mut upstream, OK).await;
        assert_eq!(client.response().await.status, 200);
        chat(&mut client, "single").await;
        assert_eq!(client.response().await.status, 404, "also on an open connection");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn live_numbers_outlive_a_reload_and_go_with_what_they_are_of() {
    on_pipes(without_retries, async |mut gate| {
        let (gateway, model) = (gate.gateway.clone(), ModelId::new("single"));
        let turns = |gateway: &berry_proxy::Gateway| Arc::downgrade(&gateway.live().model(&model, Moment::ZERO));
        let before = turns(&gateway);
        reload(&gate, |text| text);
        gateway.tidy();
        assert!(before.ptr_eq(&turns(&gateway)), "the numbers are the same ones");

        // A request that began before keeps them as long as it lasts.
        let mut client = gate.client();
        chat(&mut client, "single").await;
        let mut upstream = gate.asked(FIRST).await;
        reload(&gate, |text| text.replace("models.single", "models.other"));
        gateway.tidy();
        assert!(before.upgrade().is_some());
        answer(&mut upstream, OK).await;
        assert_eq!(client.response().await.status, 200);
        drop(client);
        while before.upgrade().is_some() {
            gateway.tidy();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let first = BackendKey { provider: ProviderId::new("first"), model: "gpt-first".into() };
        let kept = gateway.live().selections(&ModelId::new("chat"), &first);
        assert!(Arc::strong_count(&kept) > 2, "those that are still configured stay");
    })
    .await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_from_the_next_handshake_on() {
    let read = |identity: &str| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(identity);
        let tls =
            format!("[server]\ntls_cert = {:?}\ntls_key = {:?}\n", folder.join("cert.pem"), folder.join("key.pem"));
        let config = berry_config::load(&(tls + &pair(URLS).replace("[server]\n", "")), Path::new("test.toml")).config;
        Certificate::read(&config.unwrap().server.tls.unwrap(), &SystemDisk).unwrap()
    };
    let [first, second] = ["reload-first", "reload-second"].map(Identity::new);
    let tls = ListenerTls::new(read("reload-first")).unwrap();
    let shown = async || {
        let mut roots = RootCertStore::empty();
        for identity in [&first, &second] {
            roots.add(CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap()).unwrap();
        }
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let (near, far) = duplex(64 * 1024);
        let connecting = TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost").unwrap(), near);
        let (accepted, connected) = tokio::join!(TlsAcceptor::from(tls.config()).accept(far), connecting);
        accepted.unwrap();
        connected.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let of = |identity: &Identity| CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap().into_owned();
    assert_eq!(shown().await, of(&first));
    tls.show(read("reload-second"));
    assert_eq!(shown().await, of(&second));
}
