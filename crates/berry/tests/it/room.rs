//! Clients without end, and few descriptors: those in use go on, idle ones make room, and accepting never spins.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{Folder, Running, chat, config, eventually, get, receive};

/// Serves with so many descriptors.
fn serve_with(descriptors: u32, folder: &Folder) -> Running {
    let mut shell = std::process::Command::new("sh");
    let script = format!("ulimit -n {descriptors}; exec \"$0\" serve --config \"$1\"");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_berry"), &folder.config_text()]).env_remove("RUST_LOG");
    Running::start(&mut shell)
}

/// A connection that has been answered once, and then idles.
fn idle(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: b\r\n\r\n").unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    stream
}

/// Whether the gateway has closed it.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

fn count(running: &Running, part: &str) -> usize {
    running.stderr.text().lines().filter(|line| line.contains(part)).count()
}

#[test]
fn clients_that_are_idle_make_room_for_new_ones() {
    let (_mock, url) = Running::mock(&["--rate", "10", "--chunks", "30"]);
    let folder = Folder::with(&config(&url, &[("m", "gpt-4o")], ""));
    // (100 - 64) / 2 clients.
    let running = serve_with(100, &folder);
    let (address, _) = running.addresses();
    let in_flight = chat(&address, "m", "true");
    let clients: Vec<TcpStream> = (0..60).map(|_| idle(&address)).collect();
    let closed = || clients.iter().filter(|client| is_closed(client)).count();
    eventually("idle clients to be closed", || (closed() >= 40).then_some(()));
    assert!(!is_closed(clients.last().unwrap()), "the newest is not the one that makes room");
    assert_eq!(receive(in_flight).status, 200, "who is served goes on");
    assert_eq!(get(&address, "/health/live", None).status, 200);
    assert_eq!(count(&running, "no room for more clients"), 1, "{}", running.stderr.text());
}

#[test]
fn without_a_descriptor_accepting_pauses_and_goes_on() {
    let folder = Folder::with(&config("http://127.0.0.1:9", &[("m", "m")], ""));
    let running = serve_with(80, &folder);
    let (address, admin) = running.addresses();
    let client = idle(&address);
    let strangers: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&admin).unwrap()).collect();
    running.stderr.line_with("cannot accept connections for now");
    eventually("the idle client to make room", || is_closed(&client).then_some(()));
    drop(strangers);
    running.stderr.line_with("connections are accepted again");
    assert_eq!(get(&address, "/health/live", None).status, 200);
    assert!(count(&running, "cannot accept connections for now") <= 4, "{}", running.stderr.text());
}
