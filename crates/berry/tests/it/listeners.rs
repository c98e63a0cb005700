//! Listeners that a reload moves: the new address answers, what was in flight ends well, and where one cannot be had nothing
//! changes at all.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use crate::harness::{Folder, Gateway, Running, TOKEN, USER_TOKEN, chat, config, eventually, get, receive};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A configuration whose listeners have these addresses.
fn listening(url: &str, data: &str, admin: &str) -> String {
    config(url, &[("m", "mock-ok")], "[config]\nwatch = false")
        .replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{data}\""), 1)
        .replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{admin}\""), 1)
}

fn refuses(address: &str) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn both_listeners_move_and_what_is_in_flight_ends_well() {
    let (_mock, url) = Running::mock(&["--ttfb", "300ms"]);
    let ports: [String; 4] = std::array::from_fn(|_| format!("127.0.0.1:{}", free_port()));
    let [data, admin, new_data, new_admin] = &ports;
    let folder = Folder::with(&listening(&url, data, admin));
    let mut gateway = Gateway::serve(&folder.config());
    let in_flight = chat(data, "m", "false");
    let mut idle = TcpStream::connect(data).unwrap();
    write!(idle, "GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {USER_TOKEN}\r\n\r\n").unwrap();
    let mut some = [0; 4096];
    assert!(idle.read(&mut some).unwrap() > 0);

    fs::write(folder.config(), listening(&url, new_data, new_admin)).unwrap();
    // Also this answer comes by a listener that has moved meanwhile.
    assert_eq!(gateway.post("/admin/reload-config", "").json()["problems"].to_string().matches("restart").count(), 0);
    (gateway.data, gateway.admin) = (new_data.clone(), new_admin.clone());
    assert_eq!(receive(chat(new_data, "m", "false")).status, 200);
    eventually("the end of the old listeners", || (refuses(data) && refuses(admin)).then_some(()));
    assert_eq!(gateway.generation(), 2);
    assert_eq!(receive(in_flight).status, 200);
    let mut rest = Vec::new();
    assert_eq!(idle.read_to_end(&mut rest).unwrap(), 0, "an idle connection to the old address is closed");
    gateway.running.stderr.line_with(&format!("listener=server from={data} to={new_data} tls=false"));
    assert_eq!(gateway.running.end(), Some(0));
}

#[test]
fn an_address_that_somebody_has_refuses_the_whole_reload() {
    let (_mock, url) = Running::mock(&[]);
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let [data, admin, new]: [String; 3] = std::array::from_fn(|_| format!("127.0.0.1:{}", free_port()));
    let folder = Folder::with(&listening(&url, &data, &admin));
    let gateway = Gateway::serve(&folder.config());
    let refused = |text: &str, path: &str| {
        fs::write(folder.config(), text).unwrap();
        let answer = gateway.post("/admin/reload-config", "");
        let problem = &answer.json()["problems"][0];
        assert_eq!((answer.status, &problem["path"]), (422, &path.into()), "{answer:?}");
        assert!(problem["message"].as_str().unwrap().contains("cannot listen on"), "{answer:?}");
        assert!(problem["remedy"].as_str().unwrap().contains("end the program that listens there"), "{answer:?}");
    };
    // The other listener could have moved, and did not.
    refused(&listening(&url, &new, &taken).replace("drain_seconds = 120", "drain_seconds = 60"), "admin.listen");
    refused(&listening(&url, &taken, &admin), "server.listen");
    refused(&listening(&url, &admin, &data), "server.listen");
    assert!(refuses(&new));
    assert_eq!((gateway.generation(), receive(chat(&data, "m", "false")).status), (1, 200));
}

#[test]
fn one_address_becomes_all_and_one_again_without_a_request_refused() {
    let (_mock, url) = Running::mock(&[]);
    let port = free_port();
    let (one, all) = (format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"));
    let folder = Folder::with(&listening(&url, &one, "127.0.0.1:0"));
    let gateway = Gateway::serve(&folder.config());
    let (over, answers, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let client = {
        let (over, answers, failed, one) = (over.clone(), answers.clone(), failed.clone(), one.clone());
        std::thread::spawn(move || {
            while !over.load(SeqCst) {
                let answer = receive(chat(&one, "m", "false"));
                answers.fetch_add(1, SeqCst);
                if answer.status != 200 {
                    failed.lock().unwrap().push(answer);
                }
            }
        })
    };
    for round in 0..10 {
        let before = answers.load(SeqCst);
        fs::write(folder.config(), listening(&url, if round % 2 == 0 { &all } else { &one }, "127.0.0.1:0")).unwrap();
        let report = gateway.post("/admin/reload-config", "").json();
        assert_eq!(report["result"], "applied", "{report}");
        eventually("an answer", || (answers.load(SeqCst) > before).then_some(()));
    }
    over.store(true, SeqCst);
    client.join().unwrap();
    assert!(failed.lock().unwrap().is_empty(), "{failed:?}");
    // The port is nobody else's meanwhile.
    let other = Folder::with(&listening(&url, &one, "127.0.0.1:0"));
    let ended = crate::harness::run(&["serve", "--config", &other.config_text()]);
    assert!(ended.status == Some(1) && ended.stderr.contains("cannot listen on"), "{ended:?}");
}

#[test]
fn tls_begins_and_ends_while_it_runs() {
    let (_mock, url) = Running::mock(&[]);
    let ports = [format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port())];
    let plain = listening(&url, &ports[0], &ports[1]);
    let folder = Folder::with(&plain);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let files = "tls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n";
    let tls =
        plain.replace("[server]\n", &format!("[server]\n{files}")).replace("[admin]\n", &format!("[admin]\n{files}"));
    let gateway = Gateway::serve(&folder.config());
    fs::write(folder.config(), tls).unwrap();
    assert_eq!(gateway.post("/admin/reload-config", "").status, 200);
    for address in &ports {
        // Who speaks no TLS gets an alert (RFC 8446, section 6), as its first byte says.
        let alert = || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            let mut first = [0; 1];
            stream.read(&mut first).is_ok_and(|count| count == 1 && first[0] == 21).then_some(())
        };
        eventually("an alert of TLS", alert);
    }
    fs::write(folder.config(), plain).unwrap();
    gateway.running.signal(rustix::process::Signal::HUP);
    gateway.running.stderr.line_with("a new configuration is in force generation=3 ");
    assert_eq!(receive(chat(&ports[0], "m", "false")).status, 200);
    assert_eq!(get(&ports[1], "/admin/system-stats", Some(TOKEN)).json()["generation"], 3);
}
